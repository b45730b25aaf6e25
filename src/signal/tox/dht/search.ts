/**
 * One sought DHT key (Tox specification, "DHT search entry"): the nodes closest to it, who named it where, and where it
 * itself answered last. Asks fast at first and after a hint that an address changed, then leaves it to the list's timers.
 */

import { type Endpoint, formatEndpoint, sameEndpoint } from '../../../api/endpoint.ts'
import { toHex } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import type { DhtPublicKey } from '../crypto.ts'
import { isLocal } from '../local-address.ts'
import { goodFor } from './known-node.ts'
import { NodeList } from './node-list.ts'

/** When, after the start of a fast phase, all nodes of the list are asked, ms. Our choice: the first must survive loss. */
const fastRounds = [0, 150, 400, 800, 1500, 3000, 5000, 8000, 12_000, 17_000, 23_000, 30_000]

/** When a friend asks whether we are there: a second round, because the nodes may be verifying its address just now. */
const answeringRounds = [0, 150, 400]

const namingsKept = 16
const directAsksPerRound = 4
const localPreferredFor = 5000

interface Naming {
  /** Where the sought node is said to be. */
  readonly endpoint: Endpoint
  readonly at: number
}

type Phase =
  | { readonly kind: 'watching' }
  /** `natPing`: tell the friend through third nodes that we look for it. */
  | {
      readonly kind: 'asking'
      readonly since: number
      readonly rounds: readonly number[]
      readonly done: number
      readonly natPing: boolean
    }

export interface SearchRound {
  /** Nodes that were told to be the sought one and are to be asked directly. */
  readonly direct: readonly Endpoint[]
  readonly natPing: boolean
}

export class Search {
  readonly dhtKey: DhtPublicKey
  readonly name: string
  readonly list: NodeList
  /** 8 bytes, repeated by the friend in its NAT ping response. */
  readonly natPingNumber: Uint8Array
  /** By the name of the node that said so. */
  readonly #namings: Map<string, Naming> = new Map()
  #current: { readonly endpoint: Endpoint; readonly answeredAt: number; readonly askedAt: number } | undefined
  #phase: Phase = { kind: 'watching' }
  #answeringSince = Number.NEGATIVE_INFINITY

  constructor(dhtKey: DhtPublicKey, random: Random) {
    this.dhtKey = dhtKey
    this.name = toHex(dhtKey)
    this.list = new NodeList('search', dhtKey)
    this.natPingNumber = random.bytes(8)
  }

  /** Asks fast from now on, and takes no earlier answer for a proof that the address still holds. */
  askFast(now: number): void {
    this.#phase = { kind: 'asking', since: now, rounds: fastRounds, done: 0, natPing: true }
  }

  /** The friend looks for us, so it may have moved: ask who names it, at most once a second. */
  askBecauseSought(now: number): void {
    if (this.#phase.kind === 'asking' || now - this.#answeringSince < 1000) return
    this.#answeringSince = now
    this.#phase = { kind: 'asking', since: now, rounds: answeringRounds, done: 0, natPing: false }
  }

  /** Whether the friend answered a request made in this phase, or in the last two minutes when nothing is doubted. */
  proved(now: number): boolean {
    if (this.#current === undefined) return false
    if (this.#phase.kind === 'asking') return this.#current.askedAt >= this.#phase.since
    return now - this.#current.answeredAt < goodFor
  }

  /** The endpoint the friend answered from, as long as that is not too long ago. */
  endpoint(now: number): Endpoint | undefined {
    return this.#current !== undefined && now - this.#current.answeredAt < goodFor ? this.#current.endpoint : undefined
  }

  /** A node named the sought one. True when that address should be asked. */
  noteNaming(by: string, endpoint: Endpoint, now: number): boolean {
    this.#namings.delete(by)
    this.#namings.set(by, { endpoint, at: now })
    if (this.#namings.size > namingsKept) {
      const oldest = this.#namings.keys().next()
      if (!oldest.done) this.#namings.delete(oldest.value)
    }
    return !this.proved(now) || this.#current === undefined || !sameEndpoint(this.#current.endpoint, endpoint)
  }

  /**
   * The sought node answered a request of `askedAt`. True when the endpoint is to be used: always, but that a local
   * address that works is not left for a public one.
   */
  noteAnswer(endpoint: Endpoint, askedAt: number, now: number): boolean {
    const current = this.#current
    const moved = current !== undefined && !sameEndpoint(current.endpoint, endpoint)
    if (moved && this.proved(now) && isLocal(current.endpoint) && !isLocal(endpoint)) {
      if (now - current.answeredAt < localPreferredFor) return false
    }
    this.#current = { endpoint, answeredAt: now, askedAt }
    if (this.#phase.kind === 'asking' && askedAt >= this.#phase.since) this.#phase = { kind: 'watching' }
    return true
  }

  /** The round that is due, if any. */
  nextRound(now: number): SearchRound | undefined {
    const phase = this.#phase
    if (phase.kind === 'watching' || this.roundDeadline > now) return undefined
    const done = phase.done + 1
    this.#phase = done < phase.rounds.length ? { ...phase, done } : { kind: 'watching' }
    return { direct: this.#directAsks(now), natPing: phase.natPing }
  }

  get roundDeadline(): number {
    if (this.#phase.kind === 'watching') return Number.POSITIVE_INFINITY
    return this.#phase.since + (this.#phase.rounds[this.#phase.done] ?? 0)
  }

  /** The names of the nodes that named the sought one lately, latest first. */
  namers(now: number): string[] {
    return [...this.#namings]
      .filter(([, naming]) => now - naming.at < goodFor)
      .map(([name]) => name)
      .reverse()
  }

  #directAsks(now: number): Endpoint[] {
    const endpoints = new Map<string, Endpoint>()
    if (this.#current !== undefined) endpoints.set(formatEndpoint(this.#current.endpoint), this.#current.endpoint)
    for (const { endpoint, at } of [...this.#namings.values()].reverse()) {
      if (now - at < goodFor) endpoints.set(formatEndpoint(endpoint), endpoint)
    }
    return [...endpoints.values()].slice(0, directAsksPerRound)
  }
}

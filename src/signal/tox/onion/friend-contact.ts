/**
 * What the onion client knows about one friend and when it acts: looks for the nodes that store the friend's announcement,
 * and tells the friend our DHT key (and our request, if it does not know us) through them.
 */

import { toHex } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import { createKeyPair, type DhtPublicKey, type LongTermPublicKey } from '../crypto.ts'
import type { Nospam } from '../tox-id.ts'
import type { AnnounceList, AnnounceNode } from './announce-list.ts'
import type { PathPool } from './path-pool.ts'
import { Schedule } from './schedule.ts'
import { friendSearcher, type Searcher } from './searcher.ts'

/** Our choice: quick at first, then as c-toxcore, but never rarer than every five minutes. */
const searchRounds = [
  0, 300, 600, 900, 1200, 1600, 2000, 3000, 4500, 6000, 9000, 12_000, 18_000, 30_000, 60_000, 120_000, 240_000,
] as const

/** While no node near the friend's key answers at all. */
const lostInterval = 3000

/**
 * A node that stores the friend is asked again after this, ms: the friend's onion data key changes when it restarts, and
 * when both restart at once what is stored is of the run before. So it is soon at first, then a third of the search's age.
 */
const storedInterval = { shortest: 500, longest: 15_000 } as const

/**
 * The first copies are often lost, come before the friend accepted us, or on its side take a way back through a node that
 * has just gone (as we did, when we started anew); then as in the specification.
 */
const tellRounds = [0, 500, 1500, 3500, 5500, 8000, 11_000, 15_000, 20_000, 26_000, 33_000] as const
const routeRounds = [0, 1000, 3000, 8000] as const
const requestRounds = [0, 2000, 7000, 17_000, 37_000, 77_000, 157_000, 317_000] as const

/** A DHT key nobody confirmed for this long is no longer used. */
const dhtKeyFor = 182_000

export interface PendingFriendRequest {
  readonly nospam: Nospam
  readonly message: Uint8Array
}

export class FriendContact {
  readonly publicKey: LongTermPublicKey
  readonly name: string
  readonly searcher: Searcher
  readonly list: AnnounceList
  readonly search: Schedule = new Schedule({ rounds: searchRounds, steady: 300_000 })
  readonly tell: Schedule = new Schedule({ rounds: tellRounds, steady: 30_000 })
  readonly route: Schedule = new Schedule({ rounds: routeRounds, steady: 20_000 })
  readonly requesting: Schedule = new Schedule({ rounds: requestRounds, steady: 600_000 })
  request: PendingFriendRequest | undefined
  online = false
  /** The largest number accepted from the friend in this run. */
  noReplay = -1n
  #exploredAt = Number.NEGATIVE_INFINITY
  #dhtKey: { readonly key: DhtPublicKey; readonly at: number } | undefined
  /** Nodes that were found to store the friend since the last telling. */
  readonly #fresh: Set<AnnounceNode> = new Set()

  constructor(publicKey: LongTermPublicKey, options: { readonly pool: PathPool; readonly random: Random }) {
    this.publicKey = publicKey
    this.name = toHex(publicKey)
    this.searcher = friendSearcher(publicKey, { keyPair: createKeyPair(options.random), pool: options.pool })
    this.list = this.searcher.list
  }

  /** Looks for the friend at the fast rate, and tells it our key as soon as it is found. */
  start(now: number): void {
    this.search.start(now)
    // A restarted friend has another onion data key: what its nodes told us before is in doubt.
    for (const node of this.list.stored) node.askedAt = Number.NEGATIVE_INFINITY
    if (this.list.stored.length > 0) this.#startTelling(now)
    if (this.#dhtKey !== undefined) this.route.start(now)
  }

  stop(): void {
    this.search.stop()
    this.tell.stop()
    this.route.stop()
    this.requesting.stop()
  }

  /** The friend's DHT key, from a packet of its own. */
  noteDhtKey(key: DhtPublicKey, now: number): void {
    this.#dhtKey = { key, at: now }
    if (!this.online && !this.route.running) this.route.start(now)
  }

  dhtKey(now: number): DhtPublicKey | undefined {
    return this.#dhtKey !== undefined && now - this.#dhtKey.at < dhtKeyFor ? this.#dhtKey.key : undefined
  }

  /** A node tells the friend's onion data key. */
  noteStored(node: AnnounceNode, dataKey: Uint8Array, now: number): void {
    if (node.storedSince === undefined || node.dataKey === undefined || toHex(node.dataKey) !== toHex(dataKey)) {
      if (this.list.stored.length === 0) this.#startTelling(now)
      node.storedSince = now
      node.dataKey = dataKey.slice()
      this.#fresh.add(node)
    }
  }

  noteNotStored(node: AnnounceNode): void {
    node.storedSince = undefined
    node.dataKey = undefined
    this.#fresh.delete(node)
  }

  /** Nodes to be told through that were not known to store the friend before. */
  takeFresh(): readonly AnnounceNode[] {
    const fresh = [...this.#fresh].filter((node) => node.storedSince !== undefined)
    this.#fresh.clear()
    return fresh
  }

  /** The listed nodes to ask now; `round` when a round of the search is due. */
  due(now: number, round: boolean): readonly AnnounceNode[] {
    return this.list.nodes.filter((node) => {
      if (node.storedSince !== undefined && node.unanswered === 0)
        return node.askedAt + this.#storedInterval(node.askedAt) <= now
      if (node.unanswered > 0) return node.askedAt + Math.min(16_000, 400 * 2 ** node.unanswered) <= now
      return round
    })
  }

  /** Whether to ask unknown nodes now; `round` when a round of the search is due. */
  exploreDue(now: number, round: boolean): boolean {
    if (!round && this.#lostDeadline > now) return false
    this.#exploredAt = now
    return this.list.sparse
  }

  get #lostDeadline(): number {
    return this.list.size === 0 ? this.#exploredAt + lostInterval : Number.POSITIVE_INFINITY
  }

  #storedInterval(askedAt: number): number {
    return Math.min(storedInterval.longest, Math.max(storedInterval.shortest, Math.floor(this.search.age(askedAt) / 3)))
  }

  #startTelling(now: number): void {
    this.tell.start(now)
    if (this.request !== undefined) this.requesting.start(now)
  }

  deadline(): number {
    if (this.online) return Number.POSITIVE_INFINITY
    if (this.#fresh.size > 0) return Number.NEGATIVE_INFINITY
    const schedules = [this.search.deadline, this.#lostDeadline]
    if (this.list.stored.length > 0) schedules.push(this.tell.deadline, this.requesting.deadline)
    if (this.#dhtKey !== undefined) schedules.push(this.route.deadline)
    let deadline = Math.min(...schedules)
    for (const node of this.list.nodes) {
      if (node.unanswered > 0)
        deadline = Math.min(deadline, node.askedAt + Math.min(16_000, 400 * 2 ** node.unanswered))
      else if (node.storedSince !== undefined)
        deadline = Math.min(deadline, node.askedAt + this.#storedInterval(node.askedAt))
    }
    return deadline
  }
}

/**
 * The check list (RFC 8445 §6.1.2) and its triggered-check queue (§6.1.4.1): which pair is checked next. It holds
 * pairs and sends nothing.
 */

import { type Endpoint, formatEndpoint } from '../../api/endpoint.ts'
import type { PunchCandidate } from '../../api/roles.ts'
import { maximumPairs } from './constants.ts'
import { type CandidatePair, nextCheckAt } from './pair.ts'
import { candidatePriority, pairPriority } from './priority.ts'

/** Every pair's local candidate is the socket, that is, the best host candidate. */
const localPriority = candidatePriority('host')

export class CheckList {
  /** By remote endpoint, which prunes redundant pairs (§6.1.2.4) by itself. */
  readonly #pairs: Map<string, CandidatePair> = new Map()
  #triggered: CandidatePair[] = []
  #controlling: boolean

  constructor(controlling: boolean) {
    this.#controlling = controlling
  }

  /** Best first. */
  get pairs(): readonly CandidatePair[] {
    return [...this.#pairs.values()].sort((a, b) => (a.priority < b.priority ? 1 : a.priority > b.priority ? -1 : 0))
  }

  get size(): number {
    return this.#pairs.size
  }

  get hasTriggered(): boolean {
    return this.#triggered.length > 0
  }

  find(endpoint: Endpoint): CandidatePair | undefined {
    return this.#pairs.get(formatEndpoint(endpoint))
  }

  /**
   * Adds the pair of a remote candidate, waiting; `undefined` when the list is full. A peer-reflexive candidate that
   * the peer now signals takes the signalled kind and priority (RFC 8838 §11.4), its checks go on.
   */
  add(remote: PunchCandidate): CandidatePair | undefined {
    const known = this.find(remote.endpoint)
    if (known !== undefined) {
      if (known.remote.kind === 'peer-reflexive') this.#describe(known, remote)
      return known
    }
    if (this.#pairs.size >= maximumPairs) return undefined
    const pair: CandidatePair = { remote, priority: 0n, state: { kind: 'waiting' }, nominated: false }
    this.#describe(pair, remote)
    this.#pairs.set(formatEndpoint(remote.endpoint), pair)
    return pair
  }

  /** Roles turned around: priorities depend on them (§7.3.1.1), and only a controlling peer nominates. */
  setControlling(controlling: boolean): void {
    this.#controlling = controlling
    for (const pair of this.#pairs.values()) {
      this.#describe(pair, pair.remote)
      pair.nominated = false
    }
  }

  /** Queues a triggered check (§7.3.1.4), unless one is queued already. */
  trigger(pair: CandidatePair): void {
    pair.state = { kind: 'waiting' }
    if (!this.#triggered.includes(pair)) this.#triggered.push(pair)
  }

  takeTriggered(): CandidatePair | undefined {
    return this.#triggered.shift()
  }

  /** The pair whose ordinary check has been due longest at `now`, the better one of two. */
  takeDue(now: number, pacing: number): CandidatePair | undefined {
    const next = this.#next(pacing)
    return next !== undefined && next.at <= now ? next.pair : undefined
  }

  /** When `takeDue` has a pair. */
  dueAt(pacing: number): number | undefined {
    return this.#next(pacing)?.at
  }

  clear(): void {
    this.#pairs.clear()
    this.#triggered = []
  }

  #next(pacing: number): { readonly pair: CandidatePair; readonly at: number } | undefined {
    let next: { readonly pair: CandidatePair; readonly at: number } | undefined
    for (const pair of this.pairs) {
      const at = nextCheckAt(pair, { pairs: this.#pairs.size, pacing })
      if (at !== undefined && (next === undefined || at < next.at)) next = { pair, at }
    }
    return next
  }

  #describe(pair: CandidatePair, remote: PunchCandidate): void {
    pair.remote = remote
    pair.priority = pairPriority(
      this.#controlling
        ? { controlling: localPriority, controlled: remote.priority }
        : { controlling: remote.priority, controlled: localPriority },
    )
  }
}

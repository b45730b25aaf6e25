/**
 * When to ask which node to store our announcement (Tox specification, "Onion client", self announce), with quick first
 * tries: lost packets cost tenths of a second at the start, not the specification's three seconds.
 */

import type { AnnounceList, AnnounceNode } from './announce-list.ts'
import { Schedule } from './schedule.ts'
import type { Searcher } from './searcher.ts'

/** After a start or a nudge everything is retried quickly for this long, ms. */
const fastFor = 10_000

/** Exploring while fewer than half of the list is known. */
const exploration = [0, 300, 700, 1200, 2000, 3000, 5000, 8000] as const

/** Exploring while nobody stores us. */
const homelessInterval = 3000

/** A node that does not store us, or does not answer, and one that does not want to store us, ms. */
const unstoredInterval = 3000
const refusedInterval = 30_000

/** A stored announcement is refreshed this often, ms, then less often. Our choice for the second: c-toxcore waits 120 s,
 * longer than many NATs keep the way back open. */
const freshInterval = 15_000
const stableInterval = 45_000
const stableAfter = 90_000

/** The way back that a node has stored is dead: nothing reaches us through it. */
const lostInterval = 1000

export class OwnAnnouncement {
  readonly searcher: Searcher
  readonly list: AnnounceList
  readonly #explore: Schedule = new Schedule({ rounds: exploration, steady: 60_000 })
  #exploredAt = Number.NEGATIVE_INFINITY

  constructor(searcher: Searcher) {
    this.searcher = searcher
    this.list = searcher.list
  }

  /** Everything again from now on: the stored ways back may lead to an address that is no longer ours. */
  start(now: number): void {
    this.#explore.start(now)
    for (const node of this.list.nodes) node.askedAt = Number.NEGATIVE_INFINITY
  }

  get started(): boolean {
    return this.#explore.running
  }

  fast(now: number): boolean {
    return this.#explore.age(now) < fastFor
  }

  /** The known nodes to ask now. */
  due(now: number): readonly AnnounceNode[] {
    return this.list.nodes.filter((node) => node.askedAt + this.#interval(node, now) <= now)
  }

  /** Whether to ask for unknown nodes now. */
  exploreDue(now: number): boolean {
    const homeless = this.#homelessDeadline <= now
    if (!this.#explore.due(now) && !homeless) return false
    this.#exploredAt = now
    return this.list.sparse
  }

  deadline(now: number): number {
    let deadline = Math.min(this.#explore.deadline, this.#homelessDeadline)
    for (const node of this.list.nodes) deadline = Math.min(deadline, node.askedAt + this.#interval(node, now))
    return deadline
  }

  get #homelessDeadline(): number {
    const homeless = this.#explore.running && this.list.stored.length === 0
    return homeless ? this.#exploredAt + homelessInterval : Number.POSITIVE_INFINITY
  }

  #interval(node: AnnounceNode, now: number): number {
    const lost = node.ticket !== undefined && !this.searcher.pool.alive(node.ticket.path, now)
    if (node.unanswered > 0) {
      return this.fast(now) || lost ? Math.min(1600, 400 * 2 ** (node.unanswered - 1)) : unstoredInterval
    }
    if (lost) return lostInterval
    if (node.storedSince === undefined) return node.refused > 3 ? refusedInterval : unstoredInterval
    return now - node.storedSince < stableAfter ? freshInterval : stableInterval
  }
}

/**
 * When to ask the configured nodes: at once and with growing pauses while nobody is known, rarely otherwise, so that two
 * halves of a network that lost each other meet again.
 */

import { type Random, randomBelow } from '../../../util/random.ts'
import type { NodeContact } from '../packed-node.ts'

const firstPause = 500
const longestPause = 30_000
const revisitInterval = 300_000
const nodesPerRound = 8

export class Bootstrap {
  #nodes: readonly NodeContact[] = []
  #pause = firstPause
  #next = Number.POSITIVE_INFINITY
  #lonely = true
  #urgent = false

  replace(nodes: readonly NodeContact[], now: number): void {
    this.#nodes = nodes
    this.restart(now)
  }

  /** Begins again at the fast rate. */
  restart(now: number): void {
    this.#urgent = true
    this.#pause = firstPause
    this.#next = this.#nodes.length === 0 ? Number.POSITIVE_INFINITY : now
  }

  get deadline(): number {
    return this.#next
  }

  /** Tells whether anybody is known; falling back to nobody begins the fast rate at once. */
  update(connected: boolean, now: number): void {
    if (connected && this.#lonely) this.#next = this.#nodes.length === 0 ? this.#next : now + revisitInterval
    if (!connected && !this.#lonely) this.restart(now)
    this.#lonely = !connected
  }

  /** The nodes to ask now. */
  due(now: number, random: Random): readonly NodeContact[] {
    if (this.#next > now) return []
    const many = this.#lonely || this.#urgent
    this.#urgent = false
    this.#next = now + (this.#lonely ? this.#pause : revisitInterval)
    this.#pause = Math.min(longestPause, this.#pause * 2)
    return pick(this.#nodes, many ? nodesPerRound : 1, random)
  }
}

/** Up to `count` different elements in random order. */
export function pick<Element>(elements: Iterable<Element>, count: number, random: Random): Element[] {
  const left = [...elements]
  const picked: Element[] = []
  while (picked.length < count && left.length > 0) {
    const at = randomBelow(random, left.length)
    const last = left.pop()
    const chosen = at < left.length ? left[at] : last
    if (at < left.length && last !== undefined) left[at] = last
    if (chosen !== undefined) picked.push(chosen)
  }
  return picked
}

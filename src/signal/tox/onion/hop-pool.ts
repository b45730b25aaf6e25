/**
 * Nodes that may serve as onion hops, each with a measure of how well paths through it worked lately. Fed by nodes that
 * answered announces (reachable by strangers, as a hop must be) and by the DHT's lists.
 */

import { toHex } from '../../../util/bytes.ts'
import { type Random, randomBelow } from '../../../util/random.ts'
import type { DhtNode } from '../dht/dht-node.ts'
import type { NodeContact } from '../packed-node.ts'

/** Of something nothing is known about. */
export const unknownQuality = 0.5

/** The next value of a moving average of successes (1) and failures (0). */
export function rate(quality: number, worked: boolean): number {
  return quality + ((worked ? 1 : 0) - quality) * 0.25
}

interface Hop {
  readonly contact: NodeContact
  readonly quality: number
  readonly usedAt: number
}

const capacity = 64
const troubleBelow = 0.3
const forgottenAfter = 600_000

export class HopPool {
  readonly #dht: Pick<DhtNode, 'randomNodes' | 'overdueAnswers'>
  readonly #random: Random
  readonly #hops: Map<string, Hop> = new Map()
  #outcomes = 1

  constructor(options: { readonly dht: Pick<DhtNode, 'randomNodes' | 'overdueAnswers'>; readonly random: Random }) {
    this.#dht = options.dht
    this.#random = options.random
  }

  /** Notes whether something that needed this node worked. */
  note(contact: NodeContact, worked: boolean, now: number): void {
    const name = toHex(contact.publicKey)
    const quality = rate(this.#hops.get(name)?.quality ?? unknownQuality, worked)
    this.#hops.delete(name)
    this.#hops.set(name, { contact, quality, usedAt: now })
    if (this.#hops.size <= capacity) return
    const oldest = this.#hops.keys().next()
    if (!oldest.done) this.#hops.delete(oldest.value)
  }

  /** Notes whether a request over a whole path was answered. */
  noteOutcome(worked: boolean): void {
    this.#outcomes = rate(this.#outcomes, worked)
  }

  /** Whether a node left two requests of the DHT unanswered: paths over it are dead. */
  silent(contact: NodeContact, now: number): boolean {
    return this.#dht.overdueAnswers(contact.publicKey, now) >= 2
  }

  /** Whether most of the latest requests stayed unanswered. */
  get troubled(): boolean {
    return this.#outcomes < troubleBelow
  }

  /**
   * Three nodes for a path, the better ones more likely: different ones when there are as many. In trouble the third is
   * often the first again, so that one bad node of three cannot be on every path.
   */
  choosePath(now: number): readonly [NodeContact, NodeContact, NodeContact] | undefined {
    const [first, second = first, third = first] = this.#choose(3, now)
    if (first === undefined || second === undefined || third === undefined) return undefined
    return this.troubled && randomBelow(this.#random, 2) === 0 ? [first, second, first] : [first, second, third]
  }

  #choose(count: number, now: number): NodeContact[] {
    const candidates = this.#candidates(now)
    const chosen: NodeContact[] = []
    while (chosen.length < count && candidates.length > 0) {
      const first = randomBelow(this.#random, candidates.length)
      const second = randomBelow(this.#random, candidates.length)
      const better = (candidates[first]?.quality ?? 0) >= (candidates[second]?.quality ?? 0) ? first : second
      const [hop] = candidates.splice(better, 1)
      if (hop !== undefined) chosen.push(hop.contact)
    }
    return chosen
  }

  #candidates(now: number): Hop[] {
    const candidates = new Map<string, Hop>()
    for (const contact of this.#dht.randomNodes(16, now)) {
      candidates.set(toHex(contact.publicKey), { contact, quality: unknownQuality, usedAt: now })
    }
    for (const [name, hop] of this.#hops) {
      const current = candidates.get(name)?.contact ?? hop.contact
      // In trouble only nodes that the DHT has just verified are tried, or that still work.
      if (this.troubled && !candidates.has(name) && hop.quality < unknownQuality) continue
      if (now - hop.usedAt < forgottenAfter) candidates.set(name, { ...hop, contact: current })
    }
    const all = [...candidates.values()]
    const answering = all.filter((hop) => this.#dht.overdueAnswers(hop.contact.publicKey, now) === 0)
    const working = answering.filter((hop) => hop.quality >= unknownQuality / 2)
    return [working, answering, all].find((hops) => hops.length > 0) ?? []
  }
}

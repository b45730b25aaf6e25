/**
 * A list of known nodes around a base key (Tox specification, "K-buckets", "DHT search entry"): the close list keeps 8 per
 * k-bucket around our own key, a search list the 8 closest to the sought key. Both ask their nodes for the base key.
 */

import { type Random, randomBelow } from '../../../util/random.ts'
import { commonBits, compareDistance } from './distance.ts'
import { isGood, type KnownNode, knownFor, nextCheck } from './known-node.ts'

/** Nodes in a bucket and in a search list. */
const listSize = 8

/** Deeper buckets share the last one. */
const lastBucket = 127

const randomInterval = 20_000

/** When a close list begins to fill, its first nodes soon know more than at first: they are asked again this often. */
const firstAsks = 5
const firstInterval = 200

export interface ListEntry {
  readonly node: KnownNode
  /** When the node was last asked for the base key of this list. */
  lastAsked: number
}

export class NodeList {
  readonly base: Uint8Array
  readonly #kind: 'close' | 'search'
  readonly #buckets: Map<number, ListEntry[]> = new Map()
  #nextRandom: number | undefined
  #firstAsksLeft = 0

  constructor(kind: 'close' | 'search', base: Uint8Array) {
    this.#kind = kind
    this.base = base
  }

  entries(): ListEntry[] {
    return [...this.#buckets.values()].flat()
  }

  get size(): number {
    let size = 0
    for (const bucket of this.#buckets.values()) size += bucket.length
    return size
  }

  has(node: KnownNode): boolean {
    return this.#bucketOf(node.publicKey).some((entry) => entry.node === node)
  }

  /** Whether a node with this key would be taken, if it answered now. */
  wants(publicKey: Uint8Array, now: number): boolean {
    return this.#loser(this.#bucketOf(publicKey), publicKey, now) !== 'newcomer'
  }

  /** Takes a good node, when there is room for it. `lastAsked`: when it was asked for the base key, if ever. */
  offer(node: KnownNode, options: { readonly lastAsked: number; readonly now: number }): void {
    const { lastAsked, now } = options
    if (this.has(node)) return
    const bucket = this.#bucketOf(node.publicKey)
    const loser = this.#loser(bucket, node.publicKey, now)
    if (loser === 'newcomer') return
    if (loser !== undefined) this.#remove(bucket, loser)
    bucket.push({ node, lastAsked })
    this.#buckets.set(this.#bucketNumber(node.publicKey), bucket)
    node.holders += 1
    if (this.size === 1) this.#begin(now)
  }

  /** Forgets nodes that have not answered for too long. */
  prune(now: number): void {
    for (const bucket of this.#buckets.values()) {
      for (const entry of [...bucket]) if (now >= entry.node.lastAnswer + knownFor) this.#remove(bucket, entry)
    }
  }

  clear(): void {
    for (const bucket of this.#buckets.values()) for (const entry of [...bucket]) this.#remove(bucket, entry)
  }

  /** The entries to be asked for the base key now: those not asked for a minute, and every 20 s a random good one. */
  due(now: number, random: Random): ListEntry[] {
    const due = this.entries().filter((entry) => nextCheck(entry.node, entry.lastAsked) <= now)
    if (this.#nextRandom !== undefined && this.#nextRandom <= now) {
      const good = this.entries().filter((entry) => isGood(entry.node, now) && !due.includes(entry))
      const chosen = good.length === 0 ? undefined : good[randomBelow(random, good.length)]
      if (chosen !== undefined) due.push(chosen)
      this.#firstAsksLeft = Math.max(0, this.#firstAsksLeft - 1)
      this.#nextRandom = now + (this.#firstAsksLeft > 0 ? firstInterval : randomInterval)
    }
    return due
  }

  get deadline(): number {
    let deadline = Number.POSITIVE_INFINITY
    for (const bucket of this.#buckets.values()) {
      for (const { node, lastAsked } of bucket) {
        deadline = Math.min(deadline, nextCheck(node, lastAsked), node.lastAnswer + knownFor)
      }
    }
    return deadline === Number.POSITIVE_INFINITY ? deadline : Math.min(deadline, this.#nextRandom ?? deadline)
  }

  /** The first node was taken. The nodes of a search list are asked by the search itself. */
  #begin(now: number): void {
    this.#firstAsksLeft = this.#kind === 'close' ? firstAsks : 0
    this.#nextRandom = now + (this.#kind === 'close' ? firstInterval : randomInterval)
  }

  /** Who has to go for a newcomer: nobody (room), a worse entry, or the newcomer itself. */
  #loser(bucket: readonly ListEntry[], publicKey: Uint8Array, now: number): ListEntry | 'newcomer' | undefined {
    if (bucket.length < listSize) return undefined
    const bad = bucket.find((entry) => !isGood(entry.node, now))
    if (bad !== undefined) return bad
    if (this.#kind === 'close') return 'newcomer'
    const farthest = bucket.reduce((a, b) =>
      compareDistance(this.base, a.node.publicKey, b.node.publicKey) > 0 ? a : b,
    )
    return compareDistance(this.base, publicKey, farthest.node.publicKey) < 0 ? farthest : 'newcomer'
  }

  #bucketNumber(publicKey: Uint8Array): number {
    return this.#kind === 'close' ? Math.min(lastBucket, commonBits(this.base, publicKey)) : 0
  }

  #bucketOf(publicKey: Uint8Array): ListEntry[] {
    return this.#buckets.get(this.#bucketNumber(publicKey)) ?? []
  }

  #remove(bucket: ListEntry[], entry: ListEntry): void {
    bucket.splice(bucket.indexOf(entry), 1)
    entry.node.holders -= 1
  }
}

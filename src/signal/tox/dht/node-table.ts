/**
 * All nodes a DHT node knows, and the lists that hold them: the close list, one search list per sought key, and a list
 * around a random key that is moved every ten minutes, for variety in onion paths. A node no list holds is forgotten.
 */

import { toHex } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import type { DhtPublicKey } from '../crypto.ts'
import type { NodeContact } from '../packed-node.ts'
import { closest } from './distance.ts'
import { isGood, type KnownNode } from './known-node.ts'
import { NodeList } from './node-list.ts'
import { Search } from './search.ts'

/** With fewer close nodes a walk through the key space finds nobody new. */
const wanderFrom = 8
const wanderFor = 600_000

export class NodeTable {
  readonly closeList: NodeList
  readonly searches: Map<string, Search> = new Map()
  readonly #known: Map<string, KnownNode> = new Map()
  #wander: { readonly list: NodeList; readonly until: number } | undefined

  constructor(ownKey: DhtPublicKey) {
    this.closeList = new NodeList('close', ownKey)
  }

  get size(): number {
    return this.#known.size
  }

  /** By the key in hex. */
  find(name: string): KnownNode | undefined {
    return this.#known.get(name)
  }

  lists(): readonly NodeList[] {
    const lists = [this.closeList]
    for (const search of this.searches.values()) lists.push(search.list)
    if (this.#wander !== undefined) lists.push(this.#wander.list)
    return lists
  }

  good(now: number): KnownNode[] {
    return [...this.#known.values()].filter((node) => isGood(node, now))
  }

  /** Close nodes, good or not, closest first. */
  close(count: number): KnownNode[] {
    const nodes = this.closeList.entries().map((entry) => entry.node)
    return closest(nodes, this.closeList.base, count)
  }

  /** A list that would take a node with this key. */
  listFor(publicKey: Uint8Array, now: number): NodeList | undefined {
    return this.lists().find((list) => list.wants(publicKey, now))
  }

  /**
   * A node answered from where it was asked: only this puts nodes into lists and changes their endpoint. `request` is
   * what it answered: the list around that key need not ask again.
   */
  noteAnswer(contact: NodeContact, request: { readonly wanted: string; readonly sentAt: number }, now: number): void {
    const name = toHex(contact.publicKey)
    const node: KnownNode = this.#known.get(name) ?? {
      name,
      publicKey: contact.publicKey,
      endpoint: contact.endpoint,
      lastAnswer: now,
      lastAsked: request.sentAt,
      unanswered: 0,
      holders: 0,
    }
    node.endpoint = contact.endpoint
    node.lastAnswer = now
    node.unanswered = 0
    for (const list of this.lists()) {
      const asked = request.wanted === toHex(list.base)
      list.offer(node, { lastAsked: asked ? request.sentAt : Number.NEGATIVE_INFINITY, now })
    }
    if (node.holders > 0) this.#known.set(name, node)
    this.#forgetUnheld()
  }

  addSearch(dhtKey: DhtPublicKey, random: Random, now: number): Search {
    const search = new Search(dhtKey, random)
    this.searches.set(search.name, search)
    this.seed(search.list, now)
    return search
  }

  removeSearch(name: string): void {
    this.searches.get(name)?.list.clear()
    this.searches.delete(name)
    this.#forgetUnheld()
  }

  /** Fills a list with the closest of all good nodes. */
  seed(list: NodeList, now: number): void {
    const lastAsked = Number.NEGATIVE_INFINITY
    for (const node of closest(this.good(now), list.base, 8)) list.offer(node, { lastAsked, now })
  }

  /** Forgets the dead, and moves the wandering list when it is time. */
  maintain(random: Random, now: number): void {
    for (const list of this.lists()) list.prune(now)
    if (this.#wander === undefined || this.#wander.until <= now) {
      this.#wander?.list.clear()
      this.#wander = undefined
      if (this.closeList.size >= wanderFrom) {
        this.#wander = { list: new NodeList('search', random.bytes(32)), until: now + wanderFor }
        this.seed(this.#wander.list, now)
      }
    }
    this.#forgetUnheld()
  }

  get deadline(): number {
    let deadline = this.#wander?.until ?? Number.POSITIVE_INFINITY
    for (const list of this.lists()) deadline = Math.min(deadline, list.deadline)
    for (const search of this.searches.values()) deadline = Math.min(deadline, search.roundDeadline)
    return deadline
  }

  #forgetUnheld(): void {
    for (const [name, node] of this.#known) if (node.holders === 0) this.#known.delete(name)
  }
}

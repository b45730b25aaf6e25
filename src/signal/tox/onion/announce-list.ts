/**
 * The nodes closest to a long-term key that answer announce requests: 12 around our own key, 8 around a friend's (Tox
 * specification, "Onion client"). Only answers put a node into the list; silence removes it.
 */

import { toHex } from '../../../util/bytes.ts'
import { compareDistance } from '../dht/distance.ts'
import type { NodeContact } from '../packed-node.ts'
import { Recent } from '../recent.ts'
import type { OnionPath } from './path-pool.ts'

export interface AnnounceNode {
  /** The DHT key in hex. */
  readonly name: string
  contact: NodeContact
  answeredAt: number
  askedAt: number
  /** Requests since the last answer. */
  unanswered: number
  /** Since when the node says that it stores the key, `undefined` when it does not. */
  storedSince: number | undefined
  /** Onion data key of the sought friend, as the node tells it. */
  dataKey: Uint8Array | undefined
  /** Our right to be stored, bound to the path it came by. */
  ticket: { readonly pingId: Uint8Array; readonly path: OnionPath } | undefined
  /** How often a valid ticket did not get us stored. */
  refused: number
}

const unansweredLimit = 3
const silenceLimit = 15_000

export class AnnounceList {
  readonly key: Uint8Array
  readonly #capacity: number
  readonly #nodes: Map<string, AnnounceNode> = new Map()
  readonly #asked: Recent = new Recent({ capacity: 256 })

  constructor(key: Uint8Array, capacity: number) {
    this.key = key
    this.#capacity = capacity
  }

  get nodes(): readonly AnnounceNode[] {
    return [...this.#nodes.values()]
  }

  get stored(): readonly AnnounceNode[] {
    return this.nodes.filter((node) => node.storedSince !== undefined)
  }

  get size(): number {
    return this.#nodes.size
  }

  /** Whether fewer than half of the places are taken by nodes that answer. */
  get sparse(): boolean {
    return this.nodes.filter((node) => !silent(node)).length * 2 <= this.#capacity
  }

  find(contact: NodeContact): AnnounceNode | undefined {
    return this.#nodes.get(toHex(contact.publicKey))
  }

  /** Whether a node that is not in the list should be asked: it would fit, and was not asked for `interval` ms. */
  claim(contact: NodeContact, interval: number, now: number): boolean {
    const name = toHex(contact.publicKey)
    return !this.#nodes.has(name) && this.#fits(contact, this.#worst()) && this.#asked.claim(name, interval, now)
  }

  /** A node answered: its record, `undefined` when the list is full of closer ones. */
  noteAnswer(contact: NodeContact, now: number): AnnounceNode | undefined {
    const known = this.find(contact)
    if (known !== undefined) {
      known.contact = contact
      known.answeredAt = now
      known.unanswered = 0
      return known
    }
    const worst = this.#worst()
    if (!this.#fits(contact, worst)) return undefined
    if (worst !== undefined) this.#nodes.delete(worst.name)
    const node: AnnounceNode = {
      name: toHex(contact.publicKey),
      contact,
      answeredAt: now,
      askedAt: now,
      unanswered: 0,
      storedSince: undefined,
      dataKey: undefined,
      ticket: undefined,
      refused: 0,
    }
    this.#nodes.set(node.name, node)
    return node
  }

  /** Removes nodes that stay silent. */
  prune(now: number): void {
    for (const node of this.nodes) {
      if (node.unanswered < unansweredLimit || now - node.answeredAt < silenceLimit) continue
      this.#nodes.delete(node.name)
    }
  }

  /** Who has to go for a newcomer when the list is full: the farthest of the silent ones, else of all. */
  #worst(): AnnounceNode | undefined {
    if (this.#nodes.size < this.#capacity) return undefined
    const quiet = this.nodes.filter(silent)
    return (quiet.length > 0 ? quiet : this.nodes).reduce((a, b) =>
      compareDistance(this.key, a.contact.publicKey, b.contact.publicKey) > 0 ? a : b,
    )
  }

  #fits(contact: NodeContact, worst: AnnounceNode | undefined): boolean {
    if (worst === undefined || silent(worst)) return true
    return compareDistance(this.key, contact.publicKey, worst.contact.publicKey) < 0
  }
}

function silent(node: AnnounceNode): boolean {
  return node.unanswered >= 2
}

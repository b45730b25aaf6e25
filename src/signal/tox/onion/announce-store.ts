/**
 * The node that keeps announcements for others (Tox specification, "Onion announce", role of the storing node): up to
 * 160 entries of 300 s, and pushes data down the stored way back. Requests with extra data (0x87) are left out.
 */

import { type Endpoint, formatEndpoint } from '../../../api/endpoint.ts'
import { concatBytes, equalBytes, toHex, toUtf8 } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import { authenticate, type DhtPublicKey, nonceBytes } from '../crypto.ts'
import type { DhtNode } from '../dht/dht-node.ts'
import { compareDistance } from '../dht/distance.ts'
import { Drops } from '../drops.ts'
import {
  type AnnounceRequestPlain,
  type AnnounceResponsePlain,
  announceRequestKind,
  decodeAnnounceRequest,
  decodeAnnounceRequestPlain,
  encodeAnnounceResponse,
  encodeAnnounceResponsePlain,
} from '../packets/announce.ts'
import { dataRequestKind, decodeDataRequest, encodeDataResponse } from '../packets/onion-data.ts'
import { encodeOnionResponse, largestOnionPacket } from '../packets/onion-layers.ts'
import type { PeerBox } from '../peer-box.ts'

export interface AnnounceStoreEffect {
  readonly kind: 'send'
  readonly bytes: Uint8Array
  readonly to: Endpoint
}

export interface AnnounceStoreOptions {
  /** Our own DHT key: entries far from it are the first to go. */
  readonly publicKey: DhtPublicKey
  /** Boxes of the DHT key pair. */
  readonly box: PeerBox
  readonly random: Random
  /** Names nodes close to a key in answers. */
  readonly dht: Pick<DhtNode, 'closestTo'>
}

interface Entry {
  readonly key: Uint8Array
  readonly dataKey: Uint8Array
  /** Opaque: for the node at `endpoint`, the third hop. */
  readonly returnPath: Uint8Array
  readonly endpoint: Endpoint
  readonly at: number
}

type DropReason = 'malformed' | 'undecryptable' | 'not stored'

const capacity = 160
const entryLifetime = 300_000

/** A ping id is valid in the period it was made in and in the next. */
const pingIdPeriod = 300_000

export class AnnounceStore {
  readonly #publicKey: DhtPublicKey
  readonly #box: PeerBox
  readonly #random: Random
  readonly #dht: Pick<DhtNode, 'closestTo'>
  readonly #pingIdKey: Uint8Array
  /** By the announced key in hex. */
  readonly #entries: Map<string, Entry> = new Map()
  readonly #drops: Drops<DropReason> = new Drops()

  constructor(options: AnnounceStoreOptions) {
    this.#publicKey = options.publicKey
    this.#box = options.box
    this.#random = options.random
    this.#dht = options.dht
    this.#pingIdKey = options.random.bytes(32)
  }

  /** Whether datagrams with this first byte are for `receive`: 0x83, 0x85. */
  static handles(kind: number): boolean {
    return kind === announceRequestKind || kind === dataRequestKind
  }

  /** Takes one datagram whose first byte `handles`. Never throws; what is not valid is dropped and counted. */
  receive(bytes: Uint8Array, from: Endpoint, now: number): readonly AnnounceStoreEffect[] {
    const result = bytes[0] === dataRequestKind ? this.#pass(bytes, now) : this.#answer(bytes, from, now)
    if (typeof result !== 'string') return [result]
    this.#drops.count(result)
    return []
  }

  stats(): { readonly stored: number; readonly dropped: Readonly<Record<string, number>> } {
    return { stored: this.#entries.size, dropped: this.#drops.counts() }
  }

  #answer(bytes: Uint8Array, from: Endpoint, now: number): AnnounceStoreEffect | DropReason {
    const request = decodeAnnounceRequest(bytes)
    if (request === undefined) return 'malformed'
    const opened = this.#box.open(request.sender, request, now)
    if (opened === undefined) return 'undecryptable'
    const plain = decodeAnnounceRequestPlain(opened)
    if (plain === undefined) return 'malformed'
    const announcing = equalBytes(plain.searched, request.sender)
    if (announcing && this.#pingIdFits(plain.pingId, request.sender, from, now)) {
      const { sender, returnPath } = request
      const entry = { key: sender, dataKey: plain.dataKey, returnPath, endpoint: from, at: now }
      this.#store(entry, now)
    }
    const nonce = this.#random.bytes(nonceBytes)
    const answer = encodeAnnounceResponsePlain(this.#answerTo(plain, request.sender, from, now))
    const boxed = this.#box.seal(request.sender, nonce, answer)
    if (boxed === undefined) return 'undecryptable'
    const reply = encodeAnnounceResponse({ sendback: plain.sendback, nonce, boxed })
    return { kind: 'send', bytes: encodeOnionResponse({ hops: 3, returnPath: request.returnPath, reply }), to: from }
  }

  #answerTo(plain: AnnounceRequestPlain, sender: Uint8Array, from: Endpoint, now: number): AnnounceResponsePlain {
    const close = this.#dht.closestTo(plain.searched, { count: 4, asker: from, now })
    const nodes = close.map(({ endpoint, publicKey }) => ({ endpoint, publicKey, transport: 'udp' as const }))
    const entry = this.#find(plain.searched, now)
    const pingId = this.#pingId(sender, from, Math.floor(now / pingIdPeriod))
    if (entry === undefined) return { flag: 0, id: pingId, nodes }
    if (!equalBytes(plain.searched, sender)) return { flag: 1, id: entry.dataKey, nodes }
    return { flag: equalBytes(entry.dataKey, plain.dataKey) ? 2 : 0, id: pingId, nodes }
  }

  #pass(bytes: Uint8Array, now: number): AnnounceStoreEffect | DropReason {
    const request = decodeDataRequest(bytes)
    if (request === undefined) return 'malformed'
    const entry = this.#find(request.destination, now)
    if (entry === undefined) return 'not stored'
    const reply = encodeDataResponse(request)
    const sent = encodeOnionResponse({ hops: 3, returnPath: entry.returnPath, reply })
    return sent.length > largestOnionPacket ? 'malformed' : { kind: 'send', bytes: sent, to: entry.endpoint }
  }

  #find(key: Uint8Array, now: number): Entry | undefined {
    const entry = this.#entries.get(toHex(key))
    return entry !== undefined && now - entry.at < entryLifetime ? entry : undefined
  }

  /** Keeps the entry, when there is room for it or it is closer to us than another. */
  #store(entry: Entry, now: number): void {
    const name = toHex(entry.key)
    if (!this.#entries.has(name) && this.#entries.size >= capacity) {
      for (const [old, { at }] of this.#entries) if (now - at >= entryLifetime) this.#entries.delete(old)
      if (this.#entries.size >= capacity) {
        const farthest = [...this.#entries].reduce((a, b) =>
          compareDistance(this.#publicKey, a[1].key, b[1].key) > 0 ? a : b,
        )
        if (compareDistance(this.#publicKey, entry.key, farthest[1].key) >= 0) return
        this.#entries.delete(farthest[0])
      }
    }
    const { key, dataKey, returnPath, endpoint, at } = entry
    const copies = { key: key.slice(), dataKey: dataKey.slice(), returnPath: returnPath.slice() }
    this.#entries.set(name, { ...copies, endpoint, at })
  }

  /** Binds a requester to the third hop it came through. */
  #pingId(sender: Uint8Array, from: Endpoint, period: number): Uint8Array {
    return authenticate(this.#pingIdKey, concatBytes(sender, toUtf8(`${period} ${formatEndpoint(from)}`)))
  }

  #pingIdFits(pingId: Uint8Array, sender: Uint8Array, from: Endpoint, now: number): boolean {
    const period = Math.floor(now / pingIdPeriod)
    return (
      equalBytes(pingId, this.#pingId(sender, from, period)) ||
      equalBytes(pingId, this.#pingId(sender, from, period - 1))
    )
  }
}

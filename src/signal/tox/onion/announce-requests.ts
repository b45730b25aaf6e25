/**
 * Sends announce requests over onion paths, knows which are unanswered, and rates the paths and their hops by that. Leaves
 * out when and whom to ask: own-announcement.ts and friend-contact.ts say so.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import { equalBytes, toHex } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import { type DhtPublicKey, nonceBytes, publicKeyBytes } from '../crypto.ts'
import type { DhtNode } from '../dht/dht-node.ts'
import type { NodeContact } from '../packed-node.ts'
import {
  type AnnounceResponsePlain,
  decodeAnnounceResponse,
  decodeAnnounceResponsePlain,
  encodeAnnounceRequest,
  encodeAnnounceRequestPlain,
} from '../packets/announce.ts'
import type { PeerBox } from '../peer-box.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { AnnounceNode } from './announce-list.ts'
import { HopPool } from './hop-pool.ts'
import { type OnionPath, PathPool } from './path-pool.ts'
import type { Searcher } from './searcher.ts'

export interface AnnounceRequestsOptions {
  /** Boxes of the DHT key pair. */
  readonly dhtBox: PeerBox
  readonly dhtKey: DhtPublicKey
  readonly random: Random
  readonly dht: Pick<DhtNode, 'randomNodes' | 'overdueAnswers'>
  /** Takes the datagrams to send. */
  readonly send: (bytes: Uint8Array, to: Endpoint) => void
}

export interface PendingAnnounce {
  readonly searcher: Searcher
  readonly contact: NodeContact
  readonly path: OnionPath
  readonly sentAt: number
  /** Whether the request carried a ticket of this very path, so that a good answer means that we are stored by it. */
  readonly confirming: boolean
  /** Whether the path was rated for it already. */
  rated: boolean
}

export type AnnounceDropReason = 'malformed' | 'unasked answer' | 'undecryptable' | 'wrong flag'

const capacity = 256
const answerableFor = 10_000

/** A request not answered after this counts against its path, though its answer is still taken. */
const slowAfter = 1500

/** Our choice: requests of our own a second. */
const requestsPerSecond = 100

const noTicket = new Uint8Array(publicKeyBytes)

export class AnnounceRequests {
  /** For our announcement, and for all friends: nobody sees both come over one path. */
  readonly ownPaths: PathPool
  readonly friendPaths: PathPool
  readonly #random: Random
  readonly #send: AnnounceRequestsOptions['send']
  readonly #hops: HopPool
  /** By sendback in hex, oldest first. */
  readonly #pending: Map<string, PendingAnnounce> = new Map()
  readonly #rate: TokenBucket = new TokenBucket({ rate: requestsPerSecond, burst: 150 })
  #refused = 0

  constructor(options: AnnounceRequestsOptions) {
    const { dhtBox, dhtKey, random, dht } = options
    this.#random = random
    this.#send = options.send
    this.#hops = new HopPool({ dht, random })
    this.ownPaths = new PathPool({ hops: this.#hops, box: dhtBox, dhtKey, random })
    this.friendPaths = new PathPool({ hops: this.#hops, box: dhtBox, dhtKey, random })
  }

  get pending(): number {
    return this.#pending.size
  }

  /** Requests not sent because there were too many at once. */
  get refused(): number {
    return this.#refused
  }

  /** Whether most of the latest requests stayed unanswered. */
  get troubled(): boolean {
    return this.#hops.troubled
  }

  /** Asks a listed node again: with its ticket while the ticket's path works, but the third time over another path. */
  askKnown(searcher: Searcher, node: AnnounceNode, now: number): void {
    const { ticket, contact } = node
    const keep = ticket !== undefined && node.unanswered % 3 < 2 && searcher.pool.alive(ticket.path, now)
    const path = keep ? ticket.path : searcher.pool.choose(contact, now, ticket?.path)
    if (path !== undefined) this.#ask(searcher, { contact, path, ...(keep ? { pingId: ticket.pingId } : {}) }, now)
    node.askedAt = now
    node.unanswered += 1
  }

  /** Asks again at once with the ticket just got, over the path it came by: only that gets us stored. */
  confirm(searcher: Searcher, node: AnnounceNode, now: number): void {
    const { ticket, contact } = node
    if (ticket === undefined) return
    this.#ask(searcher, { contact, path: ticket.path, pingId: ticket.pingId }, now)
    node.askedAt = now
    node.unanswered += 1
  }

  /** Asks a node for the first time; over two paths while none has proved to work. */
  askUnknown(searcher: Searcher, contact: NodeContact, now: number): void {
    const { pool } = searcher
    const first = pool.choose(contact, now)
    if (first === undefined) return
    this.#ask(searcher, { contact, path: first }, now)
    if (pool.proven) return
    const second = pool.choose(contact, now, first)
    if (second !== undefined && second !== first) this.#ask(searcher, { contact, path: second }, now)
  }

  /** Sends data for `destination` over a path of the pool; says whether there was one. */
  sendOver(pool: PathPool, destination: NodeContact, data: Uint8Array, now: number): void {
    const path = pool.choose(destination, now)
    if (path !== undefined) this.#wrap(pool, path, destination, data)
  }

  /** Matches an announce response to its request. A rejected one leaves the request waiting. */
  receive(
    bytes: Uint8Array,
    now: number,
  ): { readonly request: PendingAnnounce; readonly answer: AnnounceResponsePlain } | AnnounceDropReason {
    const response = decodeAnnounceResponse(bytes)
    if (response === undefined) return 'malformed'
    const name = toHex(response.sendback)
    const request = this.#pending.get(name)
    if (request === undefined || now - request.sentAt >= answerableFor) return 'unasked answer'
    const { searcher, contact, path } = request
    const plain = searcher.box.open(contact.publicKey, response, now)
    if (plain === undefined) return 'undecryptable'
    const answer = decodeAnnounceResponsePlain(plain)
    if (answer === undefined) return 'malformed'
    const announcing = equalBytes(searcher.sender, searcher.searched)
    if (!announcing && answer.flag === 2) return 'wrong flag'
    this.#pending.delete(name)
    searcher.pool.note(path, 'answered', now)
    this.#hops.note(contact, true, now)
    return { request, answer }
  }

  /** Rates the paths of requests that have become slow; says whether there were any. */
  rateSlow(now: number): boolean {
    let found = false
    for (const [name, request] of this.#pending) {
      if (now < request.sentAt + slowAfter) break
      if (!request.rated) {
        const { searcher, contact, path } = request
        const answers = (searcher.list.find(contact)?.unanswered ?? 2) < 2
        searcher.pool.note(path, answers ? 'unanswered' : 'doubtful', now)
        request.rated = true
        found = true
      }
      if (now >= request.sentAt + answerableFor) this.#pending.delete(name)
    }
    return found
  }

  get deadline(): number {
    for (const request of this.#pending.values()) if (!request.rated) return request.sentAt + slowAfter
    const oldest = this.#pending.values().next()
    return oldest.done ? Number.POSITIVE_INFINITY : oldest.value.sentAt + answerableFor
  }

  #ask(
    searcher: Searcher,
    request: { readonly contact: NodeContact; readonly path: OnionPath; readonly pingId?: Uint8Array },
    now: number,
  ): void {
    const { contact, path, pingId } = request
    if (!this.#rate.take(now)) {
      this.#refused += 1
      return
    }
    const sendback = this.#random.bytes(8)
    const nonce = this.#random.bytes(nonceBytes)
    const { searched, dataKey, sender } = searcher
    const plain = encodeAnnounceRequestPlain({ pingId: pingId ?? noTicket, searched, dataKey, sendback })
    const boxed = searcher.box.seal(contact.publicKey, nonce, plain)
    if (boxed === undefined) return
    const confirming = pingId !== undefined
    this.#pending.set(toHex(sendback), { searcher, contact, path, sentAt: now, confirming, rated: false })
    if (this.#pending.size > capacity) {
      const oldest = this.#pending.keys().next()
      if (!oldest.done) this.#pending.delete(oldest.value)
    }
    this.#wrap(searcher.pool, path, contact, encodeAnnounceRequest({ nonce, sender, boxed }))
  }

  #wrap(pool: PathPool, path: OnionPath, destination: NodeContact, data: Uint8Array): void {
    const bytes = pool.wrap(path, destination.endpoint, data)
    if (bytes !== undefined) this.#send(bytes, path.hops[0].endpoint)
  }
}

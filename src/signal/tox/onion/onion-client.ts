/**
 * Our own use of the onion (Tox specification, "Onion"): announces the long-term key, finds friends that are announced,
 * exchanges DHT-key packets with them, sends and takes friend requests. A pure machine over UDP; paths through TCP
 * relays are left out.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import { equalBytes, toHex } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import {
  createKeyPair,
  type DhtPublicKey,
  type KeyPair,
  type LongTermPublicKey,
  nonceBytes,
  publicKeyBytes,
  seal,
  sharedKey,
} from '../crypto.ts'
import type { DhtNode } from '../dht/dht-node.ts'
import { Drops } from '../drops.ts'
import { isLocal } from '../local-address.ts'
import { isIpv4, type NodeContact, type PackedNode } from '../packed-node.ts'
import {
  type AnnounceResponsePlain,
  announceResponseKind,
  decodeAnnounceResponse,
  decodeAnnounceResponsePlain,
  encodeAnnounceRequest,
  encodeAnnounceRequestPlain,
} from '../packets/announce.ts'
import {
  decodeDhtKeyPacket,
  decodeRoutedDhtKey,
  dhtKeyPacketId,
  encodeDhtKeyPacket,
  encodeRoutedDhtKey,
} from '../packets/dht-key-packet.ts'
import { decodeFriendRequest, encodeFriendRequest, friendRequestId } from '../packets/friend-request.ts'
import {
  dataResponseKind,
  decodeDataOuterPlain,
  decodeDataResponse,
  encodeDataOuterPlain,
  encodeDataRequest,
} from '../packets/onion-data.ts'
import { PeerBox } from '../peer-box.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { Nospam } from '../tox-id.ts'
import type { AnnounceNode } from './announce-list.ts'
import { FriendContact } from './friend-contact.ts'
import { HopPool } from './hop-pool.ts'
import { OwnAnnouncement } from './own-announcement.ts'
import { type OnionPath, PathPool } from './path-pool.ts'
import { type PendingAnnounce, PendingAnnounces } from './pending-announces.ts'

export type OnionEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint }
  /** For `DhtNode.sendRouted(dhtKey, plain, now)`. */
  | { readonly kind: 'route'; readonly dhtKey: DhtPublicKey; readonly plain: Uint8Array }
  /**
   * A friend told us its DHT key, and up to 4 nodes that know it (UDP) or relays it uses (TCP). Authentic and newer
   * than the last one; emitted also when the key is the same as before. For `DhtNode.search(dhtKey, { named: nodes, now })`.
   */
  | {
      readonly kind: 'friend-dht-key'
      readonly friend: LongTermPublicKey
      readonly dhtKey: DhtPublicKey
      readonly nodes: readonly PackedNode[]
    }
  /** Somebody who is no friend asks, with the right nospam. Once per key and run. `message` is 1..1016 bytes. */
  | { readonly kind: 'friend-request'; readonly from: LongTermPublicKey; readonly message: Uint8Array }

export interface OnionClientOptions {
  /** The long-term key pair. */
  readonly keyPair: KeyPair<LongTermPublicKey>
  readonly dhtKeyPair: KeyPair<DhtPublicKey>
  /** Boxes of the DHT key pair. */
  readonly dhtBox: PeerBox
  readonly nospam: Nospam
  /** Where we are on our own LAN: friends are told, because a NAT may not carry packets back inside. */
  readonly localEndpoints?: () => readonly Endpoint[]
  readonly random: Random
  readonly dht: Pick<DhtNode, 'randomNodes' | 'closeNodes' | 'connected' | 'verify'>
}

export interface OnionStats {
  /** Nodes that say they store our announcement, and nodes asked. */
  readonly announcedOn: number
  readonly announceNodes: number
  readonly friends: number
  readonly paths: number
  readonly pendingRequests: number
  readonly sent: number
  readonly dropped: Readonly<Record<string, number>>
}

type DropReason =
  | 'malformed'
  | 'undecryptable'
  | 'unasked answer'
  | 'wrong flag'
  | 'unknown data'
  | 'not a friend'
  | 'replayed'
  | 'wrong nospam'
  | 'repeated request'
  | 'rate limit'

const self = 'self'
const nodesAskedPerRound = 6
const zeroKey = new Uint8Array(publicKeyBytes)

/** While nobody is known: how soon to look again, ms. */
const lookAgain = 50
const lookAgainLater = 1000
const lookOftenFor = 15_000

/** Without any answer for this long everything is begun again (Tox specification). */
const silenceLimit = 75_000

/** A node named by others is asked once in this time, ms, sooner at the beginning. */
const namedInterval = 10_000
const namedIntervalFast = 250

/** Our own addresses among the four nodes of a DHT-key packet. */
const ownEndpointsTold = 2

/** When most requests fail the announcement is checked at once, at most this often, ms. */
const troubleInterval = 20_000

/** Keys whose friend requests are remembered (as in c-toxcore). */
const requestersKept = 32

/**
 * `receive`, `receiveRouted` and `tick` return effects. All other inputs only change the state and may move `deadline`.
 * `wallTime` is ms since 1970 (as `Clock.wallTime`): DHT-key packets carry it in seconds.
 */
export class OnionClient {
  readonly #options: OnionClientOptions
  readonly #random: Random
  readonly #box: PeerBox
  /** Its public half goes to the nodes that store us; fresh in every run. */
  readonly #dataKeyPair: KeyPair
  readonly #dataBox: PeerBox
  readonly #hops: HopPool
  readonly #ownPaths: PathPool
  readonly #friendPaths: PathPool
  readonly #own: OwnAnnouncement
  readonly #friends: Map<string, FriendContact> = new Map()
  readonly #pending: PendingAnnounces = new PendingAnnounces()
  readonly #requesters: Set<string> = new Set()
  readonly #rate: TokenBucket = new TokenBucket({ rate: 100, burst: 150 })
  readonly #drops: Drops<DropReason> = new Drops()
  #firstTick: number | undefined
  #lookAt: number | undefined = Number.NEGATIVE_INFINITY
  #lastAnswer = Number.NEGATIVE_INFINITY
  #troubledAt = Number.NEGATIVE_INFINITY
  #noReplay = 0
  #sent = 0
  #effects: OnionEffect[] = []
  #now = Number.NEGATIVE_INFINITY

  constructor(options: OnionClientOptions) {
    this.#options = options
    this.#random = options.random
    this.#box = new PeerBox({ secretKey: options.keyPair.secretKey })
    this.#dataKeyPair = createKeyPair(options.random)
    this.#dataBox = new PeerBox({ secretKey: this.#dataKeyPair.secretKey, unknownKeysPerSecond: 100, capacity: 16 })
    this.#hops = new HopPool({ dht: options.dht, random: options.random })
    const paths = {
      hops: this.#hops,
      box: options.dhtBox,
      dhtKey: options.dhtKeyPair.publicKey,
      random: options.random,
    }
    this.#ownPaths = new PathPool(paths)
    this.#friendPaths = new PathPool(paths)
    this.#own = new OwnAnnouncement(options.keyPair.publicKey)
  }

  /** Whether datagrams with this first byte are for `receive`: 0x84, 0x86. */
  static handles(kind: number): boolean {
    return kind === announceResponseKind || kind === dataResponseKind
  }

  /** Takes one datagram whose first byte `handles`. Never throws; what is not valid is dropped and counted. */
  receive(bytes: Uint8Array, _from: Endpoint, now: number): readonly OnionEffect[] {
    this.#now = now
    const dropped =
      bytes[0] === dataResponseKind ? this.#receiveData(bytes, now) : this.#receiveAnnounceResponse(bytes, now)
    if (dropped !== undefined) this.#drops.count(dropped)
    return this.#take()
  }

  /** The payload of a `routed-dht-key` effect of the DHT node. */
  receiveRouted(sender: DhtPublicKey, payload: Uint8Array, now: number): readonly OnionEffect[] {
    const dropped = this.#receiveRouted(sender, payload, now)
    if (dropped !== undefined) this.#drops.count(dropped)
    return this.#take()
  }

  tick(now: number, wallTime: number): readonly OnionEffect[] {
    this.#now = now
    this.#firstTick ??= now
    this.#blame(now)
    if (!this.#up(now)) return this.#take()
    if (!this.#own.started) this.#begin(now)
    else if (now - this.#lastAnswer >= silenceLimit) this.#begin(now)
    this.#announce(now)
    const seconds = Math.floor(wallTime / 1000)
    for (const friend of this.#friends.values()) {
      if (friend.online) continue
      this.#lookFor(friend, now)
      this.#tell(friend, seconds, now)
    }
    return this.#take()
  }

  get deadline(): number | undefined {
    const now = this.#now
    let deadline = Math.min(this.#pending.deadline, this.#lookAt ?? Number.POSITIVE_INFINITY)
    if (this.#lookAt === undefined) {
      deadline = Math.min(deadline, this.#own.deadline(now), this.#lastAnswer + silenceLimit)
      for (const friend of this.#friends.values()) deadline = Math.min(deadline, friend.deadline())
    }
    return deadline === Number.POSITIVE_INFINITY ? undefined : deadline
  }

  /** Whether at least one node stores our announcement: friends can find us. */
  get announced(): boolean {
    return this.#own.list.stored.length > 0
  }

  /** Starts to look for a friend and to tell it our DHT key, until it is online or removed. */
  addFriend(friend: LongTermPublicKey, now: number): void {
    this.#add(friend, now)
  }

  removeFriend(friend: LongTermPublicKey): void {
    this.#friends.delete(toHex(friend))
    this.#requesters.delete(toHex(friend))
  }

  /** Online: nothing is sent for this friend. Offline again: it is looked for at the fast rate. */
  friendOnline(friend: LongTermPublicKey, state: { readonly online: boolean; readonly now: number }): void {
    const contact = this.#friends.get(toHex(friend))
    if (contact === undefined || contact.online === state.online) return
    contact.online = state.online
    if (state.online) {
      contact.stop()
      contact.request = undefined
    } else {
      contact.start(state.now)
    }
  }

  /** The friend's DHT key as learned elsewhere (from its crypto handshake): DHT-key packets go to it directly too. */
  friendDhtKey(friend: LongTermPublicKey, dhtKey: DhtPublicKey): void {
    this.#friends.get(toHex(friend))?.noteDhtKey(dhtKey, this.#now)
  }

  /**
   * Adds the friend and asks it for friendship as well, again and again at growing intervals until it is online or
   * removed. `message` is 1..921 bytes.
   */
  requestFriend(
    friend: LongTermPublicKey,
    request: { readonly nospam: Nospam; readonly message: Uint8Array; readonly now: number },
  ): void {
    const contact = this.#add(friend, request.now)
    contact.request = { nospam: request.nospam, message: request.message.slice() }
    contact.start(request.now)
  }

  /** The network may have changed: announce, search and tell our DHT key at the fast rate again, now. */
  nudge(now: number): void {
    this.#own.start(now)
    for (const friend of this.#friends.values()) if (!friend.online) friend.start(now)
  }

  stats(): OnionStats {
    return {
      announcedOn: this.#own.list.stored.length,
      announceNodes: this.#own.list.size,
      friends: this.#friends.size,
      paths: this.#ownPaths.size + this.#friendPaths.size,
      pendingRequests: this.#pending.size,
      sent: this.#sent,
      dropped: this.#drops.counts(),
    }
  }

  #add(friend: LongTermPublicKey, now: number): FriendContact {
    const name = toHex(friend)
    const known = this.#friends.get(name)
    if (known !== undefined) return known
    const contact = new FriendContact(friend, this.#random)
    this.#friends.set(name, contact)
    contact.start(now)
    return contact
  }

  /** Whether there is anybody to send to; while there is not, looks again soon. */
  #up(now: number): boolean {
    if (this.#options.dht.connected(now)) {
      this.#lookAt = undefined
      return true
    }
    const often = now - (this.#firstTick ?? now) < lookOftenFor
    this.#lookAt = now + (often ? lookAgain : lookAgainLater)
    return false
  }

  /** Requests that are slow count against their path, unless it is more likely that the asked node is gone. */
  #blame(now: number): void {
    const slow = this.#pending.takeSlow(now)
    for (const { owner, contact, pool, path } of slow) {
      const list = this.#friends.get(owner)?.list ?? this.#own.list
      const answers = (list.find(contact)?.unanswered ?? 2) < 2
      pool.note(path, answers ? 'unanswered' : 'doubtful', now)
    }
    if (slow.length === 0 || !this.#hops.troubled) return
    this.#options.dht.verify(now)
    if (now - this.#troubledAt < troubleInterval) return
    this.#troubledAt = now
    this.#own.start(now)
    for (const friend of this.#friends.values()) {
      if (!friend.online && friend.search.age(now) < lookOftenFor) friend.start(now)
    }
  }

  #begin(now: number): void {
    this.#lastAnswer = now
    this.#own.start(now)
    for (const friend of this.#friends.values()) if (!friend.online) friend.start(now)
  }

  #announce(now: number): void {
    const own = this.#own
    own.list.prune(now)
    for (const node of own.due(now)) this.#askKnown(self, node, now)
    if (!own.exploreDue(now)) return
    const interval = own.fast(now) ? namedIntervalFast : namedInterval
    for (const contact of this.#options.dht.randomNodes(nodesAskedPerRound, now)) {
      if (own.list.claim(contact, interval, now)) this.#askUnknown(self, contact, now)
    }
  }

  #lookFor(friend: FriendContact, now: number): void {
    friend.list.prune(now)
    const round = friend.search.due(now)
    for (const node of friend.due(now, round)) this.#askKnown(friend.name, node, now)
    if (!friend.exploreDue(now, round)) return
    const interval = friend.search.age(now) < 5000 ? namedIntervalFast : namedInterval
    for (const contact of this.#options.dht.randomNodes(nodesAskedPerRound, now)) {
      if (friend.list.claim(contact, interval, now)) this.#askUnknown(friend.name, contact, now)
    }
  }

  #tell(friend: FriendContact, seconds: number, now: number): void {
    const stored = friend.list.stored
    const fresh = friend.takeFresh()
    const told = stored.length > 0 && friend.tell.due(now) ? stored : fresh
    if (told.length > 0) {
      const packet = this.#dhtKeyPacket(seconds, now)
      for (const node of told) this.#sendData(friend, node, packet, now)
    }
    if (friend.request !== undefined && stored.length > 0) {
      const request = encodeFriendRequest(friend.request)
      const asked = friend.requesting.due(now) ? stored : fresh
      for (const node of asked) this.#sendData(friend, node, request, now)
    }
    const dhtKey = friend.dhtKey(now)
    if (friend.route.due(now) && dhtKey !== undefined) this.#route(friend, dhtKey, this.#dhtKeyPacket(seconds, now))
  }

  #dhtKeyPacket(seconds: number, now: number): Uint8Array {
    this.#noReplay = Math.max(this.#noReplay, seconds)
    const { dht, dhtKeyPair, localEndpoints } = this.#options
    const own = (localEndpoints?.() ?? []).slice(0, ownEndpointsTold)
    const told = own.map((endpoint) => ({ endpoint, publicKey: dhtKeyPair.publicKey }))
    const nodes = [...told, ...dht.closeNodes(4 - told.length, now)].map(({ endpoint, publicKey }) => {
      return { endpoint, publicKey, transport: 'udp' as const }
    })
    return encodeDhtKeyPacket({ noReplay: BigInt(this.#noReplay), dhtKey: dhtKeyPair.publicKey, nodes })
  }

  #receiveAnnounceResponse(bytes: Uint8Array, now: number): DropReason | undefined {
    const response = decodeAnnounceResponse(bytes)
    if (response === undefined) return 'malformed'
    const request = this.#pending.find(response.sendback, now)
    if (request === undefined) return 'unasked answer'
    const friend = this.#friends.get(request.owner)
    if (request.owner !== self && friend === undefined) return 'unasked answer'
    const plain = (friend?.searchBox ?? this.#box).open(request.contact.publicKey, response, now)
    if (plain === undefined) return 'undecryptable'
    const answer = decodeAnnounceResponsePlain(plain)
    if (answer === undefined) return 'malformed'
    if (friend !== undefined && answer.flag === 2) return 'wrong flag'
    this.#pending.remove(response.sendback)
    this.#lastAnswer = now
    request.pool.note(request.path, 'answered', now)
    this.#hops.note(request.contact, true, now)
    if (friend === undefined) this.#noteOwnAnswer(request, answer, now)
    else this.#noteFriendAnswer(friend, request, answer, now)
    this.#learn(friend, request.contact, answer.nodes, now)
    return undefined
  }

  #noteOwnAnswer(request: PendingAnnounce, answer: AnnounceResponsePlain, now: number): void {
    const list = this.#own.list
    const node = list.noteAnswer(request.contact, now)
    if (node === undefined) return
    if (answer.flag === 1) {
      node.storedSince = equalBytes(answer.id, this.#dataKeyPair.publicKey) ? (node.storedSince ?? now) : undefined
      return
    }
    const confirmed = request.confirming && answer.flag === 2
    if (confirmed) {
      node.storedSince ??= now
      node.refused = 0
    } else if (answer.flag === 0) {
      node.storedSince = undefined
      if (request.confirming) node.refused += 1
    }
    node.ticket = { pingId: answer.id.slice(), path: request.path }
    if (!request.confirming) this.#confirm(node, now)
  }

  /** Asks again at once with the ticket just got, over the path it came by: only that stores us. */
  #confirm(node: AnnounceNode, now: number): void {
    const ticket = node.ticket
    if (ticket === undefined) return
    this.#ask({ owner: self, contact: node.contact, path: ticket.path, pingId: ticket.pingId }, now)
    node.askedAt = now
    node.unanswered += 1
  }

  #noteFriendAnswer(friend: FriendContact, request: PendingAnnounce, answer: AnnounceResponsePlain, now: number): void {
    const node = friend.list.noteAnswer(request.contact, now)
    if (node === undefined) return
    if (answer.flag === 1) friend.noteStored(node, answer.id, now)
    else friend.noteNotStored(node)
  }

  /** Nodes named in an answer: asked when they are closer than those we have. */
  #learn(friend: FriendContact | undefined, by: NodeContact, nodes: readonly PackedNode[], now: number): void {
    const list = friend === undefined ? this.#own.list : friend.list
    const fast = friend === undefined ? this.#own.fast(now) : friend.search.age(now) < 5000
    if (friend?.online === true) return
    for (const node of nodes) {
      if (!isIpv4(node.endpoint) || node.endpoint.port === 0) continue
      if (equalBytes(node.publicKey, this.#options.dhtKeyPair.publicKey)) continue
      if (isLocal(node.endpoint) && !isLocal(by.endpoint)) continue
      if (!list.claim(node, fast ? namedIntervalFast : namedInterval, now)) continue
      this.#askUnknown(friend?.name ?? self, { publicKey: node.publicKey, endpoint: node.endpoint }, now)
    }
  }

  /** Asks a listed node again: with its ticket while the ticket's path works, but the third time over another path. */
  #askKnown(owner: string, node: AnnounceNode, now: number): void {
    const pool = this.#poolOf(owner)
    const { ticket, contact } = node
    const keep = ticket !== undefined && node.unanswered % 3 < 2 && pool.alive(ticket.path, now)
    const path = keep ? ticket.path : pool.choose(contact, now, ticket?.path)
    if (path !== undefined) this.#ask({ owner, contact, path, ...(keep ? { pingId: ticket.pingId } : {}) }, now)
    node.askedAt = now
    node.unanswered += 1
  }

  /** Asks a node for the first time; over two paths while none has proved to work. */
  #askUnknown(owner: string, contact: NodeContact, now: number): void {
    const pool = this.#poolOf(owner)
    const first = pool.choose(contact, now)
    if (first === undefined) return
    this.#ask({ owner, contact, path: first }, now)
    if (pool.proven) return
    const second = pool.choose(contact, now, first)
    if (second !== undefined && second !== first) this.#ask({ owner, contact, path: second }, now)
  }

  #ask(
    request: {
      readonly owner: string
      readonly contact: NodeContact
      readonly path: OnionPath
      readonly pingId?: Uint8Array
    },
    now: number,
  ): void {
    const { owner, contact, path, pingId } = request
    const friend = this.#friends.get(owner)
    if (!this.#rate.take(now)) {
      this.#drops.count('rate limit')
      return
    }
    const sendback = this.#random.bytes(8)
    const nonce = this.#random.bytes(nonceBytes)
    const plain = encodeAnnounceRequestPlain({
      pingId: pingId ?? zeroKey,
      searched: friend?.publicKey ?? this.#options.keyPair.publicKey,
      dataKey: friend === undefined ? this.#dataKeyPair.publicKey : zeroKey,
      sendback,
    })
    const boxed = (friend?.searchBox ?? this.#box).seal(contact.publicKey, nonce, plain)
    if (boxed === undefined) return
    const sender = friend?.searchKey.publicKey ?? this.#options.keyPair.publicKey
    const pool = this.#poolOf(owner)
    const confirming = pingId !== undefined
    this.#pending.add(sendback, { owner, contact, pool, path, sentAt: now, confirming, blamed: false })
    this.#sendOver(pool, path, contact, encodeAnnounceRequest({ nonce, sender, boxed }))
  }

  /** Bytes for a friend, sealed for its eyes, through a node that stores it. */
  #sendData(friend: FriendContact, node: AnnounceNode, data: Uint8Array, now: number): void {
    if (node.dataKey === undefined) return
    const path = this.#friendPaths.choose(node.contact, now)
    const nonce = this.#random.bytes(nonceBytes)
    const inner = this.#box.seal(friend.publicKey, nonce, data)
    const temporary = createKeyPair(this.#random)
    const outerKey = sharedKey(node.dataKey, temporary.secretKey)
    temporary.secretKey.wipe()
    if (path === undefined || inner === undefined || outerKey === undefined) return
    const outer = encodeDataOuterPlain({ sender: this.#options.keyPair.publicKey, boxed: inner })
    const boxed = seal(outerKey, nonce, outer)
    const request = encodeDataRequest({ destination: friend.publicKey, nonce, sender: temporary.publicKey, boxed })
    this.#sendOver(this.#friendPaths, path, node.contact, request)
  }

  #route(friend: FriendContact, dhtKey: DhtPublicKey, packet: Uint8Array): void {
    const nonce = this.#random.bytes(nonceBytes)
    const boxed = this.#box.seal(friend.publicKey, nonce, packet)
    if (boxed === undefined) return
    const plain = encodeRoutedDhtKey({ sender: this.#options.keyPair.publicKey, nonce, boxed })
    this.#effects.push({ kind: 'route', dhtKey, plain })
  }

  #sendOver(pool: PathPool, path: OnionPath, destination: NodeContact, data: Uint8Array): void {
    const bytes = pool.wrap(path, destination.endpoint, data)
    if (bytes === undefined) return
    this.#sent += 1
    this.#effects.push({ kind: 'send', bytes, to: path.hops[0].endpoint })
  }

  #poolOf(owner: string): PathPool {
    return owner === self ? this.#ownPaths : this.#friendPaths
  }

  #receiveData(bytes: Uint8Array, now: number): DropReason | undefined {
    const response = decodeDataResponse(bytes)
    if (response === undefined) return 'malformed'
    const outerPlain = this.#dataBox.open(response.sender, response, now)
    if (outerPlain === undefined) return 'undecryptable'
    const outer = decodeDataOuterPlain(outerPlain)
    if (outer === undefined) return 'malformed'
    const plain = this.#box.open(outer.sender, { nonce: response.nonce, boxed: outer.boxed }, now)
    if (plain === undefined) return 'undecryptable'
    if (plain[0] === dhtKeyPacketId) return this.#receiveDhtKey(outer.sender, plain, { now })
    if (plain[0] === friendRequestId) return this.#receiveFriendRequest(outer.sender, plain)
    return 'unknown data'
  }

  #receiveRouted(sender: DhtPublicKey, payload: Uint8Array, now: number): DropReason | undefined {
    const routed = decodeRoutedDhtKey(payload)
    if (routed === undefined) return 'malformed'
    if (!this.#friends.has(toHex(routed.sender))) return 'not a friend'
    const plain = this.#box.open(routed.sender, routed, now)
    if (plain === undefined) return 'undecryptable'
    return this.#receiveDhtKey(routed.sender, plain, { now, expected: sender })
  }

  #receiveDhtKey(
    sender: LongTermPublicKey,
    plain: Uint8Array,
    context: { readonly now: number; readonly expected?: DhtPublicKey },
  ): DropReason | undefined {
    const packet = decodeDhtKeyPacket(plain)
    if (packet === undefined) return 'malformed'
    const friend = this.#friends.get(toHex(sender))
    if (friend === undefined) return 'not a friend'
    if (context.expected !== undefined && !equalBytes(context.expected, packet.dhtKey)) return 'malformed'
    if (packet.noReplay <= friend.noReplay) return 'replayed'
    friend.noReplay = packet.noReplay
    friend.noteDhtKey(packet.dhtKey, context.now)
    const { dhtKey, nodes } = packet
    this.#effects.push({ kind: 'friend-dht-key', friend: friend.publicKey, dhtKey, nodes })
    return undefined
  }

  #receiveFriendRequest(sender: LongTermPublicKey, plain: Uint8Array): DropReason | undefined {
    const request = decodeFriendRequest(plain)
    if (request === undefined) return 'malformed'
    const name = toHex(sender)
    if (!equalBytes(request.nospam, this.#options.nospam)) return 'wrong nospam'
    if (this.#friends.has(name) || this.#requesters.has(name)) return 'repeated request'
    this.#requesters.add(name)
    if (this.#requesters.size > requestersKept) {
      const oldest = this.#requesters.values().next()
      if (!oldest.done) this.#requesters.delete(oldest.value)
    }
    this.#effects.push({ kind: 'friend-request', from: sender, message: request.message })
    return undefined
  }

  #take(): readonly OnionEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }
}

/**
 * Our own use of the onion (Tox specification, "Onion"): announces the long-term key, finds friends that are announced,
 * exchanges DHT-key packets with them, sends and takes friend requests. A pure machine over UDP; paths through TCP
 * relays are left out.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import { equalBytes, toHex } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import { type DhtPublicKey, type KeyPair, type LongTermPublicKey, nonceBytes } from '../crypto.ts'
import type { DhtNode } from '../dht/dht-node.ts'
import { Drops } from '../drops.ts'
import { isLocal } from '../local-address.ts'
import { isIpv4, type NodeContact, type PackedNode } from '../packed-node.ts'
import { type AnnounceResponsePlain, announceResponseKind } from '../packets/announce.ts'
import {
  decodeDhtKeyPacket,
  decodeRoutedDhtKey,
  dhtKeyPacketId,
  encodeDhtKeyPacket,
  encodeRoutedDhtKey,
} from '../packets/dht-key-packet.ts'
import { decodeFriendRequest, encodeFriendRequest, friendRequestId } from '../packets/friend-request.ts'
import { dataResponseKind } from '../packets/onion-data.ts'
import { PeerBox } from '../peer-box.ts'
import type { Nospam } from '../tox-id.ts'
import type { AnnounceNode } from './announce-list.ts'
import { type AnnounceDropReason, AnnounceRequests, type PendingAnnounce } from './announce-requests.ts'
import { FriendContact } from './friend-contact.ts'
import { OnionMail } from './onion-mail.ts'
import { OwnAnnouncement } from './own-announcement.ts'
import { ownSearcher } from './searcher.ts'

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
  /** Somebody who is no friend asks, with the right nospam. Once per key and message. `message` is 1..1016 bytes. */
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
  readonly dht: Pick<DhtNode, 'randomNodes' | 'closeNodes' | 'connected' | 'overdueAnswers' | 'verify'>
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
  | AnnounceDropReason
  | 'unknown data'
  | 'not a friend'
  | 'replayed'
  | 'wrong nospam'
  | 'repeated request'

const nodesAskedPerRound = 6

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
  /** Boxes of the long-term key pair. */
  readonly #box: PeerBox
  readonly #mail: OnionMail
  readonly #requests: AnnounceRequests
  readonly #own: OwnAnnouncement
  readonly #friends: Map<string, FriendContact> = new Map()
  /** The latest message of each. */
  readonly #requesters: Map<string, Uint8Array> = new Map()
  readonly #drops: Drops<DropReason> = new Drops()
  #firstTick: number | undefined
  /** When to see again whether anybody is there to send to; `undefined` while there is. */
  #lookAt: number | undefined = Number.NEGATIVE_INFINITY
  #lastAnswer = Number.NEGATIVE_INFINITY
  #troubledAt = Number.NEGATIVE_INFINITY
  #noReplay = 0
  #sent = 0
  #effects: OnionEffect[] = []
  #now = Number.NEGATIVE_INFINITY

  constructor(options: OnionClientOptions) {
    const { keyPair, dhtKeyPair, dhtBox, random, dht } = options
    this.#options = options
    this.#random = random
    this.#box = new PeerBox({ secretKey: keyPair.secretKey })
    this.#mail = new OnionMail({ keyPair, box: this.#box, random })
    const send = (bytes: Uint8Array, to: Endpoint): void => {
      this.#sent += 1
      this.#effects.push({ kind: 'send', bytes, to })
    }
    this.#requests = new AnnounceRequests({ dhtBox, dhtKey: dhtKeyPair.publicKey, random, dht, send })
    const { dataKey } = this.#mail
    this.#own = new OwnAnnouncement(ownSearcher(keyPair, { dataKey, box: this.#box, pool: this.#requests.ownPaths }))
  }

  /** Whether datagrams with this first byte are for `receive`: 0x84, 0x86. */
  static handles(kind: number): boolean {
    return kind === announceResponseKind || kind === dataResponseKind
  }

  /** Takes one datagram whose first byte `handles`. Never throws; what is not valid is dropped and counted. */
  receive(bytes: Uint8Array, _from: Endpoint, now: number): readonly OnionEffect[] {
    this.#now = now
    const dropped =
      bytes[0] === dataResponseKind ? this.#receiveMail(bytes, now) : this.#receiveAnnounceResponse(bytes, now)
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
    if (this.#requests.rateSlow(now) && this.#requests.troubled) this.#trouble(now)
    const wasUp = this.#lookAt === undefined
    if (!this.#up(now)) return this.#take()
    if (!wasUp || now >= this.#lastAnswer + silenceLimit) this.#begin(now)
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
    let deadline = Math.min(this.#requests.deadline, this.#lookAt ?? Number.POSITIVE_INFINITY)
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
      paths: this.#requests.ownPaths.size + this.#requests.friendPaths.size,
      pendingRequests: this.#requests.pending,
      sent: this.#sent,
      dropped: { ...this.#drops.counts(), 'rate limit': this.#requests.refused },
    }
  }

  #add(friend: LongTermPublicKey, now: number): FriendContact {
    const name = toHex(friend)
    const known = this.#friends.get(name)
    if (known !== undefined) return known
    const contact = new FriendContact(friend, { pool: this.#requests.friendPaths, random: this.#random })
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

  /** Most requests fail: have the DHT find out who is still there, and check our announcement. */
  #trouble(now: number): void {
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
    for (const node of own.due(now)) this.#requests.askKnown(own.searcher, node, now)
    if (!own.exploreDue(now)) return
    const interval = own.fast(now) ? namedIntervalFast : namedInterval
    for (const contact of this.#options.dht.randomNodes(nodesAskedPerRound, now)) {
      if (own.list.claim(contact, interval, now)) this.#requests.askUnknown(own.searcher, contact, now)
    }
  }

  #lookFor(friend: FriendContact, now: number): void {
    friend.list.prune(now)
    const round = friend.search.due(now)
    for (const node of friend.due(now, round)) this.#requests.askKnown(friend.searcher, node, now)
    if (!friend.exploreDue(now, round)) return
    const interval = friend.search.age(now) < 5000 ? namedIntervalFast : namedInterval
    for (const contact of this.#options.dht.randomNodes(nodesAskedPerRound, now)) {
      if (friend.list.claim(contact, interval, now)) this.#requests.askUnknown(friend.searcher, contact, now)
    }
  }

  #tell(friend: FriendContact, seconds: number, now: number): void {
    const stored = friend.list.stored
    const fresh = friend.takeFresh()
    const told = stored.length > 0 && friend.tell.due(now) ? stored : fresh
    if (told.length > 0) {
      const packet = this.#dhtKeyPacket(seconds, now)
      for (const node of told) this.#sendMail(friend, node, packet, now)
    }
    if (friend.request !== undefined && stored.length > 0) {
      const request = encodeFriendRequest(friend.request)
      const asked = friend.requesting.due(now) ? stored : fresh
      for (const node of asked) this.#sendMail(friend, node, request, now)
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
    const result = this.#requests.receive(bytes, now)
    if (typeof result === 'string') return result
    const { request, answer } = result
    this.#lastAnswer = now
    if (request.searcher === this.#own.searcher) {
      this.#noteOwnAnswer(request, answer, now)
      this.#learn(undefined, request.contact, answer.nodes, now)
      return undefined
    }
    const friend = this.#friends.get(toHex(request.searcher.searched))
    if (friend?.searcher !== request.searcher) return 'unasked answer'
    this.#noteFriendAnswer(friend, request, answer, now)
    this.#learn(friend, request.contact, answer.nodes, now)
    return undefined
  }

  #noteOwnAnswer(request: PendingAnnounce, answer: AnnounceResponsePlain, now: number): void {
    const list = this.#own.list
    const node = list.noteAnswer(request.contact, now)
    if (node === undefined) return
    if (answer.flag === 1) {
      node.storedSince = equalBytes(answer.id, this.#mail.dataKey) ? (node.storedSince ?? now) : undefined
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
    if (!request.confirming) this.#requests.confirm(this.#own.searcher, node, now)
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
      this.#requests.askUnknown(
        (friend ?? this.#own).searcher,
        { publicKey: node.publicKey, endpoint: node.endpoint },
        now,
      )
    }
  }

  /** Bytes for a friend, sealed for its eyes, through a node that stores it. */
  #sendMail(friend: FriendContact, node: AnnounceNode, plain: Uint8Array, now: number): void {
    const data = node.dataKey && this.#mail.seal(friend.publicKey, node.dataKey, plain)
    if (data !== undefined) this.#requests.sendOver(friend.searcher.pool, node.contact, data, now)
  }

  #route(friend: FriendContact, dhtKey: DhtPublicKey, packet: Uint8Array): void {
    const nonce = this.#random.bytes(nonceBytes)
    const boxed = this.#box.seal(friend.publicKey, nonce, packet)
    if (boxed === undefined) return
    const plain = encodeRoutedDhtKey({ sender: this.#options.keyPair.publicKey, nonce, boxed })
    this.#effects.push({ kind: 'route', dhtKey, plain })
  }

  #receiveMail(bytes: Uint8Array, now: number): DropReason | undefined {
    const mail = this.#mail.open(bytes, now)
    if (typeof mail === 'string') return mail
    const { sender, plain } = mail
    if (plain[0] === dhtKeyPacketId) return this.#receiveDhtKey(sender, plain, { now })
    if (plain[0] === friendRequestId) return this.#receiveFriendRequest(sender, plain)
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
    const before = this.#requesters.get(name)
    if (this.#friends.has(name) || (before !== undefined && equalBytes(before, request.message))) {
      return 'repeated request'
    }
    this.#requesters.set(name, request.message)
    if (this.#requesters.size > requestersKept) {
      const oldest = this.#requesters.keys().next()
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

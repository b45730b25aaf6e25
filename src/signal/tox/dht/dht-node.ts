/**
 * A node of the Tox DHT (Tox specification, "DHT"): knows the nodes close to its own key, answers others, and finds the
 * addresses of sought DHT keys. A pure machine over IPv4/UDP. Leaves out hole punching by guessing ports, bootstrap info
 * and the DHT announcements of group chats (0x90..0x98).
 */

import { type Endpoint, formatEndpoint, sameEndpoint } from '../../../api/endpoint.ts'
import { equalBytes, toHex } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import { type DhtPublicKey, type KeyPair, nonceBytes } from '../crypto.ts'
import { Drops } from '../drops.ts'
import { isLocal } from '../local-address.ts'
import { isIpv4, type NodeContact, type PackedNode } from '../packed-node.ts'
import {
  type DhtMessage,
  decodeDhtMessage,
  decodeDhtPacket,
  encodeDhtMessage,
  encodeDhtPacket,
  nodesPerResponse,
} from '../packets/dht-packet.ts'
import {
  decodeDhtRequest,
  decodeNatPing,
  dhtRequestIds,
  dhtRequestKind,
  encodeDhtRequest,
  encodeNatPing,
} from '../packets/dht-request.ts'
import { decodeLanDiscovery, lanDiscoveryKind } from '../packets/lan-discovery.ts'
import type { PeerBox } from '../peer-box.ts'
import { Recent } from '../recent.ts'
import { TokenBucket } from '../token-bucket.ts'
import { Bootstrap, pick } from './bootstrap.ts'
import { closest } from './distance.ts'
import { isGood, noteAsked, overdueAnswers } from './known-node.ts'
import { NodeTable } from './node-table.ts'
import { PendingRequests } from './pending-requests.ts'
import { Presence } from './presence.ts'
import type { Search } from './search.ts'

export type DhtEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint }
  /**
   * The sought node itself answered from `endpoint`: its address is verified. Repeated at every answer, so it may also
   * name another endpoint than before; taking it twice is harmless.
   */
  | { readonly kind: 'found'; readonly dhtKey: DhtPublicKey; readonly endpoint: Endpoint }
  /**
   * A routed DHT request with id 0x9c arrived for us. `payload` is everything after that byte:
   * long-term key (32) || nonce (24) || box. It belongs to `OnionClient.receiveRouted`.
   */
  | { readonly kind: 'routed-dht-key'; readonly sender: DhtPublicKey; readonly payload: Uint8Array }

export interface DhtNodeOptions {
  readonly keyPair: KeyPair<DhtPublicKey>
  /** Boxes of `keyPair`, shared with the other machines that use the same pair. */
  readonly box: PeerBox
  readonly random: Random
}

/** Plain counters; `dropped` by reason. */
export interface DhtStats {
  readonly closeNodes: number
  readonly knownNodes: number
  readonly pendingRequests: number
  readonly searches: number
  readonly sent: number
  readonly dropped: Readonly<Record<string, number>>
}

type DhtAnswer = Extract<DhtMessage, { kind: 'ping-response' | 'nodes-response' }>

type DropReason =
  | 'malformed'
  | 'own key'
  | 'undecryptable'
  | 'unasked answer'
  | 'rate limit'
  | 'not from a local address'
  | 'unknown destination'
  | 'unknown request'
  | 'not sought'

/** A node that is asked although nobody told us to do so again and again is asked once in this time, ms. */
const candidateInterval = 4000

/** The same endpoint of a sought or moved node is asked once in this time, ms. */
const directInterval = 100

const verifyInterval = 5000
const verifiedAtOnce = 64

/** Close nodes told when our address may have changed. */
const shownTo = 32

/**
 * `receive` and `tick` return effects, to be carried out in order. All other inputs only change the state and may move
 * `deadline`: call `tick` when it has come (set the timer again after every call).
 */
export class DhtNode {
  readonly publicKey: DhtPublicKey
  readonly #box: PeerBox
  readonly #random: Random
  readonly #ownName: string
  readonly #table: NodeTable
  readonly #pending: PendingRequests = new PendingRequests()
  readonly #asked: Recent = new Recent({ capacity: 1024 })
  readonly #bootstrap: Bootstrap = new Bootstrap()
  readonly #presence: Presence = new Presence()
  readonly #candidates: TokenBucket = new TokenBucket({ rate: 50, burst: 64 })
  /** Askers nobody knows have a limit of their own, so that a flood of them does not slow a search. */
  readonly #strangers: TokenBucket = new TokenBucket({ rate: 16, burst: 32 })
  readonly #forwards: TokenBucket = new TokenBucket({ rate: 100, burst: 200 })
  readonly #drops: Drops<DropReason> = new Drops()
  #sent = 0
  #effects: DhtEffect[] = []

  constructor(options: DhtNodeOptions) {
    this.publicKey = options.keyPair.publicKey
    this.#ownName = toHex(this.publicKey)
    this.#box = options.box
    this.#random = options.random
    this.#table = new NodeTable(this.publicKey)
  }

  /** Replaces the nodes asked whenever we know nobody. Host names are resolved by the caller, again from time to time. */
  bootstrap(nodes: readonly NodeContact[], now: number): void {
    const usable = nodes.filter((node) => isIpv4(node.endpoint) && !equalBytes(node.publicKey, this.publicKey))
    this.#bootstrap.replace(usable, now)
  }

  /** Takes one datagram whose first byte `handles`. Never throws; what is not valid is dropped and counted. */
  receive(bytes: Uint8Array, from: Endpoint, now: number): readonly DhtEffect[] {
    const dropped = this.#dispatch(bytes, from, now)
    if (dropped !== undefined) this.#drops.count(dropped)
    if (this.#nextDeadline() <= now) this.#work(now)
    return this.#take()
  }

  /** Does what is due. Early calls are harmless. */
  tick(now: number): readonly DhtEffect[] {
    this.#work(now)
    return this.#take()
  }

  /** When `tick` is next needed, ms; `undefined` while there is nothing to do. */
  get deadline(): number | undefined {
    if (this.#effects.length > 0) return Number.NEGATIVE_INFINITY
    const deadline = this.#nextDeadline()
    return deadline === Number.POSITIVE_INFINITY ? undefined : deadline
  }

  /** Whether datagrams with this first byte are for `receive`. */
  static handles(kind: number): boolean {
    return kind <= 0x02 || kind === 0x04 || kind === dhtRequestKind || kind === lanDiscoveryKind
  }

  /** Whether a node of the close list answered in the last 122 s. */
  connected(now: number): boolean {
    return this.#table.closeList.entries().some(({ node }) => isGood(node, now))
  }

  /**
   * Looks for the address of a DHT key until `stopSearch`; `found` tells. `named` are nodes that should know it, such as
   * those in its DHT-key packet (TCP relays among them are ignored), or itself where it says it is. Searching a key again adds to what is known, and
   * asks fast again unless the address is known.
   */
  search(dhtKey: DhtPublicKey, options: { readonly named?: readonly PackedNode[]; readonly now: number }): void {
    const { named = [], now } = options
    if (equalBytes(dhtKey, this.publicKey)) return
    const search = this.#table.searches.get(toHex(dhtKey)) ?? this.#table.addSearch(dhtKey, this.#random, now)
    if (!search.proved(now)) search.askFast(now)
    for (const node of named) {
      if (node.transport !== 'udp') continue
      if (equalBytes(node.publicKey, dhtKey)) search.noteNaming(formatEndpoint(node.endpoint), node.endpoint, now)
      this.#askCandidate(node, { wanted: dhtKey, interval: directInterval, now })
    }
  }

  stopSearch(dhtKey: DhtPublicKey): void {
    this.#table.removeSearch(toHex(dhtKey))
  }

  /** A routed DHT request for a sought key, through every node that named it; `plain` begins with its id. */
  sendRouted(dhtKey: DhtPublicKey, plain: Uint8Array, now: number): readonly DhtEffect[] {
    const search = this.#table.searches.get(toHex(dhtKey))
    if (search !== undefined) this.#route(search, plain, now)
    return this.#take()
  }

  /** The network may have changed: show our close nodes where we are now, and ask for all sought keys again, quickly. */
  nudge(now: number): void {
    this.#presence.start(now)
    for (const search of this.#table.searches.values()) search.askFast(now)
    if (!this.connected(now)) this.#bootstrap.restart(now)
  }

  /** The `count` good nodes closest to our own key, closest first, for our DHT-key packets. */
  closeNodes(count: number, now: number): readonly NodeContact[] {
    return this.#table
      .close(this.#table.closeList.size)
      .filter((node) => isGood(node, now))
      .slice(0, count)
  }

  /** Good nodes from all lists in random order; those that owe an answer only when there are no others. */
  randomNodes(count: number, now: number): readonly NodeContact[] {
    const shuffled = pick(this.#table.good(now), this.#table.size, this.#random)
    const answering = shuffled.filter((node) => overdueAnswers(node, now) === 0)
    return (answering.length > 0 ? answering : shuffled).slice(0, count)
  }

  /** How many requests a node has owed an answer to for a second or longer; 0 for one we do not know. */
  overdueAnswers(publicKey: Uint8Array, now: number): number {
    const node = this.#table.find(toHex(publicKey))
    return node === undefined ? 0 : overdueAnswers(node, now)
  }

  /**
   * Something that needs our nodes does not work: asks all of them now whether they are there, and the configured
   * ones, at most every 5 s.
   */
  verify(now: number): void {
    if (!this.#asked.claim('verify', verifyInterval, now)) return
    this.#bootstrap.restart(now)
    for (const node of pick(this.#table.good(now), verifiedAtOnce, this.#random)) {
      if (now - node.lastAnswer >= 1000) this.#askNodes(node, this.publicKey, now)
    }
  }

  /** The `count` good nodes closest to any key, from all lists, without local ones for an asker that is not local. */
  closestTo(
    key: Uint8Array,
    options: { readonly count: number; readonly asker: Endpoint; readonly now: number },
  ): readonly NodeContact[] {
    const all = this.#table.good(options.now)
    const shown = isLocal(options.asker) ? all : all.filter((node) => !isLocal(node.endpoint))
    return closest(shown, key, options.count)
  }

  stats(): DhtStats {
    return {
      closeNodes: this.#table.closeList.size,
      knownNodes: this.#table.size,
      pendingRequests: this.#pending.size,
      searches: this.#table.searches.size,
      sent: this.#sent,
      dropped: this.#drops.counts(),
    }
  }

  #dispatch(bytes: Uint8Array, from: Endpoint, now: number): DropReason | undefined {
    if (bytes[0] === dhtRequestKind) return this.#receiveRouted(bytes, from, now)
    if (bytes[0] === lanDiscoveryKind) return this.#receiveLanDiscovery(bytes, from, now)
    const packet = decodeDhtPacket(bytes)
    if (packet === undefined) return 'malformed'
    if (equalBytes(packet.sender, this.publicKey)) return 'own key'
    const plain = this.#box.open(packet.sender, packet, now)
    if (plain === undefined) return 'undecryptable'
    const message = decodeDhtMessage(packet.kind, plain)
    if (message === undefined) return 'malformed'
    const sender: NodeContact = { publicKey: packet.sender, endpoint: from }
    if (message.kind === 'ping-response' || message.kind === 'nodes-response') {
      return this.#receiveAnswer(sender, message, now)
    }
    if (message.kind === 'ping-request') this.#send(sender, { kind: 'ping-response', id: message.id })
    else this.#answerNodes(sender, message, now)
    this.#considerAsker(sender, now)
    return undefined
  }

  #answerNodes(asker: NodeContact, request: Extract<DhtMessage, { kind: 'nodes-request' }>, now: number): void {
    const options = { count: nodesPerResponse + 1, asker: asker.endpoint, now }
    const others = this.closestTo(request.wanted, options).filter(
      (node) => !equalBytes(node.publicKey, asker.publicKey),
    )
    const nodes = others.slice(0, nodesPerResponse).map((node) => ({ ...contactOf(node), transport: 'udp' as const }))
    this.#send(asker, { kind: 'nodes-response', id: request.id, nodes })
  }

  /** Somebody who asked is there, but has proved nothing: it is asked in turn when we have a use for it. */
  #considerAsker(asker: NodeContact, now: number): void {
    const name = toHex(asker.publicKey)
    const search = this.#table.searches.get(name)
    if (search !== undefined) {
      if (search.noteNaming(name, asker.endpoint, now)) this.#askDirectly(search, asker.endpoint, now)
      return
    }
    const node = this.#table.find(name)
    if (node === undefined) {
      const limit = { interval: candidateInterval, bucket: this.#strangers }
      if (this.#table.closeList.wants(asker.publicKey, now)) this.#ping(asker, limit, now)
    } else if (!sameEndpoint(node.endpoint, asker.endpoint)) {
      this.#ping(asker, { interval: directInterval, bucket: this.#candidates }, now)
    }
  }

  #receiveAnswer(sender: NodeContact, message: DhtAnswer, now: number): DropReason | undefined {
    const name = toHex(sender.publicKey)
    const kind = message.kind === 'ping-response' ? 'ping' : 'nodes'
    const request = this.#pending.take(message.id, { kind, name, endpoint: sender.endpoint, now })
    if (request === undefined) return 'unasked answer'
    this.#table.noteAnswer(sender, request, now)
    const search = this.#table.searches.get(name)
    if (search?.noteAnswer(sender.endpoint, request.sentAt, now) === true) {
      this.#effects.push({ kind: 'found', dhtKey: search.dhtKey, endpoint: sender.endpoint })
    }
    if (message.kind === 'nodes-response') this.#learn(sender, message.nodes, now)
    return undefined
  }

  /** Nodes named by another: asked when a list could use them; a sought one is asked at once. */
  #learn(by: NodeContact, nodes: readonly PackedNode[], now: number): void {
    for (const node of nodes) {
      const name = toHex(node.publicKey)
      if (name === this.#ownName || !isIpv4(node.endpoint) || node.endpoint.port === 0) continue
      const search = this.#table.searches.get(name)
      if (search?.noteNaming(toHex(by.publicKey), node.endpoint, now) === true) {
        this.#askDirectly(search, node.endpoint, now)
      }
      const list = this.#table.find(name) === undefined ? this.#table.listFor(node.publicKey, now) : undefined
      if (list === undefined) continue
      this.#askCandidate(node, { wanted: list.base, interval: candidateInterval, now })
    }
  }

  #receiveLanDiscovery(bytes: Uint8Array, from: Endpoint, now: number): DropReason | undefined {
    const publicKey = decodeLanDiscovery(bytes)
    if (publicKey === undefined) return 'malformed'
    if (equalBytes(publicKey, this.publicKey)) return 'own key'
    if (!isLocal(from)) return 'not from a local address'
    const contact = { publicKey, endpoint: from }
    this.#askCandidate(contact, { wanted: this.publicKey, interval: candidateInterval, now })
    return undefined
  }

  #receiveRouted(bytes: Uint8Array, from: Endpoint, now: number): DropReason | undefined {
    const request = decodeDhtRequest(bytes)
    if (request === undefined) return 'malformed'
    if (equalBytes(request.sender, this.publicKey)) return 'own key'
    if (!equalBytes(request.destination, this.publicKey)) {
      const node = this.#table.find(toHex(request.destination))
      if (node === undefined) return 'unknown destination'
      if (!this.#forwards.take(now)) return 'rate limit'
      this.#emit(bytes.slice(), node.endpoint)
      return undefined
    }
    const plain = this.#box.open(request.sender, request, now)
    if (plain === undefined) return 'undecryptable'
    if (plain[0] === dhtRequestIds.dhtKey) {
      this.#effects.push({ kind: 'routed-dht-key', sender: request.sender, payload: plain.subarray(1) })
      return undefined
    }
    const natPing = decodeNatPing(plain)
    if (natPing === undefined) return 'unknown request'
    const search = this.#table.searches.get(toHex(request.sender))
    if (search === undefined) return 'not sought'
    if (natPing.response) {
      return equalBytes(natPing.number, search.natPingNumber) ? undefined : 'unasked answer'
    }
    this.#routeThrough([from], search.dhtKey, encodeNatPing({ response: true, number: natPing.number }))
    search.askBecauseSought(now)
    return undefined
  }

  #work(now: number): void {
    this.#table.maintain(this.#random, now)
    this.#pending.prune(now)
    this.#asked.prune(verifyInterval, now)
    this.#bootstrap.update(this.connected(now), now)
    const shown = this.#presence.due(this.#table.close(shownTo), now)
    for (const node of shown.ask) this.#askNodes(node, this.publicKey, now)
    if (shown.bootstrap) this.#bootstrap.restart(now)
    for (const node of this.#bootstrap.due(now, this.#random)) this.#askNodes(node, this.publicKey, now)
    for (const search of this.#table.searches.values()) this.#searchRound(search, now)
    for (const list of this.#table.lists()) {
      for (const entry of list.due(now, this.#random)) {
        entry.lastAsked = now
        this.#askNodes(entry.node, list.base, now)
      }
    }
  }

  #nextDeadline(): number {
    return Math.min(this.#bootstrap.deadline, this.#presence.deadline, this.#table.deadline)
  }

  #searchRound(search: Search, now: number): void {
    const round = search.nextRound(now)
    if (round === undefined) return
    if (search.list.size === 0) this.#table.seed(search.list, now)
    for (const entry of search.list.entries()) {
      if (entry.node.name === search.name) continue
      entry.lastAsked = now
      this.#askNodes(entry.node, search.dhtKey, now)
    }
    for (const endpoint of round.direct) this.#askDirectly(search, endpoint, now)
    if (!round.natPing || search.proved(now)) return
    this.#route(search, encodeNatPing({ response: false, number: search.natPingNumber }), now)
  }

  #askDirectly(search: Search, endpoint: Endpoint, now: number): void {
    const contact = { publicKey: search.dhtKey, endpoint }
    this.#askCandidate(contact, { wanted: search.dhtKey, interval: directInterval, now })
  }

  #askCandidate(
    contact: NodeContact,
    options: { readonly wanted: Uint8Array; readonly interval: number; readonly now: number },
  ): void {
    const { publicKey, endpoint } = contact
    if (equalBytes(publicKey, this.publicKey) || !isIpv4(endpoint) || endpoint.port === 0) return
    const claim = `${toHex(publicKey)}@${formatEndpoint(endpoint)}`
    if (!this.#asked.claim(claim, options.interval, options.now)) return
    if (this.#candidates.take(options.now)) this.#askNodes(contactOf(contact), options.wanted, options.now)
    else this.#drops.count('rate limit')
  }

  #askNodes(contact: NodeContact, wanted: Uint8Array, now: number): void {
    const id = this.#expect('nodes', contact, { wanted, now })
    this.#send(contact, { kind: 'nodes-request', id, wanted })
  }

  #ping(contact: NodeContact, limit: { readonly interval: number; readonly bucket: TokenBucket }, now: number): void {
    const claim = `ping ${toHex(contact.publicKey)}@${formatEndpoint(contact.endpoint)}`
    if (!this.#asked.claim(claim, limit.interval, now)) return
    if (!limit.bucket.take(now)) {
      this.#drops.count('rate limit')
      return
    }
    const id = this.#expect('ping', contact, { wanted: contact.publicKey, now })
    this.#send(contact, { kind: 'ping-request', id })
  }

  #expect(
    kind: 'ping' | 'nodes',
    contact: NodeContact,
    options: { readonly wanted: Uint8Array; readonly now: number },
  ): Uint8Array {
    const { now } = options
    const id = this.#random.bytes(8)
    const name = toHex(contact.publicKey)
    this.#pending.add(id, { kind, name, endpoint: contact.endpoint, sentAt: now, wanted: toHex(options.wanted) })
    const node = this.#table.find(name)
    if (node !== undefined && sameEndpoint(node.endpoint, contact.endpoint)) noteAsked(node, now)
    return id
  }

  /** A routed request through those who named the sought node, or, while nobody did, those closest to it. */
  #route(search: Search, plain: Uint8Array, now: number): void {
    const namers = search.namers(now).map((name) => this.#table.find(name))
    const near = search.list.entries().map((entry) => entry.node)
    const through = namers.filter((node) => node !== undefined && isGood(node, now))
    const chosen = (through.length > 0 ? through : near).slice(0, 8)
    const endpoints = chosen.flatMap((node) => (node === undefined ? [] : [node.endpoint]))
    const direct = search.endpoint(now)
    this.#routeThrough(direct === undefined ? endpoints : [direct, ...endpoints], search.dhtKey, plain)
  }

  #routeThrough(endpoints: readonly Endpoint[], destination: DhtPublicKey, plain: Uint8Array): void {
    const nonce = this.#random.bytes(nonceBytes)
    const boxed = this.#box.seal(destination, nonce, plain)
    if (boxed === undefined) return
    const bytes = encodeDhtRequest({ destination, sender: this.publicKey, nonce, boxed })
    const distinct = new Map(endpoints.map((endpoint) => [formatEndpoint(endpoint), endpoint]))
    for (const endpoint of distinct.values()) this.#emit(bytes, endpoint)
  }

  #send(to: NodeContact, message: DhtMessage): void {
    const { kind, plain } = encodeDhtMessage(message)
    const nonce = this.#random.bytes(nonceBytes)
    const boxed = this.#box.seal(to.publicKey, nonce, plain)
    if (boxed === undefined) return
    this.#emit(encodeDhtPacket({ kind, sender: this.publicKey, nonce, boxed }), to.endpoint)
  }

  #emit(bytes: Uint8Array, to: Endpoint): void {
    this.#sent += 1
    this.#effects.push({ kind: 'send', bytes, to })
  }

  #take(): readonly DhtEffect[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }
}

function contactOf(node: NodeContact): NodeContact {
  return { publicKey: node.publicKey, endpoint: node.endpoint }
}

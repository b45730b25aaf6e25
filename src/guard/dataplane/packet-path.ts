/**
 * The way of a packet as a pure machine: inner packet -> peer -> seal -> datagram, and datagram -> keypair -> open ->
 * replay window -> allowed IPs -> inner packet (whitepaper §3). What comes out goes to the sink during the call, without
 * a list of effects in between: this is the hot path. Each packet is one call; batches are the business of other planes.
 */

import { type Endpoint, sameEndpoint } from '../../api/endpoint.ts'
import { assertNever } from '../../util/assert-never.ts'
import { AllowedIps, type Prefix } from '../wireguard/allowed-ips.ts'
import { QUEUE_LIMIT, REJECT_AFTER_TIME, UNANSWERED_AFTER } from '../wireguard/constants.ts'
import { DropCounter } from '../wireguard/drop-counter.ts'
import { ReplayWindow } from '../wireguard/replay-window.ts'
import type { DataKeypair, DataPlaneCommand, HandedSession, PeerActivity, PeerId } from './data-plane.ts'
import { ownerOfDestination, ownerOfSource, trimPadding } from './inner-packet.ts'
import { decodeCounter, decodeReceiver, MAXIMUM_DATAGRAM, openTransport, sealTransport } from './transport.ts'

/** Where packets go. The bytes are valid during the call only. */
export interface PacketSink {
  datagram(bytes: Uint8Array, to: Endpoint): void
  packet(bytes: Uint8Array): void
}

export type PacketDrop =
  | 'malformed'
  | 'unknown-index'
  | 'expired-key'
  | 'counter-too-large'
  | 'replayed'
  | 'unauthenticated'
  | 'malformed-packet'
  | 'source-not-allowed'
  | 'no-peer'
  | 'too-large'
  | 'queue-full'
  | 'queue-dropped'

export interface Report {
  readonly peer: PeerId
  readonly activity: PeerActivity
}

/** A keypair at work. */
interface Session {
  readonly peer: RoutedPeer
  readonly keypair: DataKeypair
  readonly window: ReplayWindow
  /** Counts installations, so that the younger of two keypairs is known. */
  readonly order: number
  sendCounter: number
}

/** A peer at work; the fields of PeerActivity as they change. */
interface RoutedPeer {
  readonly id: PeerId
  readonly sessions: Map<number, Session>
  readonly queue: Uint8Array[]
  readonly drops: DropCounter<PacketDrop>
  sending: Session | undefined
  confirmed: Session | undefined
  endpoint: Endpoint | undefined
  endpointRevision: number
  lastSentAt: number | undefined
  lastDataSentAt: number | undefined
  lastReceivedAt: number | undefined
  lastDataReceivedAt: number | undefined
  unansweredSince: number | undefined
  unacknowledgedSince: number | undefined
  waitingSince: number | undefined
  sentBytes: number
  receivedBytes: number
}

const emptyPacket = new Uint8Array(0)

export class PacketPath {
  readonly #mtu: number
  readonly #sink: PacketSink
  readonly #peers: Map<PeerId, RoutedPeer> = new Map()
  readonly #sessions: Map<number, Session> = new Map()
  readonly #allowedIps: AllowedIps<RoutedPeer> = new AllowedIps()
  readonly #drops: DropCounter<PacketDrop> = new DropCounter()
  readonly #datagram: Uint8Array = new Uint8Array(MAXIMUM_DATAGRAM)
  readonly #changed: Set<RoutedPeer> = new Set()
  #isUrgent = false
  #installed = 0

  constructor(options: { readonly mtu: number; readonly sink: PacketSink }) {
    this.#mtu = options.mtu
    this.#sink = options.sink
  }

  /** Whether anything changed that `takeReports` has not told yet, and whether it should be told at once. */
  get pending(): 'none' | 'soon' | 'now' {
    if (this.#changed.size === 0) return 'none'
    return this.#isUrgent ? 'now' : 'soon'
  }

  /** How the peers stand that changed since the last call. */
  takeReports(): readonly Report[] {
    const reports = [...this.#changed].map((peer) => ({ peer: peer.id, activity: activityOf(peer) }))
    this.#changed.clear()
    this.#isUrgent = false
    return reports
  }

  /** Whether packets wait for a session. */
  get hasWaiting(): boolean {
    return [...this.#peers.values()].some(({ queue }) => queue.length > 0)
  }

  /** How every peer stands. */
  activities(): readonly Report[] {
    return [...this.#peers.values()].map((peer) => ({ peer: peer.id, activity: activityOf(peer) }))
  }

  /** All sessions, in the order of their installation. They are the caller's now: nothing more is sealed or opened here. */
  handOver(): readonly HandedSession[] {
    const sessions = [...this.#sessions.values()].sort((one, other) => one.order - other.order)
    this.#sessions.clear()
    const handed = sessions.map((session) => ({
      peer: session.peer.id,
      keypair: { ...session.keypair, progress: { send: session.sendCounter, receive: session.window.next } },
      isSending: session.peer.sending === session,
    }))
    for (const peer of this.#peers.values()) {
      peer.sessions.clear()
      peer.sending = undefined
    }
    return handed
  }

  /** What was dropped without a peer to count it at. */
  dropped(): Readonly<Record<string, number>> {
    return this.#drops.counts()
  }

  /** A command for a peer or keypair that is not there any more changes nothing. */
  apply(command: DataPlaneCommand, now: number): void {
    if (command.kind === 'add-peer') {
      this.#addPeer(command)
      return
    }
    const peer = this.#peers.get(command.peer)
    if (peer === undefined) {
      if (command.kind === 'install-keypair') wipeKeypair(command.keypair)
      return
    }
    switch (command.kind) {
      case 'set-allowed-ips':
        this.#setAllowedIps(peer, command.allowedIps)
        break
      case 'remove-peer':
        this.#removePeer(peer)
        break
      case 'set-endpoint':
        peer.endpoint = command.endpoint
        peer.endpointRevision = command.revision
        this.#note(peer)
        this.#flushQueue(peer, now)
        break
      case 'install-keypair':
        this.#install(peer, command.keypair)
        break
      case 'use-keypair':
        peer.sending = peer.sessions.get(command.localIndex)
        if (command.confirm && peer.queue.length === 0) this.#send(peer, emptyPacket, now)
        this.#flushQueue(peer, now)
        break
      case 'remove-keypair':
        this.#removeKeypair(peer, command.localIndex)
        break
      case 'send-keepalive':
        this.#send(peer, emptyPacket, now)
        break
      case 'drop-queue':
        this.#dropQueue(peer)
        break
      default:
        assertNever(command)
    }
  }

  /** A packet from the TUN device. Its bytes are valid during the call only. */
  sendPacket(packet: Uint8Array, now: number): void {
    const peer = ownerOfDestination(packet, this.#allowedIps)
    if (peer === undefined) this.#drops.count('no-peer')
    else if (packet.length > this.#mtu) this.#drop(peer, 'too-large')
    else this.#send(peer, packet, now)
  }

  /** A datagram of type 4. */
  receive(datagram: Uint8Array, from: Endpoint, now: number): void {
    const receiver = decodeReceiver(datagram)
    const session = receiver === undefined ? undefined : this.#sessions.get(receiver)
    if (session === undefined) {
      this.#drops.count(receiver === undefined ? 'malformed' : 'unknown-index')
      return
    }
    const reason = this.#open(session, datagram, { from, now })
    if (reason !== undefined) this.#drop(session.peer, reason)
  }

  /** Wipes every key. */
  clear(): void {
    for (const peer of [...this.#peers.values()]) this.#removePeer(peer)
  }

  /** Why the datagram was dropped; nothing has changed then, unless only the packet inside was wrong. */
  #open(
    session: Session,
    datagram: Uint8Array,
    { from, now }: { readonly from: Endpoint; readonly now: number },
  ): PacketDrop | undefined {
    const { peer, keypair, window } = session
    if (now - keypair.created >= REJECT_AFTER_TIME) return 'expired-key'
    const counter = decodeCounter(datagram)
    if (counter === undefined) return 'counter-too-large'
    if (!window.allows(counter)) return 'replayed'
    const padded = openTransport(datagram, keypair.receiveKey.reveal())
    if (padded === undefined) return 'unauthenticated'

    window.mark(counter)
    this.#heard(session, { from, isData: padded.length > 0, now })
    if (padded.length === 0) return undefined
    const packet = trimPadding(padded)
    if (packet === undefined) return 'malformed-packet'
    if (ownerOfSource(packet, this.#allowedIps) !== peer) return 'source-not-allowed'
    peer.receivedBytes += packet.length
    this.#sink.packet(packet)
    return undefined
  }

  #addPeer({ peer: id, allowedIps }: Extract<DataPlaneCommand, { kind: 'add-peer' }>): void {
    const peer: RoutedPeer = {
      id,
      sessions: new Map(),
      queue: [],
      drops: new DropCounter(),
      sending: undefined,
      confirmed: undefined,
      endpoint: undefined,
      endpointRevision: 0,
      lastSentAt: undefined,
      lastDataSentAt: undefined,
      lastReceivedAt: undefined,
      lastDataReceivedAt: undefined,
      unansweredSince: undefined,
      unacknowledgedSince: undefined,
      waitingSince: undefined,
      sentBytes: 0,
      receivedBytes: 0,
    }
    this.#peers.set(id, peer)
    this.#setAllowedIps(peer, allowedIps)
  }

  #setAllowedIps(peer: RoutedPeer, allowedIps: readonly Prefix[]): void {
    this.#allowedIps.removeOwner(peer)
    for (const prefix of allowedIps) this.#allowedIps.insert(prefix, peer)
  }

  #removePeer(peer: RoutedPeer): void {
    for (const index of [...peer.sessions.keys()]) this.#removeKeypair(peer, index)
    this.#allowedIps.removeOwner(peer)
    this.#peers.delete(peer.id)
    this.#changed.delete(peer)
  }

  #install(peer: RoutedPeer, keypair: DataKeypair): void {
    this.#installed++
    const window = new ReplayWindow()
    window.startAt(keypair.progress?.receive ?? 0)
    const session = { peer, keypair, window, order: this.#installed, sendCounter: keypair.progress?.send ?? 0 }
    peer.sessions.set(keypair.localIndex, session)
    this.#sessions.set(keypair.localIndex, session)
    peer.unansweredSince = undefined
    this.#note(peer)
  }

  #removeKeypair(peer: RoutedPeer, localIndex: number): void {
    const session = peer.sessions.get(localIndex)
    if (session === undefined) return
    peer.sessions.delete(localIndex)
    this.#sessions.delete(localIndex)
    if (peer.sending === session) peer.sending = undefined
    wipeKeypair(session.keypair)
  }

  #send(peer: RoutedPeer, packet: Uint8Array, now: number): void {
    const session = peer.sending
    if (session === undefined || peer.endpoint === undefined || !maySeal(session, now)) {
      this.#wait(peer, packet, now)
      return
    }
    const { sendKey, remoteIndex, rekeyAfterMessages } = session.keypair
    const { sendCounter: counter } = session
    session.sendCounter++
    const key = sendKey.reveal()
    const length = sealTransport(this.#datagram, packet, { key, remoteIndex, counter, mtu: this.#mtu })
    this.#sink.datagram(this.#datagram.subarray(0, length), peer.endpoint)

    peer.lastSentAt = now
    peer.unacknowledgedSince = undefined
    if (packet.length > 0) {
      peer.lastDataSentAt = now
      peer.unansweredSince ??= now
      peer.sentBytes += packet.length
    }
    this.#note(peer, session.sendCounter === rekeyAfterMessages)
  }

  /** Keeps the packet until there is a session. An empty one only asks for it. */
  #wait(peer: RoutedPeer, packet: Uint8Array, now: number): void {
    if (packet.length > 0) {
      if (peer.queue.length >= QUEUE_LIMIT) {
        peer.queue.shift()
        peer.drops.count('queue-full')
      }
      peer.queue.push(Uint8Array.from(packet))
    }
    const isFirst = peer.waitingSince === undefined
    peer.waitingSince ??= now
    this.#note(peer, isFirst)
  }

  #flushQueue(peer: RoutedPeer, now: number): void {
    if (peer.sending === undefined || peer.endpoint === undefined || !maySeal(peer.sending, now)) return
    peer.waitingSince = undefined
    for (const packet of peer.queue.splice(0)) this.#send(peer, packet, now)
  }

  #dropQueue(peer: RoutedPeer): void {
    if (peer.queue.length > 0) peer.drops.count('queue-dropped', peer.queue.length)
    peer.queue.length = 0
    peer.waitingSince = undefined
    this.#note(peer)
  }

  /** An authenticated packet arrived. */
  #heard(
    session: Session,
    { from, isData, now }: { readonly from: Endpoint; readonly isData: boolean; readonly now: number },
  ): void {
    const { peer } = session
    const isAwaited = peer.unansweredSince !== undefined && now - peer.unansweredSince >= UNANSWERED_AFTER / 2
    const isFirst = peer.confirmed === undefined || session.order > peer.confirmed.order
    const hasMoved = peer.endpoint !== undefined && !sameEndpoint(peer.endpoint, from)
    if (isFirst) peer.confirmed = session
    if (hasMoved) peer.endpoint = { address: from.address, port: from.port }
    peer.lastReceivedAt = now
    peer.unansweredSince = undefined
    if (isData) {
      peer.lastDataReceivedAt = now
      peer.unacknowledgedSince ??= now
    }
    this.#note(peer, isAwaited || isFirst || hasMoved)
  }

  #drop(peer: RoutedPeer, reason: PacketDrop): void {
    peer.drops.count(reason)
    this.#note(peer)
  }

  #note(peer: RoutedPeer, isUrgent = false): void {
    this.#changed.add(peer)
    if (isUrgent) this.#isUrgent = true
  }
}

function maySeal({ keypair, sendCounter }: Session, now: number): boolean {
  return now - keypair.created < REJECT_AFTER_TIME && sendCounter < keypair.rejectAfterMessages
}

function wipeKeypair({ sendKey, receiveKey }: DataKeypair): void {
  sendKey.wipe()
  receiveKey.wipe()
}

function activityOf(peer: RoutedPeer): PeerActivity {
  const { sending } = peer
  const isUsedUp = sending !== undefined && sending.sendCounter >= sending.keypair.rekeyAfterMessages
  return {
    lastSentAt: peer.lastSentAt,
    lastDataSentAt: peer.lastDataSentAt,
    lastReceivedAt: peer.lastReceivedAt,
    lastDataReceivedAt: peer.lastDataReceivedAt,
    unansweredSince: peer.unansweredSince,
    unacknowledgedSince: peer.unacknowledgedSince,
    waitingSince: peer.waitingSince,
    confirmed: peer.confirmed?.keypair.localIndex,
    usedUp: isUsedUp ? sending.keypair.localIndex : undefined,
    endpoint: peer.endpoint,
    endpointRevision: peer.endpointRevision,
    sentBytes: peer.sentBytes,
    receivedBytes: peer.receivedBytes,
    dropped: peer.drops.counts(),
  }
}

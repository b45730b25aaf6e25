/**
 * From the TUN to the socket: a read -> the peer of its destination -> packets -> sealed datagrams -> one sendmmsg, in
 * which datagrams of equal size to one peer are one message (UDP_SEGMENT). Each worker has one of these; what they share
 * (a session's counter, the sending half of a peer's row) is used inside the turnstile only, where every packet is read,
 * sealed and sent. Counters are taken before they are used: an error in between loses some, and repeats none.
 */

import { c, errno } from '../../net/ffi.ts'
import { assertNever } from '../../util/assert-never.ts'
import { AllowedIps, type Prefix } from '../wireguard/allowed-ips.ts'
import { QUEUE_LIMIT, REJECT_AFTER_TIME } from '../wireguard/constants.ts'
import type { AeadKey } from './aead/aead.ts'
import type { PeerId } from './data-plane.ts'
import { parts } from './packet-memory.ts'
import { type Destination, SendBatch, sealedEnd } from './send-batch.ts'
import { countDrop, type DropReason, dropsOfPeer, received, sent } from './shared-activity.ts'
import { Slots } from './slots.ts'
import type { Turnstile } from './turnstile.ts'
import { dropUnowned, reportActivity, type Turn, type WorkerContext } from './worker-context.ts'
import type { Ipv4Endpoint, PeerCommand } from './worker-messages.ts'

interface SendingSession {
  readonly localIndex: number
  readonly remoteIndex: number
  readonly keySlot: number
  readonly key: AeadKey
  readonly created: number
  readonly rekeyAfterMessages: number
  readonly rejectAfterMessages: number
  /** The one to send next, shared with the other worker. */
  readonly counter: Float64Array
}

interface SendingPeer extends Destination {
  readonly id: PeerId
  readonly row: Float64Array
  readonly drops: Float64Array
  readonly sessions: Map<number, SendingSession>
  readonly queue: Uint8Array[]
  readonly addressSlot: number
  sending: SendingSession | undefined
  endpoint: Ipv4Endpoint | undefined
  plainUntil: number
}

const headerSize = 10
const largestPacket = 65_535
const readsPerTurn = 32
/** A batch of small packets is sent at this size, though more wait. */
const fullBatch = 64
/** Segments of large packets are sent at this size, if not all were read before: the other end wakes up less often. */
const largeBatch = 200
/** A packet after a pause is sent before the TUN is asked for another, ms. */
const quietTime = 1
const slotSize = 64
// In the transmitter's part of the packet memory, behind what is send-batch.ts's.
const packetAt = sealedEnd + 0x1000
/** Keys and addresses of peers. */
export const slotsAt: number = packetAt + 0x11000
const slotsEnd = parts.transmitter.end

export interface TransmitterOptions {
  readonly socket: number
  readonly turnstile: Turnstile
  /** What a command wants sent, one of both workers sends. */
  readonly leads: boolean
}

export class Transmitter {
  readonly #context: WorkerContext
  readonly #peers: Map<PeerId, SendingPeer> = new Map()
  readonly #allowedIps: AllowedIps<SendingPeer> = new AllowedIps()
  readonly #slots: Slots
  readonly #batch: SendBatch
  readonly #turnstile: Turnstile
  readonly #leads: boolean
  #mtu: number
  #now = 0
  /** The last IPv4 destination and its peer. */
  #lastDestination = -1
  #lastPeer: SendingPeer | undefined

  constructor(context: WorkerContext, { socket, turnstile, leads }: TransmitterOptions) {
    this.#context = context
    this.#turnstile = turnstile
    this.#leads = leads
    this.#batch = new SendBatch(context, socket)
    this.#mtu = context.mtu
    this.#slots = new Slots(context.memory.bytes, { from: slotsAt, end: slotsEnd, size: slotSize })
  }

  get offloads(): readonly string[] {
    return this.#batch.offloads
  }

  /** The interface's MTU has changed. */
  setMtu(mtu: number): void {
    this.#mtu = mtu
  }

  apply(command: PeerCommand): void {
    if (!this.#turnstile.enter()) {
      if (command.kind === 'install-keypair') command.sendKey.fill(0)
      return
    }
    try {
      this.#apply(command)
    } finally {
      this.#turnstile.leave()
    }
  }

  /** Reads and sends what there is, a bounded amount. */
  turn(now: number = this.#context.now()): Turn {
    if (!this.#turnstile.enter()) return 'idle'
    try {
      return this.#turn(now)
    } finally {
      this.#turnstile.leave()
    }
  }

  #apply(command: PeerCommand): void {
    this.#now = this.#context.now()
    if (command.kind === 'add-peer') {
      this.#addPeer(command)
      return
    }
    const peer = this.#peers.get(command.peer)
    if (peer === undefined) {
      if (command.kind === 'install-keypair') command.sendKey.fill(0)
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
        this.#setEndpoint(peer, command.endpoint)
        break
      case 'install-keypair':
        this.#install(peer, command)
        break
      case 'use-keypair':
        peer.sending = peer.sessions.get(command.localIndex)
        if (this.#leads) peer.row[sent.usedUp] = Number.NaN
        if (this.#leads && command.confirm && peer.queue.length === 0) this.#sendEmpty(peer)
        this.#sendQueue(peer)
        break
      case 'remove-keypair':
        this.#removeKeypair(peer, command.localIndex)
        break
      case 'send-keepalive':
        if (this.#leads) this.#sendEmpty(peer)
        break
      case 'drop-queue':
        if (peer.queue.length > 0) countDrop(peer.drops, 'queue-dropped', peer.queue.length)
        peer.queue.length = 0
        peer.row[sent.waitingSince] = Number.NaN
        this.#note(peer)
        break
      default:
        assertNever(command)
    }
    this.#batch.flush()
  }

  #turn(now: number): Turn {
    const { system, memory } = this.#context
    for (let reads = 0; reads < readsPerTurn; reads++) {
      const length = system.read(this.#context.tun, memory.base + packetAt - headerSize, headerSize + largestPacket)
      if (length < 0) {
        const code = system.errno()
        this.#batch.flush()
        if (code === errno.EAGAIN) return 'idle'
        if (code === errno.EINTR) continue
        return code === errno.EIO ? 'down' : 'gone'
      }
      // One moment serves a turn: the clock is a thirtieth of what a small packet costs.
      const isQuiet = now - this.#now >= quietTime
      this.#now = now
      const packets = this.#sendRead(length - headerSize)
      if (packets > 1) {
        if (this.#batch.size >= largeBatch) this.#batch.flushFull()
      } else if (isQuiet) {
        // Mostly it is the only one; `poll` will tell.
        this.#batch.flush()
        return 'idle'
      } else if (this.#batch.size >= fullBatch) this.#batch.flush()
    }
    this.#batch.flush()
    return 'busy'
  }

  /** Wipes every key. */
  clear(): void {
    for (const peer of [...this.#peers.values()]) this.#removePeer(peer)
  }

  #addPeer({ peer: id, allowedIps, row }: Extract<PeerCommand, { kind: 'add-peer' }>): void {
    const addressSlot = this.#slots.take()
    if (addressSlot === undefined) return
    const peer: SendingPeer = {
      id,
      row,
      drops: dropsOfPeer(row, 'sent'),
      sessions: new Map(),
      queue: [],
      addressSlot,
      sending: undefined,
      endpoint: undefined,
      plainUntil: 0,
    }
    this.#peers.set(id, peer)
    this.#setAllowedIps(peer, allowedIps)
  }

  #setAllowedIps(peer: SendingPeer, allowedIps: readonly Prefix[]): void {
    this.#allowedIps.removeOwner(peer)
    for (const prefix of allowedIps) this.#allowedIps.insert(prefix, peer)
    this.#lastDestination = -1
    this.#lastPeer = undefined
  }

  #removePeer(peer: SendingPeer): void {
    for (const index of [...peer.sessions.keys()]) this.#removeKeypair(peer, index)
    this.#allowedIps.removeOwner(peer)
    this.#peers.delete(peer.id)
    this.#slots.release(peer.addressSlot)
    this.#lastDestination = -1
    this.#lastPeer = undefined
  }

  #setEndpoint(peer: SendingPeer, endpoint: Ipv4Endpoint | undefined): void {
    peer.endpoint = endpoint
    peer.plainUntil = 0
    if (endpoint !== undefined) {
      const { view } = this.#context.memory
      view.setUint16(peer.addressSlot, c.AF_INET, true)
      view.setUint16(peer.addressSlot + 2, endpoint.port)
      view.setUint32(peer.addressSlot + 4, endpoint.address)
    }
    this.#note(peer)
    this.#sendQueue(peer)
  }

  #install(peer: SendingPeer, command: Extract<PeerCommand, { kind: 'install-keypair' }>): void {
    const keySlot = this.#slots.take()
    if (keySlot !== undefined) {
      this.#context.memory.bytes.set(command.sendKey, keySlot)
      const { localIndex, remoteIndex, created, rekeyAfterMessages, rejectAfterMessages, counter } = command
      peer.sessions.set(localIndex, {
        localIndex,
        remoteIndex,
        keySlot,
        key: this.#context.backend.createKey(keySlot, 'seal'),
        created,
        rekeyAfterMessages,
        rejectAfterMessages,
        counter,
      })
    }
    command.sendKey.fill(0)
    if (this.#leads) peer.row[sent.firstDataAt] = Number.NaN
    this.#note(peer)
  }

  #removeKeypair(peer: SendingPeer, localIndex: number): void {
    const session = peer.sessions.get(localIndex)
    if (session === undefined) return
    peer.sessions.delete(localIndex)
    if (peer.sending === session) peer.sending = undefined
    session.key[Symbol.dispose]()
    this.#slots.release(session.keySlot)
  }

  /** The packet at `packetAt`, with its header before it. How many packets it was. */
  #sendRead(length: number): number {
    const count = this.#context.memory.kernels.planSegments(packetAt, length, this.#mtu)
    const peer = this.#ownerOfDestination(length)
    if (peer === undefined || count < 0) {
      const reason: DropReason = peer === undefined ? 'no-peer' : count === -2 ? 'too-large' : 'malformed-packet'
      if (peer === undefined) dropUnowned(this.#context, reason)
      else this.#drop(peer, reason)
      return 0
    }
    this.#send(peer, count)
    return count
  }

  #ownerOfDestination(length: number): SendingPeer | undefined {
    const { bytes, words } = this.#context.memory
    const version = (bytes[packetAt] ?? 0) >> 4
    if (version === 4 && length >= 20) {
      const destination = words[(packetAt + 16) >> 2] ?? 0
      if (destination !== this.#lastDestination) {
        this.#lastPeer = this.#allowedIps.lookupIpv4(bytes, packetAt + 16)
        this.#lastDestination = destination
      }
      return this.#lastPeer
    }
    return version === 6 && length >= 40 ? this.#allowedIps.lookupIpv6(bytes, packetAt + 24) : undefined
  }

  /** The packets that `planSegments` found. */
  #send(peer: SendingPeer, count: number): void {
    const { kernels } = this.#context.memory
    const session = peer.sending
    if (session === undefined || !this.#maySeal(peer, session, count)) {
      for (let index = 0; index < count; index++) {
        kernels.writeSegment(index)
        this.#wait(peer, kernels.segmentAddress(index), kernels.segmentLength(index))
      }
      return
    }
    const distance = kernels.segmentAddress(1) - packetAt
    const first = takeCounters(session, count)
    for (let index = 0; index < count; index++) {
      const target = this.#batch.place(this.#mtu)
      const padded = kernels.beginSegment(target, index, first + index)
      session.key.seal(target, packetAt + index * distance, padded)
      kernels.endMessage(target, session.remoteIndex, first + index)
      this.#batch.add(peer, padded)
    }
    this.#noteSent(peer, session, first + count)
    this.#noteData(peer, kernels.plannedLength())
  }

  #sendEmpty(peer: SendingPeer): void {
    const session = peer.sending
    if (session === undefined || !this.#maySeal(peer, session, 1)) {
      this.#noteWaiting(peer)
      return
    }
    const { kernels } = this.#context.memory
    const target = this.#batch.place(0)
    const counter = takeCounters(session, 1)
    kernels.beginMessage(target, packetAt, counter)
    session.key.seal(target, packetAt, 0)
    kernels.endMessage(target, session.remoteIndex, counter)
    this.#batch.add(peer, 0)
    this.#noteSent(peer, session, counter + 1)
  }

  #maySeal(peer: SendingPeer, session: SendingSession, count: number): boolean {
    return (
      peer.endpoint !== undefined &&
      this.#now - session.created < REJECT_AFTER_TIME &&
      nextCounter(session) + count <= session.rejectAfterMessages
    )
  }

  /** Keeps a copy until there is a session. */
  #wait(peer: SendingPeer, address: number, length: number): void {
    if (peer.queue.length >= QUEUE_LIMIT) {
      peer.queue.shift()
      countDrop(peer.drops, 'queue-full')
    }
    peer.queue.push(this.#context.memory.bytes.slice(address, address + length))
    this.#noteWaiting(peer)
  }

  #sendQueue(peer: SendingPeer): void {
    if (peer.sending === undefined || !this.#maySeal(peer, peer.sending, 1)) return
    peer.row[sent.waitingSince] = Number.NaN
    const { bytes } = this.#context.memory
    for (const packet of peer.queue.splice(0)) {
      bytes.fill(0, packetAt - headerSize, packetAt)
      bytes.set(packet, packetAt)
      if (this.#context.memory.kernels.planSegments(packetAt, packet.length, this.#mtu) === 1) this.#send(peer, 1)
      else this.#drop(peer, 'too-large')
    }
    this.#note(peer)
  }

  /** `next` is the counter to send next. */
  #noteSent(peer: SendingPeer, session: SendingSession, next: number): void {
    const { row } = peer
    row[sent.lastAt] = this.#now
    const isUsedUp = next >= session.rekeyAfterMessages && row[sent.usedUp] !== session.localIndex
    if (isUsedUp) row[sent.usedUp] = session.localIndex
    this.#note(peer, isUsedUp)
  }

  #noteData(peer: SendingPeer, bytes: number): void {
    const { row } = peer
    const first = row[sent.firstDataAt] ?? Number.NaN
    row[sent.lastDataAt] = this.#now
    row[sent.bytes] = (row[sent.bytes] ?? 0) + bytes
    if (Number.isNaN(first) || (row[received.lastAt] ?? Number.NaN) >= first) row[sent.firstDataAt] = this.#now
  }

  #noteWaiting(peer: SendingPeer): void {
    const isFirst = Number.isNaN(peer.row[sent.waitingSince] ?? Number.NaN)
    if (isFirst) peer.row[sent.waitingSince] = this.#now
    this.#note(peer, isFirst)
  }

  #drop(peer: SendingPeer, reason: DropReason): void {
    countDrop(peer.drops, reason)
    this.#note(peer)
  }

  #note(peer: SendingPeer, isUrgent = false): void {
    peer.row[sent.version] = (peer.row[sent.version] ?? 0) + 1
    reportActivity(this.#context, isUrgent)
  }
}

function nextCounter({ counter }: SendingSession): number {
  return counter[0] ?? 0
}

/** The first of `count` counters that nobody else gets. */
function takeCounters({ counter }: SendingSession, count: number): number {
  const first = counter[0] ?? 0
  counter[0] = first + count
  return first
}

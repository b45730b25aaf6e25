/**
 * The transmit worker's work: a read from the TUN -> the peer of its destination -> packets -> sealed datagrams -> one
 * sendmmsg, in which datagrams of equal size to one peer are one message (UDP_SEGMENT). It knows the sending half of
 * every session, and keeps packets of peers that have none.
 */

import { c, errno, errnoName } from '../../net/ffi.ts'
import { assertNever } from '../../util/assert-never.ts'
import { AllowedIps, type Prefix } from '../wireguard/allowed-ips.ts'
import { QUEUE_LIMIT, REJECT_AFTER_TIME } from '../wireguard/constants.ts'
import type { AeadKey } from './aead/aead.ts'
import type { PeerId } from './data-plane.ts'
import { HEADROOM, TAILROOM } from './packet-memory.ts'
import { countDrop, type DropReason, dropsOfPeer, received, sent } from './shared-activity.ts'
import { Slots } from './slots.ts'
import {
  dropUnowned,
  messageHeader,
  reportActivity,
  setPointer,
  socketAddressSize,
  type Turn,
  type WorkerContext,
} from './worker-context.ts'
import type { Ipv4Endpoint, PeerCommand } from './worker-messages.ts'

interface SendingSession {
  readonly localIndex: number
  readonly remoteIndex: number
  readonly keySlot: number
  readonly key: AeadKey
  readonly created: number
  readonly rekeyAfterMessages: number
  readonly rejectAfterMessages: number
  counter: number
}

interface SendingPeer {
  readonly id: PeerId
  readonly row: Float64Array
  readonly drops: Float64Array
  readonly sessions: Map<number, SendingSession>
  readonly queue: Uint8Array[]
  /** Its struct sockaddr_in. */
  readonly addressSlot: number
  sending: SendingSession | undefined
  endpoint: Ipv4Endpoint | undefined
  /** Until then datagrams to it go one by one: the path refused a large one. */
  plainUntil: number
}

/** Datagrams of one size to one peer; a shorter one ends it. */
interface Run {
  peer: SendingPeer | undefined
  first: number
  count: number
  size: number
  bytes: number
  isClosed: boolean
}

const headerSize = 10
const largestPacket = 65_535
const readsPerTurn = 32
/** UDP_MAX_SEGMENTS of older systems. */
const segmentsPerRun = 64
const largestRun = 65_507
const maximumRuns = 64
const maximumDatagrams = 256
/** A batch of small packets is sent at this size, though more wait. */
const fullBatch = 64
const overhead = 32
const controlLength = 24
const slotSize = 64
/** After the path refused a large message: ms. */
const plainTime = 10_000
/** A full socket is waited for this long, ms; then the datagram is dropped. */
const sendPatience = 20

// The transmit worker's part of the packet memory.
const messagesAt = 0x20000
const controlsAt = messagesAt + maximumRuns * messageHeader.size
const pollAt = controlsAt + maximumRuns * 32
const packetAt = 0x40000
const sealedAt = 0x60000
const sealedEnd = sealedAt + 0x80000
const slotsAt = sealedEnd
const slotsEnd = 0x1000000

export class Transmitter {
  readonly #context: WorkerContext
  readonly #peers: Map<PeerId, SendingPeer> = new Map()
  readonly #allowedIps: AllowedIps<SendingPeer> = new AllowedIps()
  readonly #slots: Slots
  readonly #runs: readonly Run[]
  readonly #socket: number
  #mtu: number
  #now = 0
  #runCount = 0
  #datagrams = 0
  #sealedAt = sealedAt
  #canSegment: boolean
  /** The last IPv4 destination and its peer. */
  #lastDestination = -1
  #lastPeer: SendingPeer | undefined

  constructor(context: WorkerContext, socket: number) {
    this.#context = context
    this.#socket = socket
    this.#mtu = context.mtu
    const { bytes, view, base } = context.memory
    this.#slots = new Slots(bytes, { from: slotsAt, end: slotsEnd, size: slotSize })
    this.#runs = Array.from({ length: maximumRuns }, () => ({
      peer: undefined,
      first: 0,
      count: 0,
      size: 0,
      bytes: 0,
      isClosed: true,
    }))
    for (let index = 0; index < maximumRuns; index++) {
      // struct cmsghdr with the segment size: level, type, and later the size itself.
      const cmsg = controlsAt + index * 32
      view.setUint32(cmsg, 18, true)
      view.setUint32(cmsg + 8, c.SOL_UDP, true)
      view.setUint32(cmsg + 12, c.UDP_SEGMENT, true)
      const header = messagesAt + index * messageHeader.size
      view.setUint32(header + messageHeader.nameLength, socketAddressSize, true)
      setPointer(view, header + messageHeader.control, base + cmsg)
    }
    view.setInt32(pollAt, socket, true)
    view.setInt16(pollAt + 4, c.POLLOUT, true)
    // Setting it to 0 is no change, and fails where there is no such option.
    view.setUint32(packetAt, 0)
    this.#canSegment = context.system.setsockopt(socket, c.SOL_UDP, c.UDP_SEGMENT, base + packetAt, 4) === 0
  }

  get offloads(): readonly string[] {
    return this.#canSegment ? ['udp-segment'] : []
  }

  /** When something was read last. */
  get now(): number {
    return this.#now
  }

  /** The interface's MTU has changed. */
  setMtu(mtu: number): void {
    this.#mtu = mtu
  }

  apply(command: PeerCommand): void {
    this.#now = this.#context.now()
    if (command.kind === 'add-peer') {
      this.#addPeer(command)
      return
    }
    const peer = this.#peers.get(command.peer)
    if (peer === undefined) {
      if (command.kind === 'install-keypair') command.key.fill(0)
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
        peer.row[sent.usedUp] = Number.NaN
        if (command.confirm && peer.queue.length === 0) this.#sendEmpty(peer)
        this.#sendQueue(peer)
        break
      case 'remove-keypair':
        this.#removeKeypair(peer, command.localIndex)
        break
      case 'send-keepalive':
        this.#sendEmpty(peer)
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
    this.#flush()
  }

  /** Reads and sends what there is, a bounded amount. */
  turn(): Turn {
    const { system, memory, now } = this.#context
    for (let reads = 0; reads < readsPerTurn; reads++) {
      const length = system.read(this.#context.tun, memory.base + packetAt - headerSize, headerSize + largestPacket)
      if (length < 0) {
        const code = system.errno()
        this.#flush()
        if (code === errno.EAGAIN) return 'idle'
        if (code === errno.EINTR) continue
        return code === errno.EIO ? 'down' : 'gone'
      }
      this.#now = now()
      const packets = this.#sendRead(length - headerSize)
      if (packets > 1 || this.#datagrams >= fullBatch) this.#flush()
    }
    this.#flush()
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
      this.#context.memory.bytes.set(command.key, keySlot)
      const { localIndex, remoteIndex, created, rekeyAfterMessages, rejectAfterMessages } = command
      peer.sessions.set(localIndex, {
        localIndex,
        remoteIndex,
        keySlot,
        key: this.#context.backend.createKey(keySlot, 'seal'),
        created,
        rekeyAfterMessages,
        rejectAfterMessages,
        counter: 0,
      })
    }
    command.key.fill(0)
    peer.row[sent.firstDataAt] = Number.NaN
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
    let bytes = 0
    for (let index = 0; index < count; index++) {
      const padded = kernels.writeSegment(index)
      this.#seal(peer, session, kernels.segmentAddress(index), padded)
      bytes += kernels.segmentLength(index)
    }
    this.#noteSent(peer, session, count)
    this.#noteData(peer, bytes)
  }

  #sendEmpty(peer: SendingPeer): void {
    const session = peer.sending
    if (session === undefined || !this.#maySeal(peer, session, 1)) {
      this.#noteWaiting(peer)
      return
    }
    this.#seal(peer, session, packetAt, 0)
    this.#noteSent(peer, session, 1)
  }

  #maySeal(peer: SendingPeer, session: SendingSession, count: number): boolean {
    return (
      peer.endpoint !== undefined &&
      this.#now - session.created < REJECT_AFTER_TIME &&
      session.counter + count <= session.rejectAfterMessages
    )
  }

  #seal(peer: SendingPeer, session: SendingSession, source: number, length: number): void {
    if (this.#datagrams >= maximumDatagrams || this.#sealedAt + HEADROOM + length + TAILROOM > sealedEnd) this.#flush()
    const { kernels } = this.#context.memory
    const target = this.#sealedAt + HEADROOM
    const { counter } = session
    session.counter = counter + 1
    kernels.beginMessage(source, counter)
    session.key.seal(target, source, length)
    this.#addToRun(peer, length + overhead)
    kernels.endMessage(target, length, session.remoteIndex, counter, this.#datagrams)
    this.#datagrams++
    this.#sealedAt = (target + length + TAILROOM + 63) & ~63
  }

  #addToRun(peer: SendingPeer, size: number): void {
    const last = this.#runCount === 0 ? undefined : this.#runs[this.#runCount - 1]
    if (
      last !== undefined &&
      last.peer === peer &&
      !last.isClosed &&
      size <= last.size &&
      last.count < segmentsPerRun &&
      last.bytes + size <= largestRun
    ) {
      last.count++
      last.bytes += size
      last.isClosed = size < last.size
      return
    }
    if (this.#runCount === maximumRuns) this.#flush()
    const run = this.#runs[this.#runCount]
    if (run === undefined) return
    this.#runCount++
    run.peer = peer
    run.first = this.#datagrams
    run.count = 1
    run.size = size
    run.bytes = size
    run.isClosed = !this.#canSegment || this.#now < peer.plainUntil
  }

  #flush(): void {
    if (this.#runCount === 0) return
    for (let index = 0; index < this.#runCount; index++) {
      const run = this.#runs[index]
      if (run?.peer === undefined) continue
      this.#writeHeader(index, run.peer, { first: run.first, count: run.count, size: run.size })
    }
    const count = this.#runCount
    for (let from = 0; from < count; ) from += this.#sendMessages(from, count - from)
    this.#runCount = 0
    this.#datagrams = 0
    this.#sealedAt = sealedAt
  }

  #writeHeader(
    index: number,
    peer: SendingPeer,
    { first, count, size }: { readonly first: number; readonly count: number; readonly size: number },
  ): void {
    const { view, base, layout } = this.#context.memory
    const header = messagesAt + index * messageHeader.size
    setPointer(view, header + messageHeader.name, base + peer.addressSlot)
    setPointer(view, header + messageHeader.vectors, base + layout.vectors + first * 16)
    view.setUint32(header + messageHeader.vectorCount, count, true)
    view.setUint32(header + messageHeader.controlLength, count > 1 ? controlLength : 0, true)
    if (count > 1) view.setUint16(controlsAt + index * 32 + 16, size, true)
  }

  /** How many messages from `from` on are dealt with, at least one. */
  #sendMessages(from: number, count: number): number {
    const { system, memory } = this.#context
    const done = system.sendmmsg(this.#socket, memory.base + messagesAt + from * messageHeader.size, count, 0)
    if (done > 0) return done
    const code = system.errno()
    if (code === errno.EINTR) return 0
    const run = this.#runs[from]
    if (code === errno.EAGAIN && this.#waitUntilWritable()) return 0
    if (run?.peer === undefined) return 1
    const isRefused = code === errno.EIO || code === errno.EINVAL || code === errno.EMSGSIZE
    if (run.count > 1 && isRefused) this.#sendOneByOne(from, code)
    else countDrop(run.peer.drops, 'send-failed', run.count)
    return 1
  }

  /** A card without checksums (EIO) will never do it; a path with a smaller MTU may change. */
  #sendOneByOne(index: number, code: number): void {
    const run = this.#runs[index]
    if (run?.peer === undefined) return
    if (code === errno.EIO) {
      this.#canSegment = false
      this.#context.post({ kind: 'fell-back', what: 'udp-segment', reason: errnoName(code) })
    } else run.peer.plainUntil = this.#now + plainTime
    const { system, memory } = this.#context
    for (let at = 0; at < run.count; at++) {
      this.#writeHeader(index, run.peer, { first: run.first + at, count: 1, size: 0 })
      const header = memory.base + messagesAt + index * messageHeader.size
      if (system.sendmmsg(this.#socket, header, 1, 0) !== 1) countDrop(run.peer.drops, 'send-failed')
    }
  }

  #waitUntilWritable(): boolean {
    const { system, memory } = this.#context
    return system.poll(memory.base + pollAt, 1, sendPatience) === 1
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

  #noteSent(peer: SendingPeer, session: SendingSession, count: number): void {
    peer.row[sent.lastAt] = this.#now
    const isUsedUp = session.counter >= session.rekeyAfterMessages
    const wasUsedUp = session.counter - count >= session.rekeyAfterMessages
    if (isUsedUp) peer.row[sent.usedUp] = session.localIndex
    this.#note(peer, isUsedUp && !wasUsedUp)
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

/**
 * From the socket to the TUN: one recvmmsg -> datagrams, those of one sender in one piece (UDP_GRO) -> sessions -> opened
 * packets -> allowed IPs -> one writev for the packets of one flow. It knows the receiving half of every session. What is
 * no transport message goes to the main thread as it is.
 */

import { c, errno, errnoName } from '../../net/ffi.ts'
import { assertNever } from '../../util/assert-never.ts'
import { AllowedIps, type Prefix } from '../wireguard/allowed-ips.ts'
import { REJECT_AFTER_TIME, UNANSWERED_AFTER } from '../wireguard/constants.ts'
import type { AeadKey } from './aead/aead.ts'
import type { PeerId } from './data-plane.ts'
import { type DatagramRing, LARGEST_PASSED } from './datagram-ring.ts'
import { HEADROOM, parts } from './packet-memory.ts'
import { countDrop, type DropReason, dropsOfPeer, received, sent } from './shared-activity.ts'
import { Slots } from './slots.ts'
import { TokenBucket } from './token-bucket.ts'
import {
  dropUnowned,
  messageHeader,
  pointerAt,
  reportActivity,
  setPointer,
  type Turn,
  vectorSize,
  type WorkerContext,
} from './worker-context.ts'
import type { Ipv4Endpoint, PeerCommand } from './worker-messages.ts'

interface ReceivingSession {
  readonly peer: ReceivingPeer
  readonly localIndex: number
  readonly order: number
  readonly created: number
  /** The key's slot, with the replay window in it. */
  readonly slot: number
  readonly window: number
  readonly key: AeadKey
}

interface ReceivingPeer {
  readonly id: PeerId
  readonly row: Float64Array
  readonly drops: Float64Array
  readonly sessions: Map<number, ReceivingSession>
  /** For handshake messages. */
  readonly tokens: TokenBucket
  endpoint: Ipv4Endpoint | undefined
  revision: number
  confirmedOrder: number
  /** The last IPv4 source that was found to be this peer's. */
  lastSource: number
}

const buffers = 8
const largestDatagram = 65_535
const minimumSize = 32
const headerSize = 16
const tagSize = 16
const controlRoom = 64
const groControlLength = 20
const nameRoom = 32
/**
 * Packets for the TUN that are written in one go, each of up to 64 KiB: it wakes who waits for them once, not three times. With
 * more of them the sender of one stream waits longer for acknowledgements than is saved.
 */
const mostGroups = 3
/** Key, then replay window (replay.as.ts). */
const slotSize = 1152
const windowInSlot = 64
/**
 * Handshake messages a second, and at once, that the main thread is asked to look at: each costs it some 80 microseconds. A
 * flood beyond is dropped here. What comes from where a peer is has a share of its own, so that sessions are renewed
 * under a flood from elsewhere.
 */
const strangersRate = { rate: 1_000, burst: 400 } as const
const peerRate = { rate: 20, burst: 20 } as const

// In the receiver's part of the packet memory.
const messagesAt = parts.receiver.from
const namesAt = messagesAt + buffers * messageHeader.size
const controlsAt = namesAt + buffers * nameRoom
const vectorsAt = controlsAt + buffers * controlRoom
const buffersAt = 0x40000
const bufferSize = 0x10200
const openedAt = 0x100000
const openedEnd = openedAt + 0x70000
/** Keys and replay windows. */
export const slotsAt: number = openedEnd
const slotsEnd = parts.receiver.end

export class Receiver {
  readonly #context: WorkerContext
  readonly #ring: DatagramRing
  readonly #socket: number
  readonly #peers: Map<PeerId, ReceivingPeer> = new Map()
  readonly #sessions: Map<number, ReceivingSession> = new Map()
  readonly #allowedIps: AllowedIps<ReceivingPeer> = new AllowedIps()
  readonly #slots: Slots
  readonly #offloads: readonly string[]
  #mayMergeUdp: boolean
  #mayMerge = true
  #installed = 0
  #now = 0
  #openedAt = openedAt
  readonly #strangersTokens: TokenBucket = new TokenBucket(strangersRate)
  #lastSession: ReceivingSession | undefined
  /** Of the message at hand: the session that was heard last, and what its peer is not told yet. */
  #heard: ReceivingSession | undefined
  #heardData = false
  #heardBytes = 0
  /** Of the groups that are not written yet: how many packets each has. */
  readonly #groups: Int32Array = new Int32Array(mostGroups)
  #groupCount = 0

  constructor(
    context: WorkerContext,
    options: { readonly socket: number; readonly ring: DatagramRing; readonly mayMergeUdp: boolean },
  ) {
    this.#context = context
    this.#ring = options.ring
    this.#socket = options.socket
    this.#mayMergeUdp = options.mayMergeUdp
    const { bytes, view, base, kernels } = context.memory
    this.#slots = new Slots(bytes, { from: slotsAt, end: slotsEnd, size: slotSize })
    kernels.allowCoalescing(true, options.mayMergeUdp)
    for (let index = 0; index < buffers; index++) {
      const header = messagesAt + index * messageHeader.size
      const vector = vectorsAt + index * vectorSize
      setPointer(view, vector, base + bufferAt(index))
      view.setUint32(vector + 8, largestDatagram, true)
      setPointer(view, header + messageHeader.name, base + namesAt + index * nameRoom)
      setPointer(view, header + messageHeader.vectors, base + vector)
      view.setUint32(header + messageHeader.vectorCount, 1, true)
      setPointer(view, header + messageHeader.control, base + controlsAt + index * controlRoom)
    }
    view.setInt32(openedAt, 1, true)
    const canMerge = context.system.setsockopt(this.#socket, c.SOL_UDP, c.UDP_GRO, base + openedAt, 4) === 0
    this.#offloads = canMerge ? ['udp-gro'] : []
  }

  get offloads(): readonly string[] {
    return this.#offloads
  }

  apply(command: PeerCommand): void {
    this.#now = this.#context.now()
    if (command.kind === 'add-peer') {
      this.#addPeer(command)
      return
    }
    const peer = this.#peers.get(command.peer)
    if (peer === undefined) {
      if (command.kind === 'install-keypair') command.receiveKey?.fill(0)
      return
    }
    switch (command.kind) {
      case 'set-allowed-ips':
        this.#setAllowedIps(peer, command.allowedIps)
        break
      case 'remove-peer':
        for (const index of [...peer.sessions.keys()]) this.#removeKeypair(peer, index)
        this.#allowedIps.removeOwner(peer)
        this.#peers.delete(peer.id)
        this.#forgetSources()
        break
      case 'set-endpoint':
        peer.endpoint = command.endpoint
        peer.revision = command.revision
        break
      case 'install-keypair':
        this.#install(peer, command)
        break
      case 'remove-keypair':
        this.#removeKeypair(peer, command.localIndex)
        break
      case 'use-keypair':
      case 'send-keepalive':
      case 'drop-queue':
        // The transmitter's.
        break
      default:
        assertNever(command)
    }
  }

  /** Receives and writes what fits into its buffers. `idle`: those were all, and `poll` will tell of more. */
  turn(now: number = this.#context.now()): Turn {
    const { system, memory } = this.#context
    for (let index = 0; index < buffers; index++) {
      const header = messagesAt + index * messageHeader.size
      memory.words[(header + messageHeader.nameLength) >> 2] = nameRoom
      memory.words[(header + messageHeader.controlLength) >> 2] = controlRoom
    }
    const ready = system.recvmmsg(this.#socket, memory.base + messagesAt, buffers, c.MSG_DONTWAIT, 0)
    if (ready < 0) {
      const code = system.errno()
      return code === errno.EAGAIN || code === errno.EINTR ? 'idle' : 'down'
    }
    this.#now = now
    for (let index = 0; index < ready; index++) this.#receiveMessage(index)
    this.#writeAll()
    return ready < buffers ? 'idle' : 'busy'
  }

  /** Wipes every key. */
  clear(): void {
    for (const peer of this.#peers.values())
      for (const index of [...peer.sessions.keys()]) this.#removeKeypair(peer, index)
    this.#peers.clear()
  }

  #addPeer({ peer: id, allowedIps, row }: Extract<PeerCommand, { kind: 'add-peer' }>): void {
    const peer: ReceivingPeer = {
      id,
      row,
      drops: dropsOfPeer(row, 'received'),
      sessions: new Map(),
      tokens: new TokenBucket(peerRate),
      endpoint: undefined,
      revision: 0,
      confirmedOrder: 0,
      lastSource: -1,
    }
    this.#peers.set(id, peer)
    this.#setAllowedIps(peer, allowedIps)
  }

  #setAllowedIps(peer: ReceivingPeer, allowedIps: readonly Prefix[]): void {
    this.#allowedIps.removeOwner(peer)
    for (const prefix of allowedIps) this.#allowedIps.insert(prefix, peer)
    this.#forgetSources()
  }

  #install(peer: ReceivingPeer, command: Extract<PeerCommand, { kind: 'install-keypair' }>): void {
    const { receiveKey } = command
    const slot = receiveKey === undefined ? undefined : this.#slots.take()
    if (receiveKey !== undefined && slot !== undefined) {
      this.#installed++
      this.#context.memory.bytes.set(receiveKey, slot)
      this.#context.memory.kernels.startWindow(slot + windowInSlot, command.receivedBelow)
      const session: ReceivingSession = {
        peer,
        localIndex: command.localIndex,
        order: this.#installed,
        created: command.created,
        slot,
        window: slot + windowInSlot,
        key: this.#context.backend.createKey(slot, 'open'),
      }
      peer.sessions.set(command.localIndex, session)
      this.#sessions.set(command.localIndex, session)
    }
    receiveKey?.fill(0)
  }

  #removeKeypair(peer: ReceivingPeer, localIndex: number): void {
    const session = peer.sessions.get(localIndex)
    if (session === undefined) return
    peer.sessions.delete(localIndex)
    this.#sessions.delete(localIndex)
    this.#lastSession = undefined
    session.key[Symbol.dispose]()
    this.#slots.release(session.slot)
  }

  #forgetSources(): void {
    for (const peer of this.#peers.values()) peer.lastSource = -1
  }

  /** One message: one datagram, or several of one sender and one size, of which the last may be shorter. */
  #receiveMessage(index: number): void {
    const { words, kernels } = this.#context.memory
    const header = messagesAt + index * messageHeader.size
    const total = words[(header + messageHeader.received) >> 2] ?? 0
    const size = this.#segmentSize(index, header) || total
    const from = bufferAt(index)
    for (let at = 0; at < total; at += size) {
      const length = Math.min(size, total - at)
      if (kernels.isTransport(from + at, length) !== 0) this.#receiveTransport(from + at, length, index)
      else this.#pass(from + at, length, index)
    }
    this.#tellHeard(index)
  }

  #segmentSize(index: number, header: number): number {
    const { words } = this.#context.memory
    if ((words[(header + messageHeader.controlLength) >> 2] ?? 0) < groControlLength) return 0
    const cmsg = (controlsAt + index * controlRoom) >> 2
    const isGro = words[cmsg + 2] === c.SOL_UDP && words[cmsg + 3] === c.UDP_GRO
    return isGro ? (words[cmsg + 4] ?? 0) : 0
  }

  #receiveTransport(datagram: number, length: number, index: number): void {
    if (length < minimumSize) {
      dropUnowned(this.#context, 'malformed')
      return
    }
    const session = this.#sessionOf(this.#context.memory.kernels.receiverOf(datagram) >>> 0)
    if (session === undefined) {
      dropUnowned(this.#context, 'unknown-index')
      return
    }
    const reason = this.#open(session, datagram, { length: length - headerSize - tagSize, index })
    if (reason === undefined) return
    countDrop(session.peer.drops, reason)
    this.#note(session.peer, false)
  }

  #sessionOf(receiver: number): ReceivingSession | undefined {
    if (this.#lastSession?.localIndex !== receiver) this.#lastSession = this.#sessions.get(receiver)
    return this.#lastSession
  }

  /** Why the datagram was dropped. */
  #open(
    session: ReceivingSession,
    datagram: number,
    { length, index }: { readonly length: number; readonly index: number },
  ): DropReason | undefined {
    const { kernels } = this.#context.memory
    if (this.#now - session.created >= REJECT_AFTER_TIME) return 'expired-key'
    const refused = kernels.beginOpen(datagram, session.window)
    if (refused !== 0) return refused === 1 ? 'counter-too-large' : 'replayed'
    if (this.#openedAt + HEADROOM + length + 64 > openedEnd) this.#writeAll()
    const target = this.#openedAt + HEADROOM
    if (!session.key.open(target, datagram + headerSize, length)) return 'unauthenticated'

    const packet = kernels.acceptMessage(session.window, target, length)
    const { peer } = session
    if (this.#heard !== session) {
      this.#tellHeard(index)
      this.#heard = session
    }
    if (length === 0) return undefined
    this.#heardData = true
    if (packet < 0) return 'malformed-packet'
    if (!this.#isFrom(peer, target)) return 'source-not-allowed'
    this.#heardBytes += packet
    if (kernels.joinGroup(target, packet) === 0) {
      this.#endGroup()
      kernels.startGroup()
    }
    this.#openedAt = (target + length + 127) & ~63
    return undefined
  }

  #isFrom(peer: ReceivingPeer, packet: number): boolean {
    const { bytes, words } = this.#context.memory
    if ((bytes[packet] ?? 0) >> 4 === 6) return this.#allowedIps.lookupIpv6(bytes, packet + 8) === peer
    const source = words[(packet + 12) >> 2] ?? 0
    if (source === peer.lastSource) return true
    if (this.#allowedIps.lookupIpv4(bytes, packet + 12) !== peer) return false
    peer.lastSource = source
    return true
  }

  /** Authenticated packets arrived, all of one session since the last call. */
  #tellHeard(index: number): void {
    const session = this.#heard
    if (session === undefined) return
    const { peer } = session
    const { row } = peer
    const now = this.#now
    const firstSent = row[sent.firstDataAt] ?? Number.NaN
    const before = row[received.lastAt] ?? Number.NaN
    const isAwaited = !(before >= firstSent) && now - firstSent >= UNANSWERED_AFTER / 2
    const isFirst = session.order > peer.confirmedOrder
    if (isFirst) {
      peer.confirmedOrder = session.order
      row[received.confirmed] = session.localIndex
    }
    row[received.lastAt] = now
    if (this.#heardData) {
      row[received.lastDataAt] = now
      row[received.bytes] = (row[received.bytes] ?? 0) + this.#heardBytes
      const first = row[received.firstDataAt] ?? Number.NaN
      if (Number.isNaN(first) || (row[sent.lastAt] ?? Number.NaN) >= first) row[received.firstDataAt] = now
    }
    this.#heard = undefined
    this.#heardData = false
    this.#heardBytes = 0
    this.#follow(peer, index)
    this.#note(peer, isAwaited || isFirst)
  }

  /** Roaming: the main thread decides, and tells both workers. */
  #follow(peer: ReceivingPeer, index: number): void {
    const known = peer.endpoint
    if (known === undefined) return
    const { view } = this.#context.memory
    const name = namesAt + index * nameRoom
    const port = view.getUint16(name + 2)
    const address = view.getUint32(name + 4)
    if (known.port === port && known.address === address) return
    peer.endpoint = { address, port }
    this.#context.post({ kind: 'moved', peer: peer.id, endpoint: peer.endpoint, revision: peer.revision })
  }

  #endGroup(): void {
    const { kernels } = this.#context.memory
    const packets = kernels.finishGroup()
    if (packets === 0) return
    this.#groups[this.#groupCount] = packets
    this.#groupCount++
    if (this.#groupCount === mostGroups || kernels.isStream() === 0) this.#writeGroups()
  }

  #writeAll(): void {
    this.#endGroup()
    this.#writeGroups()
  }

  #writeGroups(): void {
    const { system, memory, tun } = this.#context
    let vector = memory.layout.vectors
    for (let index = 0; index < this.#groupCount; index++) {
      const packets = this.#groups[index] ?? 0
      if (system.writev(tun, memory.base + vector, packets) < 0) this.#refused(vector, packets)
      vector += packets * vectorSize
    }
    this.#groupCount = 0
    this.#openedAt = openedAt
    memory.kernels.forgetGroups()
  }

  #refused(vector: number, packets: number): void {
    const { system, memory } = this.#context
    const code = system.errno()
    if (code === errno.EIO) dropUnowned(this.#context, 'interface-down', packets)
    else if (code === errno.EAGAIN || code === errno.ENOBUFS) dropUnowned(this.#context, 'interface-full', packets)
    else {
      dropUnowned(this.#context, 'interface-refused', packets)
      const header = pointerAt(memory.view, vector) - memory.base
      if (packets > 1 && code === errno.EINVAL) this.#mergeLess(memory.view.getUint8(header + 1), code)
    }
  }

  /** The system takes no such packet: without merging UDP, then without any. */
  #mergeLess(kind: number, code: number): void {
    // Others like it may have waited behind it.
    if (!(kind === 5 ? this.#mayMergeUdp : this.#mayMerge)) return
    if (kind === 5) this.#mayMergeUdp = false
    else this.#mayMerge = false
    this.#context.memory.kernels.allowCoalescing(this.#mayMerge, this.#mayMergeUdp)
    this.#context.post({ kind: 'fell-back', what: kind === 5 ? 'uso' : 'tso', reason: errnoName(code) })
  }

  /** Not ours: STUN, handshakes, DHT. */
  #pass(datagram: number, length: number, index: number): void {
    const { bytes, view } = this.#context.memory
    const type = bytes[datagram] ?? 0
    const isHandshake = type >= 1 && type <= 3 && length >= 4 && (view.getUint32(datagram, true) & ~3) === 0
    const name = namesAt + index * nameRoom
    const from = { port: view.getUint16(name + 2), address: view.getUint32(name + 4) }
    if (isHandshake && !this.#strangersTokens.take(this.#now) && !this.#peerAt(from)?.tokens.take(this.#now)) {
      dropUnowned(this.#context, 'handshake-flood')
      return
    }
    if (length > LARGEST_PASSED) dropUnowned(this.#context, 'malformed')
    else if (!this.#ring.push(bytes.subarray(datagram, datagram + length), from))
      dropUnowned(this.#context, 'main-busy')
    else if (this.#ring.mustTell()) this.#context.post({ kind: 'datagrams' })
  }

  #peerAt({ address, port }: Ipv4Endpoint): ReceivingPeer | undefined {
    for (const peer of this.#peers.values())
      if (peer.endpoint?.port === port && peer.endpoint.address === address) return peer
    return undefined
  }

  #note(peer: ReceivingPeer, isUrgent: boolean): void {
    peer.row[received.version] = (peer.row[received.version] ?? 0) + 1
    reportActivity(this.#context, isUrgent)
  }
}

function bufferAt(index: number): number {
  return buffersAt + index * bufferSize + HEADROOM
}

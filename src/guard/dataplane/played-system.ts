/**
 * The system as a warm-up plays it (warm-up.ts): a socket and a TUN with every kind of packet in turn, a poll(2) that says
 * now this and now that is ready, and a time of its own. What is sent and written is counted and forgotten. All packets
 * are valid, and of two peers whose keys are zeros.
 */

import { c, errno } from '../../net/ffi.ts'
import type { Prefix } from '../wireguard/allowed-ips.ts'
import type { AeadKey } from './aead/aead.ts'
import type { PeerId } from './data-plane.ts'
import { messageHeader, pointerAt, type WorkerCalls, type WorkerContext } from './worker-context.ts'
import type { Ipv4Endpoint } from './worker-messages.ts'

/** Packets of one flow: datagrams of one message of the socket, or segments of one packet of the TUN. */
interface Burst {
  readonly version: 4 | 6
  readonly protocol: 6 | 17
  readonly payload: number
  readonly count: number
  /** From the socket: a message without a packet, or one that is no transport message. From the TUN: a packet to nobody. */
  readonly instead?: 'keepalive' | 'handshake' | 'unowned'
}

/** What is there in one turn. */
interface Scene {
  readonly socket: readonly Burst[]
  readonly tun: readonly Burst[]
  /** Since the one before, ms. */
  readonly pause: number
}

const tcp = { version: 4, protocol: 6, payload: 64, count: 1 } as const
const udp = { version: 4, protocol: 17, payload: 64, count: 1 } as const
const soon = 0.2

const nothing: Scene = { socket: [], tun: [], pause: soon }
const scenes: readonly Scene[] = [
  { socket: [{ ...tcp, payload: 0 }], tun: [tcp], pause: 2 },
  {
    socket: [
      { ...tcp, count: 4 },
      { ...tcp, count: 4 },
    ],
    tun: [{ ...tcp, count: 4 }, tcp, tcp],
    pause: soon,
  },
  {
    socket: [{ ...tcp, payload: 0 }],
    tun: [
      { ...tcp, count: 4 },
      { ...tcp, count: 4 },
    ],
    pause: soon,
  },
  { socket: [{ ...udp, count: 4 }, udp], tun: [{ ...udp, count: 4 }, udp], pause: soon },
  {
    socket: [{ ...tcp, version: 6, count: 2 }],
    tun: [
      { ...tcp, version: 6, count: 2 },
      { ...udp, version: 6 },
    ],
    pause: soon,
  },
  { socket: [{ ...tcp, instead: 'handshake' }, tcp], tun: new Array<Burst>(40).fill(udp), pause: soon },
  { socket: new Array<Burst>(9).fill(tcp), tun: [tcp, udp], pause: soon },
  { socket: [{ ...tcp, instead: 'keepalive' }], tun: [{ ...tcp, payload: 0 }], pause: 2 },
  // More groups than are written in one go, more segments than are sent in one.
  {
    socket: new Array<Burst>(8).fill({ ...tcp, count: 2 }),
    tun: new Array<Burst>(5).fill({ ...tcp, count: 46 }),
    pause: soon,
  },
  nothing,
  { socket: [], tun: [{ ...udp, version: 6, instead: 'unowned' }], pause: soon },
]
/** What poll says is ready, in turn, of the eventfd, the socket and the TUN. */
const readiness: readonly (readonly number[])[] = [
  [0, 1, 1],
  [0, 1, 0],
  [0, 0, 1],
  [1, 0, 0],
  [0, 1, 1],
]

export interface PlayedPeer {
  readonly peer: PeerId
  readonly endpoint: Ipv4Endpoint
}

// Numbers beyond 31 bits, as the real ones are: V8 compiles for what it has seen.
export const playedPeers: readonly PlayedPeer[] = [
  { peer: 1, endpoint: { address: 0xc000_0201, port: 9 } },
  { peer: 2, endpoint: { address: 0xc000_0202, port: 9 } },
]

export function indexOf(peer: PeerId): number {
  return 0xfedc_ba00 + peer
}

/** Every byte of a peer's addresses is this one. */
function byteOf(peer: PeerId): number {
  return 0xc0 + peer
}

export function prefixesOf(peer: PeerId): readonly Prefix[] {
  return [4, 16].map((size) => ({ bytes: new Uint8Array(size).fill(byteOf(peer)), length: 16 }))
}

/** Nothing of the kernels (layout.as.ts) or the workers is there. */
const keyAt = 0x1f000
const packetAt = 0x1f080
const offloadHeaderSize = 10
const messageSize = 16
const tagSize = 16
const pollEntry = 8

export class PlayedSystem {
  readonly calls: WorkerCalls
  /** ms. */
  time: number
  messagesSent = 0
  packetsWritten = 0
  /** Packets that were read and had to be dropped. */
  unowned = 0
  readonly #context: WorkerContext
  readonly #sealing: AeadKey
  #turn = 0
  #polls = 0
  /** Processor time, ms. */
  #used = 0
  #counter = 0
  #socket: Burst[] = []
  #tun: Burst[] = []

  constructor(context: WorkerContext) {
    this.#context = context
    // As if the last look at anything were long ago.
    this.time = context.now() + 1e6
    const { memory, backend, mtu } = context
    const { bytes, view, base } = memory
    bytes.fill(0, keyAt, keyAt + 32)
    this.#sealing = backend.createKey(keyAt, 'seal')
    this.calls = {
      read: (_fd, address) => this.#read(address - base),
      write: (_fd, _address, length) => length,
      writev: (_fd, _vectors, count) => {
        this.packetsWritten += count
        return count
      },
      sendmmsg: (_fd, _messages, count) => {
        this.messagesSent += count
        return count
      },
      recvmmsg: (_fd, messages, count) => this.#receive(messages - base, count),
      setsockopt: () => 0,
      poll: (fds, count) => this.#poll(fds - base, count),
      ioctl: (_fd, _request, address) => {
        view.setInt32(address - base + 16, mtu, true)
        return 0
      },
      close: () => 0,
      clock_gettime: (_clock, address) => {
        view.setUint32(address - base, Math.floor(this.#used / 1000), true)
        view.setUint32(address - base + 8, Math.floor((this.#used % 1000) * 1e6), true)
        return 0
      },
      sched_setscheduler: () => 0,
      errno: () => errno.EAGAIN,
    }
  }

  /** The next scene; what was not taken of the last one is forgotten. */
  next(): void {
    const scene = scenes[this.#turn++ % scenes.length] ?? nothing
    this.#socket = [...scene.socket]
    this.#tun = [...scene.tun]
    this.time += scene.pause
    // Now busy, now not, but never so that the TUN changes hands.
    this.#used += scene.pause * ((this.#turn & 256) === 0 ? 0.8 : 0.01)
  }

  get #peer(): PlayedPeer {
    return playedPeers[(this.#turn >> 3) % playedPeers.length] ?? { peer: 1, endpoint: { address: 0, port: 0 } }
  }

  #poll(entries: number, count: number): number {
    const ready = readiness[this.#polls++ % readiness.length] ?? []
    for (let at = 0; at < count; at++)
      this.#context.memory.view.setInt16(entries + at * pollEntry + 6, (ready[at] ?? 0) * c.POLLIN, true)
    return 1
  }

  #read(at: number): number {
    const burst = this.#tun.shift()
    if (burst === undefined) return -1
    const { bytes, view } = this.#context.memory
    const packet = at + offloadHeaderSize
    const length = writePacket(bytes, packet, { ...burst, payload: burst.payload * burst.count, peer: this.#peer.peer })
    const isTcp = burst.protocol === 6
    const isLarge = burst.count > 1
    // struct virtio_net_hdr: VIRTIO_NET_HDR_F_NEEDS_CSUM, the kind and size of the segments, where the checksum goes.
    if (burst.instead === 'unowned') {
      bytes.fill(0xff, packet + 8, packet + 40)
      this.unowned++
    }
    bytes.fill(0, at, packet)
    bytes[at] = 1
    if (isLarge) bytes[at + 1] = isTcp ? (burst.version === 4 ? 1 : 4) : 5
    if (isLarge) view.setUint16(at + 4, burst.payload, true)
    view.setUint16(at + 6, burst.version === 4 ? 20 : 40, true)
    view.setUint16(at + 8, isTcp ? 16 : 6, true)
    return offloadHeaderSize + length
  }

  #receive(messages: number, room: number): number {
    const bursts = this.#socket.splice(0, room)
    for (const [at, burst] of bursts.entries()) this.#writeMessage(messages + at * messageHeader.size, burst)
    return bursts.length === 0 ? -1 : bursts.length
  }

  #writeMessage(header: number, { instead, count, ...packet }: Burst): void {
    const { bytes, view, base } = this.#context.memory
    const buffer = pointerAt(view, pointerAt(view, header + messageHeader.vectors) - base) - base
    let size = 0
    for (let at = 0; at < count; at++) {
      const length =
        instead === 'keepalive'
          ? 0
          : writePacket(bytes, packetAt, { ...packet, peer: this.#peer.peer, sequence: at * packet.payload })
      const target = buffer + at * size
      size = this.#seal(target, length)
      if (instead === 'handshake') bytes[target] = 1
    }
    const { endpoint } = this.#peer
    const name = pointerAt(view, header + messageHeader.name) - base
    view.setUint16(name + 2, endpoint.port)
    view.setUint32(name + 4, endpoint.address)
    const control = pointerAt(view, header + messageHeader.control) - base
    view.setUint32(header + messageHeader.controlLength, count > 1 ? 20 : 0, true)
    view.setUint32(control + 8, c.SOL_UDP, true)
    view.setUint32(control + 12, c.UDP_GRO, true)
    view.setUint32(control + 16, size, true)
    view.setUint32(header + messageHeader.received, size * count, true)
  }

  /** The packet at `packetAt` as a datagram at `target`; its size. */
  #seal(target: number, length: number): number {
    const { kernels } = this.#context.memory
    const padded = (length + 15) & ~15
    kernels.beginMessage(target + messageSize, packetAt, this.#counter)
    this.#sealing.seal(target + messageSize, packetAt, padded)
    kernels.endMessage(target + messageSize, indexOf(this.#peer.peer), this.#counter++)
    return messageSize + padded + tagSize
  }
}

/** From a peer to itself, without options; nobody looks at the checksums. Its length. */
function writePacket(
  bytes: Uint8Array,
  at: number,
  {
    version,
    protocol,
    payload,
    peer,
    sequence = 0,
  }: Pick<Burst, 'version' | 'protocol' | 'payload'> & { readonly peer: PeerId; readonly sequence?: number },
): number {
  const network = version === 4 ? 20 : 40
  const transport = protocol === 6 ? 20 : 8
  const length = network + transport + payload
  bytes.fill(0, at, at + length)
  if (version === 4) {
    bytes[at] = 0x45
    writeUint16(bytes, at + 2, length)
    bytes[at + 9] = protocol
    bytes.fill(byteOf(peer), at + 12, at + 20)
  } else {
    bytes[at] = 0x60
    writeUint16(bytes, at + 4, length - network)
    bytes[at + 6] = protocol
    bytes.fill(byteOf(peer), at + 8, at + 40)
  }
  const header = at + network
  if (protocol === 6) {
    writeUint16(bytes, header + 4, sequence >> 16)
    writeUint16(bytes, header + 6, sequence & 0xffff)
    bytes[header + 12] = 0x50
    bytes[header + 13] = 0x10
  } else writeUint16(bytes, header + 4, transport + payload)
  return length
}

function writeUint16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8
  bytes[at + 1] = value & 255
}

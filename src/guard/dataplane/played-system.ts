/**
 * The system as a warm-up plays it (warm-up.ts): a socket and a TUN with every kind of packet in turn, a poll(2) that says
 * now this and now that is ready, and a time of its own. What is sent and written is counted and forgotten. All packets
 * are valid, and of two peers whose keys are zeros.
 */

import { c, errno } from '../../net/ffi.ts'
import type { Prefix } from '../wireguard/allowed-ips.ts'
import type { AeadKey } from './aead/aead.ts'
import type { PeerId } from './data-plane.ts'
import { messageHeader, pointerAt, pollEntry, type WorkerCalls, type WorkerContext } from './worker-context.ts'
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

const firstPeer: PlayedPeer = playedPeers[0] ?? { peer: 1, endpoint: { address: 0, port: 0 } }

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
const messageSize = 16
const tagSize = 16

/** A scene as bytes, for one peer. */
interface Play {
  readonly socket: readonly Message[]
  /** Packets with their offload headers. */
  readonly tun: readonly Uint8Array[]
  readonly unowned: number
  readonly pause: number
}

/** `count` datagrams with the same packet, but for its sequence number. */
interface Message {
  readonly packet: Uint8Array
  /** Where the sequence number's low half is, 0 when there is none. */
  readonly sequenceAt: number
  readonly burst: Burst
}

export class PlayedSystem {
  readonly calls: WorkerCalls
  /** ms. */
  time: number
  messagesSent = 0
  packetsWritten = 0
  /** Packets that were given and have to be dropped. */
  unowned = 0
  readonly #context: WorkerContext
  readonly #sealing: AeadKey
  /** By peer. */
  readonly #plays: readonly (readonly Play[])[] = playedPeers.map(({ peer }) =>
    scenes.map((scene) => playOf(scene, peer)),
  )
  #peer: PlayedPeer = firstPeer
  #play: Play = playOf(nothing, firstPeer.peer)
  /** What of it was taken. */
  #socketAt = 0
  #tunAt = 0
  #turn = 0
  #polls = 0
  /** Processor time, ms. */
  #used = 0
  #counter = 0

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
      errno: () => errno.EAGAIN,
    }
  }

  /** The next scene; what was not taken of the last one is forgotten. */
  next(): void {
    const at = (this.#turn >> 3) % playedPeers.length
    this.#peer = playedPeers[at] ?? firstPeer
    this.#play = this.#plays[at]?.[this.#turn % scenes.length] ?? this.#play
    this.#socketAt = 0
    this.#tunAt = 0
    this.#turn++
    this.time += this.#play.pause
    // Now busy, now not, but never so that the TUN changes hands.
    this.#used += this.#play.pause * ((this.#turn & 256) === 0 ? 0.8 : 0.01)
  }

  #poll(entries: number, count: number): number {
    const ready = readiness[this.#polls++ % readiness.length] ?? []
    for (let at = 0; at < count; at++)
      this.#context.memory.view.setInt16(
        entries + at * pollEntry.size + pollEntry.happened,
        (ready[at] ?? 0) * c.POLLIN,
        true,
      )
    return 1
  }

  #read(at: number): number {
    const packet = this.#play.tun[this.#tunAt]
    if (packet === undefined) return -1
    this.#tunAt++
    this.unowned += this.#play.unowned
    this.#context.memory.bytes.set(packet, at)
    return packet.length
  }

  #receive(messages: number, room: number): number {
    let count = 0
    for (; count < room; count++) {
      const message = this.#play.socket[this.#socketAt]
      if (message === undefined) break
      this.#socketAt++
      this.#writeMessage(messages + count * messageHeader.size, message)
    }
    return count === 0 ? -1 : count
  }

  #writeMessage(header: number, { packet, sequenceAt, burst: { payload, count, instead } }: Message): void {
    const { bytes, view, base } = this.#context.memory
    const buffer = pointerAt(view, pointerAt(view, header + messageHeader.vectors) - base) - base
    bytes.set(packet, packetAt)
    let size = 0
    for (let at = 0; at < count; at++) {
      if (sequenceAt > 0) view.setUint16(packetAt + sequenceAt, at * payload)
      size = this.#seal(buffer + at * size, packet.length)
      if (instead === 'handshake') bytes[buffer] = 1
    }
    const name = pointerAt(view, header + messageHeader.name) - base
    view.setUint16(name + 2, this.#peer.endpoint.port)
    view.setUint32(name + 4, this.#peer.endpoint.address)
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

function playOf({ socket, tun, pause }: Scene, peer: PeerId): Play {
  return {
    socket: socket.map((burst) => {
      const packet = burst.instead === 'keepalive' ? new Uint8Array() : packetOf(burst, peer)
      const isTcp = packet.length > 0 && burst.protocol === 6
      return { packet, sequenceAt: isTcp ? networkSize(burst) + 6 : 0, burst }
    }),
    tun: tun.map((burst) =>
      Buffer.concat([offloadHeader(burst), packetOf({ ...burst, payload: burst.payload * burst.count }, peer)]),
    ),
    unowned: tun.some(({ instead }) => instead === 'unowned') ? 1 : 0,
    pause,
  }
}

function networkSize({ version }: Burst): number {
  return version === 4 ? 20 : 40
}

/** struct virtio_net_hdr: VIRTIO_NET_HDR_F_NEEDS_CSUM, the kind and size of the segments, where the checksum goes. */
function offloadHeader(burst: Burst): Uint8Array {
  const { version, protocol, payload, count } = burst
  const header = Buffer.alloc(10)
  const isTcp = protocol === 6
  header[0] = 1
  if (count > 1) {
    header[1] = isTcp ? (version === 4 ? 1 : 4) : 5
    header.writeUInt16LE(payload, 4)
  }
  header.writeUInt16LE(networkSize(burst), 6)
  header.writeUInt16LE(isTcp ? 16 : 6, 8)
  return header
}

/** From a peer to itself, without options; nobody looks at the checksums. */
function packetOf(burst: Burst, peer: PeerId): Uint8Array {
  const { version, protocol, payload, instead } = burst
  const network = networkSize(burst)
  const transport = protocol === 6 ? 20 : 8
  const address = instead === 'unowned' ? 0xff : byteOf(peer)
  const packet = Buffer.alloc(network + transport + payload)
  if (version === 4) {
    packet[0] = 0x45
    packet.writeUInt16BE(packet.length, 2)
    packet[9] = protocol
    packet.fill(address, 12, 20)
  } else {
    packet[0] = 0x60
    packet.writeUInt16BE(packet.length - network, 4)
    packet[6] = protocol
    packet.fill(address, 8, 40)
  }
  if (protocol === 6) {
    packet[network + 12] = 0x50
    packet[network + 13] = 0x10
  } else packet.writeUInt16BE(transport + payload, network + 4)
  return packet
}

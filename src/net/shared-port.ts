/**
 * A UDP port that belongs to somebody else, the kernel's WireGuard or another program, used beside it: a raw socket
 * sends from that port, and is given copies of those incoming datagrams that are the puncher's (net/underlay.ts: STUN
 * and bencode). Everything else never leaves the kernel: a filter program drops it. IPv4 and Linux only.
 */

import { isIPv4 } from 'node:net'
import type { Endpoint } from '../api/endpoint.ts'
import { PunchGuardError } from '../api/errors.ts'
import type { DatagramSocket } from '../api/network.ts'
import { c, describeErrno, errno, errnoName, type NativeMemory, type SystemCalls, systemCalls } from './ffi.ts'
import { type PollLoop, sharedPollLoop } from './poll-loop.ts'
import { decodeUdpPacket, encodeUdpPacket, udpPacketOverhead } from './udp-packet.ts'

/** Plain counters. `dropped`: not sent, or not passed on, by reason. */
export interface SharedPortStats {
  readonly received: number
  readonly sent: number
  readonly dropped: Readonly<Record<string, number>>
}

interface SendOptions {
  readonly to: Endpoint
  readonly whole: boolean
}

const largestPacket = 65_535
// struct sockaddr_in: family, port and address in network order, 8 unused bytes.
const addressSize = 16
/** Datagrams read in one turn of the event loop. */
const batch = 64

export class SharedPort implements DatagramSocket {
  readonly port: number
  readonly #system: SystemCalls
  readonly #raw: number
  /** Never sends: connecting it tells which of our addresses the system would send from. */
  readonly #route: number
  readonly #registration: Disposable
  readonly #incoming: NativeMemory
  readonly #outgoing: NativeMemory
  /** A struct sockaddr_in, and the length that getsockname wants after it. */
  readonly #address: NativeMemory
  readonly #dropped: Record<string, number> = {}
  #receiver: (bytes: Uint8Array, from: Endpoint) => void = () => {}
  #received = 0
  #sent = 0
  #isClosed = false

  /** @throws PunchGuardError PERMISSION_DENIED, GUARD_UNAVAILABLE */
  constructor(port: number, parts: { readonly system: SystemCalls; readonly poll: PollLoop }) {
    const { system, poll } = parts
    this.port = port
    this.#system = system
    this.#incoming = system.allocate(largestPacket)
    this.#outgoing = system.allocate(largestPacket)
    this.#address = system.allocate(addressSize + 4)
    this.#raw = openRawSocket(system, port)
    this.#route = system.socket(c.AF_INET, c.SOCK_DGRAM | c.O_CLOEXEC, 0)
    this.#registration = poll.add(this.#raw, () => this.#readBatch())
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    this.#send(bytes, { to, whole: false })
  }

  sendWhole(bytes: Uint8Array, to: Endpoint): void {
    this.#send(bytes, { to, whole: true })
  }

  receive(receiver: (bytes: Uint8Array, from: Endpoint) => void): void {
    this.#receiver = receiver
  }

  stats(): SharedPortStats {
    return { received: this.#received, sent: this.#sent, dropped: { ...this.#dropped } }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#registration[Symbol.dispose]()
    this.#system.close(this.#raw)
    if (this.#route !== -1) this.#system.close(this.#route)
  }

  #send(bytes: Uint8Array, options: SendOptions): void {
    if (this.#isClosed) return
    const failed = this.#trySend(bytes, options)
    if (failed === undefined) this.#sent++
    else this.#drop(failed)
  }

  /** The reason when it was not sent. */
  #trySend(payload: Uint8Array, { to, whole }: SendOptions): string | undefined {
    if (!isIPv4(to.address) || !(to.port >= 1 && to.port <= 65_535)) return 'endpoint'
    if (payload.length > largestPacket - udpPacketOverhead) return errnoName(errno.EMSGSIZE)
    const source = this.#sourceTowards(to)
    if (source === undefined) return errnoName(this.#system.errno())
    const from = { address: source, port: this.port }
    const length = encodeUdpPacket({ from, to, payload }, this.#outgoing.bytes, { whole })
    this.#writeAddress(to)
    const { address } = this.#address
    const sent = this.#system.sendto(this.#raw, this.#outgoing.address, length, c.MSG_DONTWAIT, address, addressSize)
    return sent < 0 ? errnoName(this.#system.errno()) : undefined
  }

  /** The checksum goes over our address, so it must be known first; asked anew each time, as routes change. */
  #sourceTowards(to: Endpoint): string | undefined {
    const { address, view, bytes } = this.#address
    this.#writeAddress(to)
    if (this.#system.connect(this.#route, address, addressSize) === -1) return undefined
    view.setUint32(addressSize, addressSize, true)
    if (this.#system.getsockname(this.#route, address, address + addressSize) === -1) return undefined
    const source = `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`
    // Family AF_UNSPEC (0) takes the connection back: else the next one would keep this source.
    bytes.fill(0)
    this.#system.connect(this.#route, address, addressSize)
    return source
  }

  #writeAddress(to: Endpoint): void {
    const { bytes, view } = this.#address
    bytes.fill(0)
    view.setUint16(0, c.AF_INET, true)
    view.setUint16(2, to.port)
    bytes.set(to.address.split('.').map(Number), 4)
  }

  #readBatch(): void {
    for (let count = 0; count < batch && !this.#isClosed; count++) {
      const length = this.#system.recv(this.#raw, this.#incoming.address, largestPacket, c.MSG_DONTWAIT)
      if (length < 0) return
      const packet = decodeUdpPacket(this.#incoming.bytes.subarray(0, length))
      // What came before the filter was in place, or a combined packet that does not start with ours.
      if (packet === undefined || packet.to.port !== this.port) this.#drop('foreign')
      else {
        this.#received++
        this.#receiver(packet.payload, packet.from)
      }
    }
  }

  #drop(reason: string): void {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1
  }
}

/**
 * Sends from a port, and hears what arrives there for the puncher, while another one has it bound. Whether somebody has
 * is not asked.
 * @throws PunchGuardError PERMISSION_DENIED without CAP_NET_RAW, GUARD_UNAVAILABLE
 */
export async function openSharedPort(port: number): Promise<SharedPort> {
  return new SharedPort(port, { system: await systemCalls(), poll: await sharedPollLoop() })
}

function openRawSocket(system: SystemCalls, port: number): number {
  const fd = system.socket(c.AF_INET, c.SOCK_RAW | c.O_NONBLOCK | c.O_CLOEXEC, c.IPPROTO_UDP)
  if (fd === -1) throw notOpened(system.errno())
  const program = punchFilter(port)
  // struct sock_fprog: the number of instructions, padding, their address; then IP_HDRINCL's 1.
  const memory = system.allocate(24 + program.length)
  const { view, bytes, address } = memory
  view.setUint16(0, program.length / instructionSize, true)
  view.setBigUint64(8, BigInt(address + 24), true)
  view.setInt32(16, 1, true)
  bytes.set(program, 24)
  if (
    system.setsockopt(fd, c.SOL_SOCKET, c.SO_ATTACH_FILTER, address, 16) === -1 ||
    system.setsockopt(fd, c.IPPROTO_IP, c.IP_HDRINCL, address + 16, 4) === -1
  ) {
    const failed = system.errno()
    system.close(fd)
    throw notOpened(failed)
  }
  return fd
}

function notOpened(reason: number): PunchGuardError {
  const refused = reason === errno.EPERM || reason === errno.EACCES
  return new PunchGuardError(
    refused ? 'PERMISSION_DENIED' : 'GUARD_UNAVAILABLE',
    `the guard's port cannot be shared with the puncher: ${describeErrno(reason)}`,
    { hint: refused ? 'run as root, or with the capability CAP_NET_RAW' : 'use guard = "embedded"' },
  )
}

// linux/bpf_common.h: class, size, mode and source of an instruction, in one number.
const bpf = {
  /** X = 4 · (low half of the byte at K): the length of the IP header. */
  loadHeaderLength: 0xb1,
  /** A = the byte, half word or word at X + K, big-endian. Beyond the end the packet is dropped. */
  loadByte: 0x50,
  loadHalf: 0x48,
  loadWord: 0x40,
  jumpIfEqual: 0x15,
  jumpIfGreater: 0x25,
  return: 0x06,
} as const

const instructionSize = 8
const magicCookie = 0x2112a442
const letterD = 0x64

/**
 * A classic BPF program over an IP packet: keeps UDP datagrams to the port that are STUN (first byte 0..3 and the magic
 * cookie, RFC 8489 §5) or bencode. struct sock_filter: code (2 bytes), jump if true, jump if false (1 each), K (4).
 */
export function punchFilter(port: number): Uint8Array {
  const program: readonly (readonly [code: number, ifTrue: number, ifFalse: number, k: number])[] = [
    [bpf.loadHeaderLength, 0, 0, 0],
    [bpf.loadHalf, 0, 0, 2],
    [bpf.jumpIfEqual, 0, 6, port],
    [bpf.loadByte, 0, 0, 8],
    [bpf.jumpIfEqual, 3, 0, letterD],
    [bpf.jumpIfGreater, 3, 0, 3],
    [bpf.loadWord, 0, 0, 12],
    [bpf.jumpIfEqual, 0, 1, magicCookie],
    [bpf.return, 0, 0, 0xffff_ffff],
    [bpf.return, 0, 0, 0],
  ]
  const bytes = new Uint8Array(program.length * instructionSize)
  const view = new DataView(bytes.buffer)
  program.forEach(([code, ifTrue, ifFalse, k], at) => {
    view.setUint16(at * instructionSize, code, true)
    view.setUint8(at * instructionSize + 2, ifTrue)
    view.setUint8(at * instructionSize + 3, ifFalse)
    view.setUint32(at * instructionSize + 4, k, true)
  })
  return bytes
}

/**
 * The one UDP socket of a device, for life: what punched is what carries the data. Tells the datagrams apart by their
 * first bytes (the demultiplexing of RFC 7983, with WireGuard and bencode in the place of DTLS and RTP) and hands each
 * to exactly one receiver. It touches no system call: the socket is given, real or simulated.
 *
 * Seam for a faster data plane: a worker may take over reading the socket's file descriptor. It then keeps WireGuard's
 * transport messages (type 4) and passes every other datagram to the main thread, where a `DatagramSocket` in front of
 * the worker takes the place of the one given here. Nothing above `route` and `send` notices.
 */

import type { Endpoint } from '../api/endpoint.ts'
import type { DatagramSocket } from '../api/network.ts'

export type DatagramKind = 'stun' | 'wireguard' | 'bencode'

export type DatagramReceiver = (bytes: Uint8Array, from: Endpoint) => void

/** Plain counters. `unrouted`: a known kind that nobody receives at the moment. */
export interface UnderlayStats {
  readonly received: Readonly<Record<DatagramKind, number>>
  readonly sent: number
  readonly unknown: number
  readonly unrouted: number
}

const stunHeaderSize = 20
const wireguardHeaderSize = 4
const letterD = 0x64

/**
 * What a datagram is; `undefined` for anything else.
 *
 * | kind      | bytes                                                                     |
 * | stun      | first 0..3, magic cookie 21 12 a4 42 at offset 4, 20 or more (RFC 8489 §5) |
 * | wireguard | 1..4 as a little-endian 32-bit number (whitepaper §5.4)                    |
 * | bencode   | first `d`: a dictionary (BEP 5)                                            |
 *
 * A STUN header whose second to fourth byte are zero also reads as a WireGuard type; the cookie decides for STUN, and
 * a WireGuard message has it in that place (its sender's or receiver's index) only by a chance of one in 2^32.
 */
export function classifyDatagram(bytes: Uint8Array): DatagramKind | undefined {
  const first = bytes[0]
  if (first === undefined) return undefined
  if (first <= 3 && bytes.length >= stunHeaderSize && hasMagicCookie(bytes)) return 'stun'
  if (first >= 1 && first <= 4) return hasWireguardType(bytes) ? 'wireguard' : undefined
  return first === letterD ? 'bencode' : undefined
}

function hasMagicCookie(bytes: Uint8Array): boolean {
  return bytes[4] === 0x21 && bytes[5] === 0x12 && bytes[6] === 0xa4 && bytes[7] === 0x42
}

function hasWireguardType(bytes: Uint8Array): boolean {
  return bytes.length >= wireguardHeaderSize && bytes[1] === 0 && bytes[2] === 0 && bytes[3] === 0
}

export class Underlay implements AsyncDisposable {
  readonly #socket: DatagramSocket
  readonly #receivers: Map<DatagramKind, DatagramReceiver> = new Map()
  readonly #received: Record<DatagramKind, number> = { stun: 0, wireguard: 0, bencode: 0 }
  #sent = 0
  #unknown = 0
  #unrouted = 0

  /** Takes the socket over: it is closed with the underlay. */
  constructor(socket: DatagramSocket) {
    this.#socket = socket
    socket.receive((bytes, from) => this.#receive(bytes, from))
  }

  get port(): number {
    return this.#socket.port
  }

  /** The bytes are taken before this returns. What cannot be sent is lost. */
  send(bytes: Uint8Array, to: Endpoint): void {
    this.#sent++
    this.#socket.send(bytes, to)
  }

  /** The same, but rather lost than cut on the way; `undefined` where the socket cannot. */
  get sendWhole(): ((bytes: Uint8Array, to: Endpoint) => void) | undefined {
    return this.#socket.sendWhole === undefined ? undefined : this.#sendWhole
  }

  /** Hands all datagrams of a kind to one receiver until disposed. Their bytes are valid during the call only. */
  route(kind: DatagramKind, receiver: DatagramReceiver): Disposable {
    if (this.#receivers.has(kind)) throw new Error(`${kind} datagrams have a receiver already`)
    const own: DatagramReceiver = (bytes, from) => receiver(bytes, from)
    this.#receivers.set(kind, own)
    return {
      [Symbol.dispose]: () => {
        if (this.#receivers.get(kind) === own) this.#receivers.delete(kind)
      },
    }
  }

  stats(): UnderlayStats {
    return { received: { ...this.#received }, sent: this.#sent, unknown: this.#unknown, unrouted: this.#unrouted }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#receivers.clear()
    await this.#socket[Symbol.asyncDispose]()
  }

  readonly #sendWhole = (bytes: Uint8Array, to: Endpoint): void => {
    this.#sent++
    this.#socket.sendWhole?.(bytes, to)
  }

  #receive(bytes: Uint8Array, from: Endpoint): void {
    const kind = classifyDatagram(bytes)
    if (kind === undefined) {
      this.#unknown++
      return
    }
    const receiver = this.#receivers.get(kind)
    if (receiver === undefined) {
      this.#unrouted++
      return
    }
    this.#received[kind]++
    receiver(bytes, from)
  }
}

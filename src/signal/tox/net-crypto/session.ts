/**
 * A session with known keys: lossless and lossy packets in and out, acknowledgements, packet requests, kill.
 * Tox protocol specification, "net_crypto". When to send a packet request is ours: the specification's rule follows
 * the receiving rate of a file transfer; here a hole is reported every 100 ms and data is acknowledged at once.
 */

import { maximumPacketBytes } from './crypto-data.ts'
import { decodePacketRequest, encodePacketRequest, packetRequestId } from './packet-request.ts'
import { ReceiveQueue } from './receive-queue.ts'
import { RoundTrip } from './round-trip.ts'
import { SendQueue } from './send-queue.ts'
import type { SessionCipher } from './session-cipher.ts'

const killId = 2
const firstLosslessId = 16
const firstLossyId = 192

/** Our choices, ms. The specification asks for one request packet a second at least. */
const requestInterval = { idle: 1_000, missing: 100, received: 50 } as const

export type SessionReceived =
  | { readonly kind: 'dropped'; readonly reason: SessionDrop }
  | { readonly kind: 'killed' }
  | {
      readonly kind: 'received'
      /** Lossless packets in their order and the lossy one, if this was one; id and data. */
      readonly packets: readonly Uint8Array[]
      /** No packet that was sent later came before. */
      readonly newest: boolean
      /** When the newest of the packets acknowledged by this one was first sent. */
      readonly acknowledgedFrom: number | undefined
    }

export type SessionDrop = 'unreadable' | 'replayed' | 'empty' | 'impossible'

export class CryptoSession {
  readonly #cipher: SessionCipher
  readonly #roundTrip = new RoundTrip()
  readonly #sending = new SendQueue(this.#roundTrip)
  readonly #receiving = new ReceiveQueue()
  /** When the last packet request was sent. */
  #requestedAt = Number.NEGATIVE_INFINITY
  #unacknowledged = false

  constructor(cipher: SessionCipher) {
    this.#cipher = cipher
  }

  /** Queues a lossless packet; false when the queue is full. */
  enqueue(packet: Uint8Array): boolean {
    return this.#sending.enqueue(packet)
  }

  /** Lossless packets the peer has not acknowledged. */
  get queued(): number {
    return this.#sending.length
  }

  /** Received bytes that wait for a missing packet. */
  get heldBytes(): number {
    return this.#receiving.bytes
  }

  /** The shortest recent round trip, ms. */
  get roundTrip(): number {
    return this.#roundTrip.shortest
  }

  receive(bytes: Uint8Array, now: number): SessionReceived {
    const opened = this.#cipher.open(bytes)
    if (opened === undefined) return { kind: 'dropped', reason: 'unreadable' }
    if (opened === 'replayed' || opened === 'empty') return { kind: 'dropped', reason: opened }
    const { receiveStart, number, packet } = opened.data
    if (!this.#sending.isPossible(receiveStart)) return { kind: 'dropped', reason: 'impossible' }
    const id = packet[0] ?? 0
    const lossless = id >= firstLosslessId && id < firstLossyId
    if (lossless ? !this.#receiving.isInWindow(number) : !this.#receiving.observe(number)) {
      return { kind: 'dropped', reason: 'impossible' }
    }
    const newest = this.#cipher.accept(opened)
    const acknowledgedFrom = this.#sending.acknowledge(receiveStart, now)
    if (id === killId) return { kind: 'killed' }
    const packets: Uint8Array[] = []
    if (lossless) {
      this.#receiving.offer(number, packet)
      packets.push(...this.#receiving.take())
      this.#unacknowledged = true
    } else if (id === packetRequestId) {
      this.#sending.request(decodePacketRequest(packet, { start: receiveStart }), now)
    } else if (id >= firstLossyId) {
      packets.push(packet)
    }
    return { kind: 'received', packets, newest, acknowledgedFrom }
  }

  /** The datagrams due now; `urgent` asks for a packet request in any case. */
  take(now: number, options: { readonly urgent?: boolean } = {}): Uint8Array[] {
    const datagrams = this.#sending
      .take(now)
      .map(({ number, packet }) => this.#cipher.seal({ receiveStart: this.#receiving.start, number, packet }))
    if (options.urgent === true || now >= this.#requestDue) datagrams.push(this.#request(now))
    return datagrams
  }

  /** A lossy packet, sent once and not repeated. */
  lossy(packet: Uint8Array): Uint8Array {
    return this.#cipher.seal({ receiveStart: this.#receiving.start, number: this.#sending.end, packet })
  }

  kill(): Uint8Array {
    return this.lossy(Uint8Array.of(killId))
  }

  /** The path changed: everything under way is sent again. */
  resendAll(now: number): void {
    this.#sending.resend(now, 0)
  }

  /** The path may have been bad for a while: what should be acknowledged by now is sent again. */
  resendOverdue(now: number): void {
    this.#sending.resend(now, this.#roundTrip.shortest)
  }

  /** When `take` has something next, monotonic ms. */
  get deadline(): number {
    return Math.min(this.#requestDue, this.#sending.deadline ?? Number.POSITIVE_INFINITY)
  }

  wipe(): void {
    this.#cipher.wipe()
  }

  get #requestDue(): number {
    if (this.#unacknowledged) return this.#requestedAt + requestInterval.received
    return this.#requestedAt + (this.#receiving.hasMissing ? requestInterval.missing : requestInterval.idle)
  }

  #request(now: number): Uint8Array {
    this.#requestedAt = now
    this.#unacknowledged = false
    const start = this.#receiving.start
    return this.lossy(encodePacketRequest(this.#receiving.missing(), { start, maximumSize: maximumPacketBytes }))
  }
}

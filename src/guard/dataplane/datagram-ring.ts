/**
 * Datagrams from the receive worker to the main thread: a ring of slots in shared memory with one writer and one reader.
 * When it is full the writer drops: a flood of handshakes must not grow memory.
 *
 * A slot: | 0 | 2 | length |  | 2 | 2 | port |  | 4 | 4 | IPv4 address |  | 8 | length | bytes |
 */

import type { Ipv4Endpoint } from './worker-messages.ts'

const slotSize = 2048
const slotHeader = 8
/** A power of two. */
const slotCount = 128
/** Int32: the writer's count, the reader's count, and whether the reader was told. */
const counters = 3
const slotsAt = 64

/** Larger ones are not passed on: no handshake, STUN or DHT message is. */
export const LARGEST_PASSED: number = slotSize - slotHeader

export class DatagramRing {
  readonly #counters: Int32Array
  readonly #bytes: Uint8Array
  readonly #view: DataView

  constructor(memory: SharedArrayBuffer) {
    this.#counters = new Int32Array(memory, 0, counters)
    this.#bytes = new Uint8Array(memory)
    this.#view = new DataView(memory)
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(slotsAt + slotCount * slotSize)
  }

  /** How many wait. */
  get size(): number {
    // The counts may run over.
    return (Atomics.load(this.#counters, 0) - Atomics.load(this.#counters, 1)) | 0
  }

  /** Whether there was room. */
  push(datagram: Uint8Array, from: Ipv4Endpoint): boolean {
    if (datagram.length > LARGEST_PASSED || this.size >= slotCount) return false
    const count = Atomics.load(this.#counters, 0)
    const at = slotsAt + (count & (slotCount - 1)) * slotSize
    this.#view.setUint16(at, datagram.length)
    this.#view.setUint16(at + 2, from.port)
    this.#view.setUint32(at + 4, from.address)
    this.#bytes.set(datagram, at + slotHeader)
    Atomics.store(this.#counters, 0, count + 1)
    return true
  }

  /** Whether the reader must be told: it looks again by itself until the ring was empty. */
  mustTell(): boolean {
    return Atomics.exchange(this.#counters, 2, 1) === 0
  }

  /** The oldest, in memory of its own, or `undefined` when there is none. */
  shift(): { readonly bytes: Uint8Array; readonly from: Ipv4Endpoint } | undefined {
    if (this.size === 0) {
      Atomics.store(this.#counters, 2, 0)
      // One may have come in between, of which we were not told.
      if (this.size === 0) return undefined
    }
    const count = Atomics.load(this.#counters, 1)
    const at = slotsAt + (count & (slotCount - 1)) * slotSize
    const length = this.#view.getUint16(at)
    const from = { port: this.#view.getUint16(at + 2), address: this.#view.getUint32(at + 4) }
    const bytes = this.#bytes.slice(at + slotHeader, at + slotHeader + length)
    Atomics.store(this.#counters, 1, count + 1)
    return { bytes, from }
  }
}

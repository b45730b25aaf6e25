/**
 * What still waits in a UDP socket after node:dgram has handed over one datagram, read with recvfrom(2) directly: a
 * fifth of the cost of the way through libuv. The wake-up, and every datagram that comes alone, stay with node:dgram.
 */

import type { Endpoint } from '../api/endpoint.ts'
import { c, type NativeMemory, type SystemCalls } from './ffi.ts'

const largestDatagram = 65_535
// struct sockaddr_in: family, port and address in network order, 8 unused bytes; after it recvfrom's length.
const addressSize = 16

export class UdpDrain {
  readonly #system: SystemCalls
  readonly #descriptor: number
  readonly #data: NativeMemory
  readonly #address: NativeMemory
  #lastKey = -1
  #lastFrom: Endpoint = { address: '0.0.0.0', port: 0 }

  constructor(system: SystemCalls, descriptor: number) {
    this.#system = system
    this.#descriptor = descriptor
    this.#data = system.allocate(largestDatagram)
    this.#address = system.allocate(addressSize + 4)
  }

  /** The next datagram, `undefined` when there is none. The bytes are valid until the next call. */
  next(): { readonly bytes: Uint8Array; readonly from: Endpoint } | undefined {
    const { address, view } = this.#address
    view.setUint32(addressSize, addressSize, true)
    const length = this.#system.recvfrom(
      this.#descriptor,
      this.#data.address,
      largestDatagram,
      c.MSG_DONTWAIT,
      address,
      address + addressSize,
    )
    return length < 0 ? undefined : { bytes: this.#data.bytes.subarray(0, length), from: this.#from(view) }
  }

  /** Datagrams come in rows from one sender: its text form is made once. */
  #from(view: DataView): Endpoint {
    const port = view.getUint16(2)
    const key = view.getUint32(4) * 65_536 + port
    if (key !== this.#lastKey) {
      const { bytes } = this.#address
      this.#lastFrom = { address: `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`, port }
      this.#lastKey = key
    }
    return this.#lastFrom
  }
}

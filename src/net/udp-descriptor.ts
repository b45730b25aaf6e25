/**
 * A UDP socket of node:dgram spoken to directly, with sendto(2) and recvfrom(2): half the cost of the way through libuv,
 * or less. Waking up, and waiting for a busy interface, stay with node:dgram. IPv4 only. From here on its datagrams go
 * without DF: a path that is narrower than they are cuts them, where with DF it might swallow them without a word.
 */

import { isIPv4 } from 'node:net'
import type { Endpoint } from '../api/endpoint.ts'
import { c, errno, type NativeMemory, type SystemCalls } from './ffi.ts'

const largestDatagram = 65_535
// struct sockaddr_in: family, port and address in network order, 8 unused bytes; after it recvfrom's length.
const addressSize = 16

export class UdpDescriptor {
  readonly #system: SystemCalls
  readonly #fd: number
  readonly #incoming: NativeMemory
  readonly #outgoing: NativeMemory
  readonly #source: NativeMemory
  readonly #target: NativeMemory
  readonly #option: NativeMemory
  // Datagrams come and go in rows: the last sender and the last target are kept in both forms.
  #lastSource = -1
  #lastFrom: Endpoint = { address: '0.0.0.0', port: 0 }
  #lastTo = ''

  constructor(system: SystemCalls, fd: number) {
    this.#system = system
    this.#fd = fd
    this.#incoming = system.allocate(largestDatagram)
    this.#outgoing = system.allocate(largestDatagram)
    this.#source = system.allocate(addressSize + 4)
    this.#target = system.allocate(addressSize)
    this.#target.view.setUint16(0, c.AF_INET, true)
    this.#option = system.allocate(4)
    this.#discover(c.IP_PMTUDISC_OMIT)
  }

  /** The next datagram, `undefined` when there is none. The bytes are valid until the next call. */
  next(): { readonly bytes: Uint8Array; readonly from: Endpoint } | undefined {
    const { address, view } = this.#source
    view.setUint32(addressSize, addressSize, true)
    const length = this.#system.recvfrom(
      this.#fd,
      this.#incoming.address,
      largestDatagram,
      c.MSG_DONTWAIT,
      address,
      address + addressSize,
    )
    return length < 0 ? undefined : { bytes: this.#incoming.bytes.subarray(0, length), from: this.#from() }
  }

  /** 0, or the errno of a datagram that was not sent. */
  send(bytes: Uint8Array, to: Endpoint): number {
    if (bytes.length > largestDatagram) return errno.EMSGSIZE
    if (to.address !== this.#lastTo) {
      if (!isIPv4(to.address)) return errno.EINVAL
      this.#target.bytes.set(to.address.split('.').map(Number), 4)
      this.#lastTo = to.address
    }
    this.#target.view.setUint16(2, to.port)
    this.#outgoing.bytes.set(bytes)
    const sent = this.#system.sendto(
      this.#fd,
      this.#outgoing.address,
      bytes.length,
      c.MSG_DONTWAIT,
      this.#target.address,
      addressSize,
    )
    return sent < 0 ? this.#system.errno() : 0
  }

  /**
   * With DF, and without regard for what was heard of the path before. The option is the socket's, for want of one for a
   * single datagram: what a worker sends on it in that moment has DF too, which only matters where it is too large.
   */
  sendWhole(bytes: Uint8Array, to: Endpoint): number {
    this.#discover(c.IP_PMTUDISC_PROBE)
    const failed = this.send(bytes, to)
    this.#discover(c.IP_PMTUDISC_OMIT)
    return failed
  }

  /** OMIT: no DF, cut to the interface's MTU where need be, deaf to ICMP, which anybody can forge. */
  #discover(mode: number): void {
    this.#option.view.setInt32(0, mode, true)
    this.#system.setsockopt(this.#fd, c.SOL_IP, c.IP_MTU_DISCOVER, this.#option.address, 4)
  }

  #from(): Endpoint {
    const { view, bytes } = this.#source
    const port = view.getUint16(2)
    const source = view.getUint32(4) * 65_536 + port
    if (source !== this.#lastSource) {
      this.#lastFrom = { address: `${bytes[4]}.${bytes[5]}.${bytes[6]}.${bytes[7]}`, port }
      this.#lastSource = source
    }
    return this.#lastFrom
  }
}

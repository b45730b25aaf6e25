/**
 * The UDP socket of a device, which a worker may borrow: from then on the worker reads it, hands back what is not its own,
 * and the main thread only sends, on the same descriptor. Port and NAT mappings stay through all of it. Linux only.
 */

import type { Endpoint } from '../api/endpoint.ts'
import type { DatagramSocket } from '../api/network.ts'
import { assertNever } from '../util/assert-never.ts'
import { c, describeErrno, errnoName, type SystemCalls, systemCalls } from './ffi.ts'
import { type PollLoop, sharedPollLoop } from './poll-loop.ts'
import { UdpDescriptor } from './udp-descriptor.ts'
import { bindUdpSocket, UdpSocket } from './udp-socket.ts'

/** Datagrams read in one turn of the event loop. */
const batch = 128

type State =
  /** Read by node:dgram. */
  | { readonly kind: 'own'; readonly socket: UdpSocket }
  | { readonly kind: 'lent'; readonly fd: number; readonly direct: UdpDescriptor }
  /** Given back: read by the poll loop. */
  | { readonly kind: 'polled'; readonly fd: number; readonly direct: UdpDescriptor; readonly registration: Disposable }
  | { readonly kind: 'closed' }

export class LendableSocket implements DatagramSocket {
  readonly port: number
  readonly #system: SystemCalls
  readonly #poll: PollLoop
  readonly #dropped: Record<string, number> = {}
  #receiver: (bytes: Uint8Array, from: Endpoint) => void = () => {}
  #state: State

  /** Takes the socket over. */
  constructor(socket: UdpSocket, parts: { readonly system: SystemCalls; readonly poll: PollLoop }) {
    this.port = socket.port
    this.#system = parts.system
    this.#poll = parts.poll
    this.#state = { kind: 'own', socket }
    socket.receive((bytes, from) => this.#receiver(bytes, from))
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    switch (this.#state.kind) {
      case 'own':
        this.#state.socket.send(bytes, to)
        break
      case 'lent':
      case 'polled': {
        const failed = to.port >= 1 && to.port <= 65_535 ? this.#state.direct.send(bytes, to) : undefined
        if (failed !== 0) this.#drop(failed === undefined ? 'endpoint' : errnoName(failed))
        break
      }
      case 'closed':
        break
      default:
        assertNever(this.#state)
    }
  }

  get sendWhole(): ((bytes: Uint8Array, to: Endpoint) => void) | undefined {
    return this.#state.kind === 'own' ? this.#state.socket.sendWhole : this.#sendWhole
  }

  receive(receiver: (bytes: Uint8Array, from: Endpoint) => void): void {
    this.#receiver = receiver
  }

  /** A descriptor of the borrower's own, to be closed by it. Nobody else reads until `giveBack`. */
  async lend(): Promise<number> {
    if (this.#state.kind === 'own') {
      const { socket } = this.#state
      const fd = this.#duplicate(socket.descriptor)
      this.#state = { kind: 'lent', fd, direct: new UdpDescriptor(this.#system, fd) }
      // node:dgram sends at the next tick: what it was given must be out before it closes.
      await new Promise((resolve) => setImmediate(resolve))
      // Closing node:dgram's descriptor leaves the socket: it has another now.
      await socket[Symbol.asyncDispose]()
    } else if (this.#state.kind === 'polled') {
      const { fd, direct, registration } = this.#state
      registration[Symbol.dispose]()
      this.#state = { kind: 'lent', fd, direct }
    }
    return this.#duplicate(this.#state.kind === 'lent' ? this.#state.fd : undefined)
  }

  /** A datagram that the borrower read and that is not its own. */
  deliver(bytes: Uint8Array, from: Endpoint): void {
    if (this.#state.kind === 'lent') this.#receiver(bytes, from)
  }

  /** The borrower has stopped. */
  giveBack(): void {
    if (this.#state.kind !== 'lent') return
    const { fd, direct } = this.#state
    const off = this.#system.allocate(4)
    this.#system.setsockopt(fd, c.SOL_UDP, c.UDP_GRO, off.address, 4)
    this.#state = { kind: 'polled', fd, direct, registration: this.#poll.add(fd, () => this.#readBatch(direct)) }
  }

  /** Datagrams that were not sent, by the system's error code. */
  dropped(): Readonly<Record<string, number>> {
    const own = this.#state.kind === 'own' ? this.#state.socket.stats().dropped : {}
    return { ...own, ...this.#dropped }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const state = this.#state
    this.#state = { kind: 'closed' }
    if (state.kind === 'own') await state.socket[Symbol.asyncDispose]()
    if (state.kind === 'polled') state.registration[Symbol.dispose]()
    if (state.kind === 'lent' || state.kind === 'polled') this.#system.close(state.fd)
  }

  readonly #sendWhole = (bytes: Uint8Array, to: Endpoint): void => {
    if (this.#state.kind === 'own') this.#state.socket.sendWhole?.(bytes, to)
    else if (this.#state.kind !== 'closed') {
      const failed = to.port >= 1 && to.port <= 65_535 ? this.#state.direct.sendWhole(bytes, to) : undefined
      if (failed !== 0) this.#drop(failed === undefined ? 'endpoint' : errnoName(failed))
    }
  }

  #readBatch(direct: UdpDescriptor): void {
    for (let count = 0; count < batch && this.#state.kind === 'polled'; count++) {
      const next = direct.next()
      if (next === undefined) return
      this.#receiver(next.bytes, next.from)
    }
  }

  #duplicate(fd: number | undefined): number {
    const own = fd === undefined ? -1 : this.#system.duplicate(fd)
    if (own === -1) throw new Error(`the socket was not lent: ${describeErrno(this.#system.errno())}`)
    return own
  }

  #drop(reason: string): void {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1
  }
}

/** The same socket, lendable where the system allows it. Taken over. */
export async function lendable(socket: DatagramSocket): Promise<DatagramSocket> {
  if (process.platform !== 'linux' || !(socket instanceof UdpSocket)) return socket
  return new LendableSocket(socket, { system: await systemCalls(), poll: await sharedPollLoop() })
}

/** Binds on all addresses; port 0 lets the system choose. @throws PunchGuardError ADDRESS_IN_USE, PERMISSION_DENIED */
export async function bindLendableSocket(port: number): Promise<LendableSocket> {
  const parts = { system: await systemCalls(), poll: await sharedPollLoop() }
  return new LendableSocket(await bindUdpSocket(port), parts)
}

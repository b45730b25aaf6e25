/**
 * A UDP socket whose port another program can have: from then on that program is bound to it, and we go on sending and
 * receiving, beside it, what it does not understand (net/shared-port.ts). Port and NAT mappings stay through all of it.
 */

import type { Endpoint } from '../api/endpoint.ts'
import type { DatagramSocket } from '../api/network.ts'
import { assertNever } from '../util/assert-never.ts'

export interface HandoverOptions {
  /** Binds the port, for us alone. */
  readonly bind: (port: number) => Promise<DatagramSocket>
  /** Listens and speaks on the port of somebody else. */
  readonly share: (port: number) => Promise<DatagramSocket>
}

type State =
  | { readonly kind: 'own'; readonly socket: DatagramSocket }
  | { readonly kind: 'shared'; readonly socket: DatagramSocket }
  | { readonly kind: 'closed' }

type Receiver = (bytes: Uint8Array, from: Endpoint) => void

const nobody: Receiver = () => {}

export class HandoverSocket implements DatagramSocket {
  readonly port: number
  readonly #options: HandoverOptions
  #receiver: Receiver = nobody
  #state: State

  /** Takes the socket over. */
  constructor(socket: DatagramSocket, options: HandoverOptions) {
    this.port = socket.port
    this.#options = options
    this.#state = { kind: 'own', socket }
    socket.receive(this.#onDatagram)
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    if (this.#state.kind !== 'closed') this.#state.socket.send(bytes, to)
  }

  get sendWhole(): DatagramSocket['sendWhole'] {
    return this.#state.kind === 'closed' || this.#state.socket.sendWhole === undefined ? undefined : this.#sendWhole
  }

  receive(receiver: Receiver): void {
    this.#receiver = receiver
  }

  /** When this resolves, the port can be bound by another program. One call at a time. */
  async handOver(): Promise<void> {
    if (this.#state.kind !== 'own') return
    // Opened before the other is closed: nothing that arrives is missed.
    const socket = await this.#options.share(this.port)
    await this.#replace({ kind: 'shared', socket })
  }

  /** The other program has gone. @throws PunchGuardError ADDRESS_IN_USE; the port is shared still then */
  async takeBack(): Promise<void> {
    if (this.#state.kind !== 'shared') return
    const socket = await this.#options.bind(this.port)
    await this.#replace({ kind: 'own', socket })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const before = this.#state
    this.#state = { kind: 'closed' }
    if (before.kind !== 'closed') await before.socket[Symbol.asyncDispose]()
  }

  readonly #sendWhole = (bytes: Uint8Array, to: Endpoint): void => {
    if (this.#state.kind !== 'closed') this.#state.socket.sendWhole?.(bytes, to)
  }

  readonly #onDatagram: Receiver = (bytes, from) => this.#receiver(bytes, from)

  async #replace(next: Exclude<State, { readonly kind: 'closed' }>): Promise<void> {
    const before = this.#state
    switch (before.kind) {
      case 'own':
      case 'shared':
        this.#state = next
        before.socket.receive(nobody)
        next.socket.receive(this.#onDatagram)
        await before.socket[Symbol.asyncDispose]()
        break
      case 'closed':
        // Meanwhile.
        await next.socket[Symbol.asyncDispose]()
        break
      default:
        assertNever(before)
    }
  }
}

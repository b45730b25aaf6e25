/**
 * The plain data plane: every packet is one call on the main thread, between the TUN device and the shared socket. It is
 * the one that works everywhere; a faster one takes both file descriptors into workers behind the same interface.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import type { GuardStatus } from '../../api/roles.ts'
import type { Tun } from '../../net/tun/tun.ts'
import type { Underlay } from '../../net/underlay.ts'
import type { Clock } from '../../util/clock.ts'
import { REPORT_INTERVAL } from '../wireguard/constants.ts'
import { TRANSPORT } from '../wireguard/messages.ts'
import type { DataPlane, DataPlaneCommand, DataPlaneEvent, HandedSession } from './data-plane.ts'
import { PacketPath, type Report } from './packet-path.ts'

/** What the plane needs of the shared socket. */
export type GuardUnderlay = Pick<Underlay, 'send' | 'route'>

/** What it needs of the TUN device. */
export type PacketDevice = Pick<Tun, 'mtu' | 'write' | 'receive'>

export interface PlainDataPlaneOptions {
  readonly clock: Clock
  readonly underlay: GuardUnderlay
  readonly tun: PacketDevice
}

export const plainStatus: GuardStatus = { dataPlane: 'plain', implementation: 'node-crypto', offloads: [] }

export class PlainDataPlane implements DataPlane {
  readonly status: GuardStatus = plainStatus
  readonly #clock: Clock
  readonly #path: PacketPath
  readonly #route: Disposable
  #listener: (event: DataPlaneEvent) => void = () => {}
  #timer: { readonly isNow: boolean; readonly handle: Disposable } | undefined
  #isDisposed = false

  constructor({ clock, underlay, tun }: PlainDataPlaneOptions) {
    this.#clock = clock
    const sink = {
      datagram: (bytes: Uint8Array, to: Endpoint) => underlay.send(bytes, to),
      packet: (bytes: Uint8Array) => tun.write(bytes),
    }
    this.#path = new PacketPath({ mtu: tun.mtu, sink })
    this.#route = underlay.route('wireguard', (bytes, from) => this.#receive(bytes, from))
    tun.receive((packet) => this.#sendPacket(packet))
  }

  apply(command: DataPlaneCommand): void {
    this.#path.apply(command, this.#clock.now())
    this.#schedule()
  }

  listen(listener: (event: DataPlaneEvent) => void): void {
    this.#listener = listener
  }

  dropped(): Readonly<Record<string, number>> {
    return this.#path.dropped()
  }

  /** Whether packets wait for a session. */
  get hasWaiting(): boolean {
    return this.#path.hasWaiting
  }

  /** Leaves everything to another plane, and is disposed. */
  handOver(): { readonly sessions: readonly HandedSession[]; readonly activities: readonly Report[] } {
    const activities = this.#path.activities()
    const sessions = this.#path.handOver()
    this[Symbol.dispose]()
    return { sessions, activities }
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true
    this.#timer?.handle[Symbol.dispose]()
    this.#route[Symbol.dispose]()
    this.#path.clear()
  }

  #receive(bytes: Uint8Array, from: Endpoint): void {
    if (bytes[0] === TRANSPORT.type) {
      this.#path.receive(bytes, from, this.#clock.now())
      this.#reportUrgent()
    } else this.#listener({ kind: 'handshake-message', bytes, from })
  }

  #sendPacket(packet: Uint8Array): void {
    if (this.#isDisposed) return
    this.#path.sendPacket(packet, this.#clock.now())
    this.#reportUrgent()
  }

  /** Between two packets the listener may be called; within `apply` it may not, its own work is not finished. */
  #reportUrgent(): void {
    if (this.#path.pending === 'now') this.#report()
    else this.#schedule()
  }

  #schedule(): void {
    const { pending } = this.#path
    const isNow = pending === 'now'
    if (pending === 'none' || (this.#timer !== undefined && (this.#timer.isNow || !isNow))) return
    this.#timer?.handle[Symbol.dispose]()
    this.#timer = { isNow, handle: this.#clock.after(isNow ? 0 : REPORT_INTERVAL, () => this.#report()) }
  }

  #report(): void {
    this.#timer?.handle[Symbol.dispose]()
    this.#timer = undefined
    for (const { peer, activity } of this.#path.takeReports()) this.#listener({ kind: 'report', peer, activity })
  }
}

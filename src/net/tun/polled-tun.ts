/**
 * A `Tun` over anything that gives a packet or an errno without blocking: reads in batches when the poll loop says so,
 * rests while the interface is down, and says when it is gone. The system calls are in linux.ts.
 */

import type { Clock } from '../../util/clock.ts'
import { describeErrno, errno } from '../ffi.ts'
import type { PollLoop } from '../poll-loop.ts'
import type { Tun, TunDropReason, TunStats } from './tun.ts'

/** Packets read a turn of the event loop; net/udp-socket.ts reads as many, so that neither side starves. */
const batch = 128
/** The pause after EIO, ms: an interface that is down may stay readable. */
const downPause = 50

/** One packet a call, never blocking. */
export interface TunFile {
  readonly fd: number
  /** The next packet, valid until the next call, or an errno. */
  read(): Uint8Array | number
  /** 0 or an errno. */
  write(packet: Uint8Array): number
  /** What must be awaited until the interface is gone. */
  close(): void | Promise<void>
}

export interface PolledTunOptions {
  readonly file: TunFile
  readonly name: string
  readonly mtu: number
  readonly poll: PollLoop
  readonly clock: Clock
}

/** Waiting in the shared poll loop, or for a moment after EIO, or for good. */
type Reading =
  | { readonly kind: 'idle' }
  | { readonly kind: 'polled'; readonly registration: Disposable }
  | { readonly kind: 'paused'; readonly timer: Disposable }
  | { readonly kind: 'lost' }
  | { readonly kind: 'closed' }

/** Reads in batches when the poll loop says so. */
export class PolledTun implements Tun {
  readonly name: string
  readonly mtu: number
  readonly lost: Promise<string>
  readonly #file: TunFile
  readonly #poll: PollLoop
  readonly #clock: Clock
  readonly #dropped: Record<TunDropReason, number> = { full: 0, down: 0, refused: 0 }
  #reportLost: (reason: string) => void = () => {}
  #receiver: (packet: Uint8Array) => void = () => {}
  #reading: Reading = { kind: 'idle' }
  #received = 0
  #written = 0

  constructor(options: PolledTunOptions) {
    this.name = options.name
    this.mtu = options.mtu
    this.#file = options.file
    this.#poll = options.poll
    this.#clock = options.clock
    this.lost = new Promise((resolve) => {
      this.#reportLost = resolve
    })
  }

  write(packet: Uint8Array): void {
    if (this.#reading.kind === 'closed') return
    const failed = this.#file.write(packet)
    if (failed === 0) this.#written++
    else this.#dropped[dropReason(failed)]++
  }

  receive(receiver: (packet: Uint8Array) => void): void {
    this.#receiver = receiver
    if (this.#reading.kind === 'idle') this.#listen()
  }

  /** Nobody reads until `receive` is called again. */
  pause(): void {
    this.#stop()
    if (this.#reading.kind === 'polled' || this.#reading.kind === 'paused') this.#reading = { kind: 'idle' }
  }

  stats(): TunStats {
    return { received: this.#received, written: this.#written, dropped: { ...this.#dropped } }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#reading.kind === 'closed') return
    this.#stop()
    this.#reading = { kind: 'closed' }
    await this.#file.close()
  }

  #listen(): void {
    this.#reading = { kind: 'polled', registration: this.#poll.add(this.#file.fd, () => this.#readBatch()) }
  }

  #stop(): void {
    if (this.#reading.kind === 'polled') this.#reading.registration[Symbol.dispose]()
    if (this.#reading.kind === 'paused') this.#reading.timer[Symbol.dispose]()
  }

  #readBatch(): void {
    for (let count = 0; count < batch && this.#reading.kind === 'polled'; count++) {
      const packet = this.#file.read()
      if (typeof packet === 'number') {
        this.#readFailed(packet)
        return
      }
      this.#received++
      this.#receiver(packet)
    }
  }

  #readFailed(code: number): void {
    if (code === errno.EAGAIN || code === errno.EINTR) return
    this.#stop()
    if (code === errno.EIO) {
      this.#reading = { kind: 'paused', timer: this.#clock.after(downPause, () => this.#listen()) }
      return
    }
    this.#reading = { kind: 'lost' }
    this.#reportLost(`the interface ${this.name} is gone (${describeErrno(code)})`)
  }
}

function dropReason(code: number): TunDropReason {
  if (code === errno.EAGAIN || code === errno.ENOBUFS) return 'full'
  return code === errno.EIO ? 'down' : 'refused'
}

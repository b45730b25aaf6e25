/**
 * Which of the two workers reads the TUN. The receive worker does, besides its socket, while one core is enough for both:
 * what the kernel answers to a packet is then read and sent by the thread that has just written it, and no second one is
 * woken. A thread that fills a core gives the TUN to the transmit worker, and gets it back when both have little to do.
 * This is about speed only: that one worker at a time reads and sends is the turnstile's business (turnstile.ts).
 */

import type { WorkerSetup } from './worker-messages.ts'

type Role = WorkerSetup['role']

/** Share of a core: a thread that gets less of it waits for work, or for a processor that another thread would miss too. */
const full = 0.95
/** What both use together, from where on one will do. */
const little = 0.6
/** So often in a row. */
const samples: Readonly<Record<Role, number>> = { receive: 2, transmit: 10 }
/** Who reads, and the load of each in thousandths. */
const places = { reader: 0, receive: 1, transmit: 2 } as const
const numbers: Readonly<Record<Role, number>> = { receive: 0, transmit: 1 }

export class TunDuty {
  readonly #shared: Int32Array
  readonly #role: Role
  readonly #other: Role
  #streak = 0

  constructor(memory: SharedArrayBuffer, role: Role) {
    this.#shared = new Int32Array(memory)
    this.#role = role
    this.#other = role === 'receive' ? 'transmit' : 'receive'
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(12)
  }

  get isOurs(): boolean {
    return Atomics.load(this.#shared, places.reader) === numbers[this.#role]
  }

  /** While the other may wait for this thread to have little to do: it must not sleep without saying so. */
  get isWatched(): boolean {
    return this.isOurs === (this.#role === 'transmit')
  }

  /** A sample of this thread's load, a share of a core. `true`: the other reads from now on, and must be woken. */
  weigh(load: number): boolean {
    Atomics.store(this.#shared, places[this.#role], Math.round(load * 1000))
    const both = load + Atomics.load(this.#shared, places[this.#other]) / 1000
    const isDue = this.isOurs && (this.#role === 'receive' ? load >= full : both <= little)
    this.#streak = isDue ? this.#streak + 1 : 0
    if (this.#streak < samples[this.#role]) return false
    this.give()
    return true
  }

  /** The other reads from now on. */
  give(): void {
    this.#streak = 0
    Atomics.store(this.#shared, places.reader, numbers[this.#other])
  }
}

/**
 * One worker at a time seals and sends: a lock in memory that both workers of a data plane share. Whoever is inside may
 * use the counters of every session and the sending half of a peer's row, and has the only packets of the TUN that are
 * on the way: no counter is ever used twice, and no packet overtakes another. Who comes first goes first: a worker that
 * sends without a pause must not keep out the other, which has a socket to read. The main thread never enters.
 */

import { control } from './worker-messages.ts'

/** Tickets given out, and the one that is inside or may enter. */
const places = { given: 0, inside: 1 } as const
/** A worker that died inside never leaves: whoever waits looks this often whether all is over, ms. */
const lookInterval = 20

export class Turnstile {
  readonly #tickets: Int32Array
  readonly #control: Int32Array

  /** `memory` is that of both workers, `own` the control of the one that asks. */
  constructor(memory: SharedArrayBuffer, own: Int32Array) {
    this.#tickets = new Int32Array(memory)
    this.#control = own
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(8)
  }

  /** Waits for the other; `false`, and never again anything else, when the worker is told to stop meanwhile. */
  enter(): boolean {
    const ticket = Atomics.add(this.#tickets, places.given, 1)
    for (;;) {
      const inside = Atomics.load(this.#tickets, places.inside)
      if (inside === ticket) return true
      if (Atomics.load(this.#control, control.stop) !== 0) return false
      Atomics.wait(this.#tickets, places.inside, inside, lookInterval)
    }
  }

  leave(): void {
    Atomics.add(this.#tickets, places.inside, 1)
    // Also when nobody waits, which costs little: a branch that is taken rarely costs a recompilation when it is.
    Atomics.notify(this.#tickets, places.inside)
  }
}

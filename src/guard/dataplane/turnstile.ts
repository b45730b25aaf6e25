/**
 * One worker at a time seals and sends: a lock in memory that both workers of a data plane share. Whoever is inside may
 * use the counters of every session and the sending half of a peer's row, and has the only packets of the TUN that are
 * on the way: no counter is ever used twice, and no packet overtakes another. The main thread never enters.
 */

import { control } from './worker-messages.ts'

const free = 0
const taken = 1
/** Taken, and somebody waits. */
const awaited = 2
/** A worker that died inside never leaves: whoever waits looks this often whether all is over, ms. */
const lookInterval = 20

export class Turnstile {
  readonly #state: Int32Array
  readonly #control: Int32Array

  /** `memory` is that of both workers, `own` the control of the one that asks. */
  constructor(memory: SharedArrayBuffer, own: Int32Array) {
    this.#state = new Int32Array(memory)
    this.#control = own
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(4)
  }

  /** Waits for the other; `false` when the worker is told to stop meanwhile. */
  enter(): boolean {
    const state = this.#state
    if (Atomics.compareExchange(state, 0, free, taken) === free) return true
    while (Atomics.exchange(state, 0, awaited) !== free) {
      if (Atomics.load(this.#control, control.stop) !== 0) return false
      Atomics.wait(state, 0, awaited, lookInterval)
    }
    return true
  }

  leave(): void {
    if (Atomics.exchange(this.#state, 0, free) === awaited) Atomics.notify(this.#state, 0, 1)
  }
}

/** The one timer of a shell around a machine: always set to the machine's next deadline. */

import type { Clock } from './clock.ts'

export class DeadlineTimer implements Disposable {
  readonly #clock: Clock
  readonly #wake: () => void
  #timer: Disposable | undefined
  #deadline: number | undefined

  constructor(clock: Clock, wake: () => void) {
    this.#clock = clock
    this.#wake = wake
  }

  /** Moves the timer to `deadline` (monotonic ms); `undefined` stops it. */
  set(deadline: number | undefined): void {
    if (deadline === this.#deadline && this.#timer !== undefined) return
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#deadline = deadline
    if (deadline === undefined) return
    // Whole milliseconds, upwards: a wake-up a rounding error too early would find nothing due, for ever.
    const delay = Math.max(0, Math.ceil(deadline - this.#clock.now()))
    this.#timer = this.#clock.after(delay, () => {
      this.#timer = undefined
      this.#deadline = undefined
      this.#wake()
    })
  }

  [Symbol.dispose](): void {
    this.set(undefined)
  }
}

/** Time that moves only when a test says so. Promises settle between any two timers. */

import type { Clock } from '../../src/util/clock.ts'

interface Timer {
  readonly at: number
  readonly order: number
  readonly wake: () => void
}

export class HandClock implements Clock {
  #now = 0
  #order = 0
  readonly #timers: Set<Timer> = new Set()

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return 1_700_000_000_000 + this.#now
  }

  after(delay: number, wake: () => void): Disposable {
    const timer = { at: this.#now + Math.max(0, delay), order: this.#order++, wake }
    this.#timers.add(timer)
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) }
  }

  /** Runs everything that is due within the next `duration` ms. */
  async advance(duration: number): Promise<void> {
    await this.until(() => false, duration)
  }

  /** Runs until the condition holds, at most for `limit` ms; says whether it did. */
  async until(condition: () => boolean, limit: number): Promise<boolean> {
    const end = this.#now + limit
    for (;;) {
      await settle()
      if (condition()) return true
      const next = this.#next()
      if (next === undefined || next.at > end) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.wake()
    }
    this.#now = end
    return false
  }

  #next(): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order)) next = timer
    }
    return next
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await Promise.resolve()
}

/** A repeatable source of bytes (xorshift32). */
export function seededRandom(seed: number): { bytes(length: number): Uint8Array; number(): number } {
  let state = (seed * 2_654_435_761 + 1) >>> 0 || 1
  const next = (): number => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state
  }
  return {
    bytes: (length) => Uint8Array.from({ length }, () => next() >>> 24),
    number: () => next() / 2 ** 32,
  }
}

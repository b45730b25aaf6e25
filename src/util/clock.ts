/**
 * Time, passed in. Shells take a `Clock`; protocol machines get `now` as a plain number and name their next deadline.
 * Only this file reads the machine's clocks, so a test can run any part of the program in virtual time.
 */

import { performance } from 'node:perf_hooks'

export interface Clock {
  /** Monotonic time, ms. Its zero has no meaning. */
  now(): number
  /** Wall time, ms since 1970-01-01 UTC. It may jump: for timestamps that leave the machine and for people only. */
  wallTime(): number
  /** Calls `wake` once, `delay` ms from now, unless the timer is disposed before. */
  after(delay: number, wake: () => void): Disposable
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  after(delay, wake) {
    const timer = setTimeout(wake, Math.max(0, delay))
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  },
}

/** Resolves `delay` ms from now; rejects with the signal's reason when it is aborted before. */
export function delay(clock: Clock, delay: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason)
      return
    }
    const onAbort = (): void => {
      timer[Symbol.dispose]()
      reject(signal?.reason)
    }
    const timer = clock.after(delay, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

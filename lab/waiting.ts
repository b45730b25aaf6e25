/** Waiting in real time: with a limit, and only as long as nobody wants to stop. */

import { PunchGuardError } from '../src/api/errors.ts'
import { delay, systemClock } from '../src/util/clock.ts'

export interface Limit {
  /** Milliseconds. */
  readonly within: number
  /** Completes the sentence "… did not happen within 5 s". */
  readonly what: string
  readonly signal: AbortSignal
}

/** The value of the promise. @throws PunchGuardError TIMEOUT; the signal's reason when aborted */
export async function limited<Value>(promise: Promise<Value>, { within, what, signal }: Limit): Promise<Value> {
  const done = new AbortController()
  const late = delay(systemClock, within, AbortSignal.any([signal, done.signal])).then(() => {
    throw new PunchGuardError('TIMEOUT', `${what} did not happen within ${within / 1000} s`, {
      hint: 'run with --verbose to see what the devices say',
    })
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    done.abort()
    late.catch(() => {})
  }
}

export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return delay(systemClock, milliseconds, signal)
}

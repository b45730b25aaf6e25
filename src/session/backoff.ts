/** How long to wait after the n-th failure in a row: doubling, capped, with jitter so that two ends do not march in step. */

import { type Random, randomBelow } from '../util/random.ts'

const firstDelay = 1000
const longestDelay = 60_000

/** ms to wait; `failures` counts from 1. */
export function backoff(failures: number, random: Random): number {
  const full = Math.min(longestDelay, firstDelay * 2 ** Math.min(failures - 1, 16))
  return full / 2 + randomBelow(random, Math.ceil(full / 2) + 1)
}

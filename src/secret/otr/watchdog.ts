/**
 * When to try an agreement again: the protocol retransmits nothing. Waits double up to a minute and vary by a quarter
 * either way, so that two ends do not keep meeting; any progress gives the agreement the first wait again.
 */

import { type Random, randomBelow } from '../../util/random.ts'
import { firstWait, longestWait } from './constants.ts'

export class Watchdog {
  readonly #random: Random
  #wait = firstWait
  #deadline: number | undefined

  constructor(random: Random) {
    this.#random = random
  }

  get deadline(): number | undefined {
    return this.#deadline
  }

  /** An attempt was made: the next one is due after a wait, and the one after that later still. */
  attempted(now: number): void {
    const jitter = 0.75 + randomBelow(this.#random, 1000) / 2000
    this.#deadline = now + this.#wait * jitter
    this.#wait = Math.min(this.#wait * 2, longestWait)
  }

  /** The other end goes along: not before the first wait. */
  progressed(now: number): void {
    this.#deadline = Math.max(this.#deadline ?? 0, now + firstWait)
  }

  noLaterThan(deadline: number): void {
    this.#deadline = Math.min(this.#deadline ?? deadline, deadline)
  }

  /** Nothing is due any more; the next attempt is a first one. */
  stop(): void {
    this.#deadline = undefined
    this.#wait = firstWait
  }
}

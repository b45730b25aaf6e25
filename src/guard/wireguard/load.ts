/**
 * When a device is under load, and how much of one address it then takes (whitepaper §5.3). The whitepaper leaves the
 * measure open: here it is the number of handshake messages within a second, because each costs about a millisecond.
 */

import { ADDRESS_BURST, ADDRESS_LIMIT, ADDRESS_RATE, UNDER_LOAD_MESSAGES, UNDER_LOAD_TIME } from './constants.ts'

export class LoadGauge {
  readonly #limit: number
  #second = 0
  #messages = 0
  #loadedUntil = Number.NEGATIVE_INFINITY

  constructor(limit: number = UNDER_LOAD_MESSAGES) {
    this.#limit = limit
  }

  /** Counts a handshake message with a valid mac1; whether the device is under load now. */
  count(now: number): boolean {
    const second = Math.floor(now / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#messages = 0
    }
    this.#messages++
    if (this.#messages > this.#limit) this.#loadedUntil = now + UNDER_LOAD_TIME
    return now < this.#loadedUntil
  }
}

interface Bucket {
  tokens: number
  at: number
}

/** A token bucket for each address; used under load only, after mac2 has shown that the address is real. */
export class AddressLimiter {
  readonly #buckets: Map<string, Bucket> = new Map()

  get size(): number {
    return this.#buckets.size
  }

  /** Whether one more message of the address may be handled. */
  allows(address: string, now: number): boolean {
    const bucket = this.#buckets.get(address)
    if (bucket !== undefined) {
      const refilled = Math.min(ADDRESS_BURST, bucket.tokens + ((now - bucket.at) / 1000) * ADDRESS_RATE)
      bucket.at = now
      bucket.tokens = refilled < 1 ? refilled : refilled - 1
      return refilled >= 1
    }
    if (this.#buckets.size >= ADDRESS_LIMIT) this.#forgetFull(now)
    if (this.#buckets.size >= ADDRESS_LIMIT) return false
    this.#buckets.set(address, { tokens: ADDRESS_BURST - 1, at: now })
    return true
  }

  /** A bucket that would be full again says no more than none. */
  #forgetFull(now: number): void {
    const refillTime = (ADDRESS_BURST / ADDRESS_RATE) * 1000
    for (const [address, bucket] of this.#buckets) if (now - bucket.at >= refillTime) this.#buckets.delete(address)
  }
}

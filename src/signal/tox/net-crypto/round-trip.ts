/**
 * How long a packet takes to be acknowledged: the estimator of RFC 6298 (smoothed time and its variation), because a
 * peer may hold its acknowledgement back for up to a second, and beside it the shortest time seen lately, which is the
 * path without the peer's delay.
 */

/** Our choice: below this a late acknowledgement is more likely than a loss. */
const minimumTimeout = 200
/** Our choice: waiting longer than this helps nobody who exchanges signalling texts. */
const maximumTimeout = 2_000
/** The shortest time may grow by this much per sample, so that a path that became longer is noticed. */
const growth = 1.05

export class RoundTrip {
  #smoothed: number | undefined
  #variation = 0
  #shortest: number | undefined

  /** One measured time in ms, of a packet that was sent once. */
  add(sample: number): void {
    if (this.#smoothed === undefined) {
      this.#smoothed = sample
      this.#variation = sample / 2
    } else {
      this.#variation = 0.75 * this.#variation + 0.25 * Math.abs(this.#smoothed - sample)
      this.#smoothed = 0.875 * this.#smoothed + 0.125 * sample
    }
    this.#shortest = this.#shortest === undefined ? sample : Math.min(sample, this.#shortest * growth + 1)
  }

  /** The path's own round trip in ms, as far as known. */
  get shortest(): number {
    return this.#shortest ?? 100
  }

  /** How long to wait for an acknowledgement before a packet is sent again, ms. */
  get timeout(): number {
    if (this.#smoothed === undefined) return 500
    const wanted = Math.max(2 * this.#smoothed, this.#smoothed + 4 * this.#variation)
    return Math.min(maximumTimeout, Math.max(minimumTimeout, wanted))
  }
}

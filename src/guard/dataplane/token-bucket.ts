/** How often something may happen: so many times at once, and so many a second in the long run. */

export class TokenBucket {
  readonly #rate: number
  readonly #burst: number
  #tokens: number
  #at = 0

  /** `rate` is for each second. */
  constructor({ rate, burst }: { readonly rate: number; readonly burst: number }) {
    this.#rate = rate
    this.#burst = burst
    this.#tokens = burst
  }

  /** Whether it may happen now, ms; then it has. */
  take(now: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) * this.#rate) / 1000)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}

/** Rate limit in virtual time: `rate` tokens a second, at most `burst` saved up. */

export class TokenBucket {
  readonly #rate: number
  readonly #burst: number
  #tokens: number
  #last: number | undefined

  constructor(options: { readonly rate: number; readonly burst?: number }) {
    this.#rate = options.rate
    this.#burst = options.burst ?? options.rate
    this.#tokens = this.#burst
  }

  /** Takes one token; false when there is none. */
  take(now: number): boolean {
    const elapsed = Math.max(0, now - (this.#last ?? now))
    this.#tokens = Math.min(this.#burst, this.#tokens + (elapsed * this.#rate) / 1000)
    this.#last = now
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }
}

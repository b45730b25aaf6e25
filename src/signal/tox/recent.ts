/** Remembers for a while what was done, so that it is not done again too soon. Bounded: the oldest goes first. */

export class Recent {
  readonly #at: Map<string, number> = new Map()
  readonly #capacity: number

  constructor(options: { readonly capacity: number }) {
    this.#capacity = options.capacity
  }

  get size(): number {
    return this.#at.size
  }

  /** True, and remembered, unless the same name was remembered less than `interval` ms ago. */
  claim(name: string, interval: number, now: number): boolean {
    const last = this.#at.get(name)
    if (last !== undefined && now - last < interval) return false
    this.#at.delete(name)
    this.#at.set(name, now)
    if (this.#at.size > this.#capacity) {
      const oldest = this.#at.keys().next()
      if (!oldest.done) this.#at.delete(oldest.value)
    }
    return true
  }

  /** Forgets what is older than `age` ms. */
  prune(age: number, now: number): void {
    for (const [name, at] of this.#at) {
      if (now - at < age) break
      this.#at.delete(name)
    }
  }
}

/**
 * Which counters of one session's packets were seen. The specification has no such thing: a copied lossless packet is
 * dropped by its number anyway. We keep it because the source address of a packet moves the session to that address,
 * and a copy sent by somebody else must not.
 */

const size = 2_048

export class ReplayWindow {
  readonly #seen = new Uint32Array(size / 32)
  #highest = -1

  /** Whether a packet with this counter would be the first, and not too old to know. */
  isNew(counter: number): boolean {
    if (counter > this.#highest) return true
    if (counter <= this.#highest - size) return false
    return !this.#has(counter)
  }

  /** Remembers an authenticated counter; true when it is the highest so far. */
  add(counter: number): boolean {
    if (counter <= this.#highest) {
      this.#set(counter)
      return false
    }
    for (let next = Math.max(this.#highest + 1, counter - size + 1); next < counter; next++) this.#clear(next)
    this.#highest = counter
    this.#set(counter)
    return true
  }

  #has(counter: number): boolean {
    return ((this.#word(counter) >>> (counter % 32)) & 1) === 1
  }

  #word(counter: number): number {
    return this.#seen[Math.floor(counter / 32) % this.#seen.length] ?? 0
  }

  #set(counter: number): void {
    this.#seen[Math.floor(counter / 32) % this.#seen.length] = this.#word(counter) | (1 << (counter % 32))
  }

  #clear(counter: number): void {
    this.#seen[Math.floor(counter / 32) % this.#seen.length] = this.#word(counter) & ~(1 << (counter % 32))
  }
}

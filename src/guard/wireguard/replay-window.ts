/**
 * Which counters of a key were received: the sliding window of RFC 6479, a ring of 32-bit words of which one more than
 * the window needs is kept, so that sliding clears whole words. Counters are numbers below 2^53.
 */

const wordBits = 32
/** A power of two. 8192 bits: the highest counter and at least the 8160 below it are remembered. */
const words = 256

export const WINDOW_SIZE: number = (words - 1) * wordBits

export class ReplayWindow {
  readonly #ring: Uint32Array = new Uint32Array(words)
  /** The highest counter received, -1 at first. */
  #highest = -1

  /** One above the highest counter received. */
  get next(): number {
    return this.#highest + 1
  }

  /** Of a window that is new: everything below counts as received. */
  startAt(next: number): void {
    if (next <= 0) return
    this.#ring.fill(0xffff_ffff)
    this.#ring[wordOf(next)] = bitOf(next) - 1
    this.#highest = next - 1
  }

  /** Whether the counter is new and not too old. Changes nothing: the packet is not authenticated yet. */
  allows(counter: number): boolean {
    if (counter > this.#highest) return true
    if (counter < this.#highest - WINDOW_SIZE) return false
    return ((this.#ring[wordOf(counter)] ?? 0) & bitOf(counter)) === 0
  }

  /** Remembers the counter of an authenticated packet that `allows` let through. */
  mark(counter: number): void {
    if (counter > this.#highest) {
      const from = Math.floor(this.#highest / wordBits)
      const steps = Math.min(words, Math.floor(counter / wordBits) - from)
      for (let step = 1; step <= steps; step++) this.#ring[(from + step) % words] = 0
      this.#highest = counter
    }
    const word = wordOf(counter)
    this.#ring[word] = (this.#ring[word] ?? 0) | bitOf(counter)
  }
}

function wordOf(counter: number): number {
  return Math.floor(counter / wordBits) % words
}

function bitOf(counter: number): number {
  return 1 << (counter % wordBits)
}

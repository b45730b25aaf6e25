/**
 * Our own 32-bit indices (whitepaper §5.4.1: chosen at random to identify one handshake or session) and what they stand
 * for. An index is free again as soon as it is released; it is random, so that it does not soon return.
 */

import { type Random, randomUint32 } from '../../util/random.ts'

/** The STUN magic cookie as it would read in an index field: on a socket shared with STUN it would be mistaken. */
const stunCookie = 0x42a41221

export class IndexTable<Entry> {
  readonly #random: Random
  readonly #entries: Map<number, Entry> = new Map()

  constructor(random: Random) {
    this.#random = random
  }

  get size(): number {
    return this.#entries.size
  }

  allocate(entry: Entry): number {
    for (;;) {
      const index = randomUint32(this.#random)
      if (index === stunCookie || this.#entries.has(index)) continue
      this.#entries.set(index, entry)
      return index
    }
  }

  lookup(index: number): Entry | undefined {
    return this.#entries.get(index)
  }

  release(index: number): void {
    this.#entries.delete(index)
  }
}

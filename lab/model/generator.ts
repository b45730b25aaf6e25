/**
 * A fast, seeded source of uniform numbers for the models: sfc32 (Chris Doty-Humphrey's small fast counter generator,
 * public domain). Good statistics and a period above 2^32; nothing secret may ever come from it.
 */

export class Generator {
  #a: number
  #b: number
  #c: number
  #counter = 1

  /** Equal seeds give equal numbers. */
  constructor(seed: number | string) {
    // FNV-1a over the text of the seed, then rounds enough for every bit to have met every other.
    let hash = 0x811c9dc5
    for (const character of String(seed)) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193)
    this.#a = hash | 0
    this.#b = Math.imul(hash, 0x9e3779b9) | 0
    this.#c = ~hash
    for (let round = 0; round < 16; round++) this.uint32()
  }

  /** Uniform over 0..2^32-1. */
  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    return sum >>> 0
  }

  /** Uniform over [0, 1). */
  unit(): number {
    return this.uint32() / 2 ** 32
  }

  /** Uniform over 0..limit-1; the bias of the multiplication is below limit / 2^32. */
  below(limit: number): number {
    return Math.floor(this.unit() * limit)
  }
}

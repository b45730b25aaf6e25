/** A `Random` from a seed, so that a failed run can be repeated exactly. Fast; never for anything secret. */

import { Generator } from '../../lab/model/generator.ts'
import type { Random } from '../../src/util/random.ts'

export class SeededRandom implements Random {
  readonly #generator: Generator

  constructor(seed: number | string) {
    this.#generator = new Generator(seed)
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length; at += 4) {
      let word = this.#generator.uint32()
      const end = Math.min(at + 4, length)
      for (let index = at; index < end; index++) {
        bytes[index] = word & 255
        word >>>= 8
      }
    }
    return bytes
  }

  /** An independent stream: what one part of a test draws does not change what another part draws. */
  fork(name: string): SeededRandom {
    return new SeededRandom(`${name} ${this.#generator.uint32()} ${this.#generator.uint32()}`)
  }

  /** Uniform over [0, 1). */
  unit(): number {
    return this.#generator.unit()
  }

  /** Uniform over 0..limit-1. */
  below(limit: number): number {
    return this.#generator.below(limit)
  }
}

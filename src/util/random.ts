/** Randomness, passed in, so that a test can repeat a run exactly. Only this file asks the machine for it. */

import { randomBytes } from 'node:crypto'

export interface Random {
  /** `length` unpredictable bytes in an array of their own. */
  bytes(length: number): Uint8Array
}

/** The machine's cryptographic source. */
export const systemRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
}

/** A number in [0, limit), uniform; `limit` at most 2^32. */
export function randomBelow(random: Random, limit: number): number {
  const span = Math.floor(2 ** 32 / limit) * limit
  for (;;) {
    const bytes = random.bytes(4)
    const value = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0)
    if (value < span) return value % limit
  }
}

/** A 32-bit number, uniform. */
export function randomUint32(random: Random): number {
  return randomBelow(random, 2 ** 32)
}

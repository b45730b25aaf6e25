/**
 * The Diffie-Hellman group of OTR v3 (RFC 3526 group 5). Group elements are 192 bytes, big-endian. Powers go through
 * OpenSSL, whose ladder takes the same time for every exponent of one length.
 */

import { createDiffieHellman, type DiffieHellman } from 'node:crypto'
import { compareBytes } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import { dhBytes, dhExponentBytes, dhModulus } from './constants.ts'
import { numberToBytes } from './encoding.ts'

export interface DhKeyPair {
  readonly privateKey: Uint8Array
  /** 192 bytes. */
  readonly publicKey: Uint8Array
}

export const dhGenerator: Uint8Array = numberToBytes(2n, dhBytes)
const lowest = dhGenerator
const highest = numberToBytes(dhModulus - 2n, dhBytes)
const harmlessExponent = Uint8Array.of(1)

let group: DiffieHellman | undefined

/**
 * base^exponent in 192 bytes. `base` must be in 2..p-2, `exponent` not a multiple of (p-1)/2: the power is then never
 * 1 or p-1.
 */
export function dhPower(base: Uint8Array, exponent: Uint8Array): Uint8Array {
  group ??= createDiffieHellman(numberToBytes(dhModulus, dhBytes), 2)
  group.setPrivateKey(exponent)
  const power = new Uint8Array(group.computeSecret(base))
  group.setPrivateKey(harmlessExponent)
  return power
}

/** 2 ≤ value ≤ p-2, the check on every group element that was received. */
export function isGroupElement(value: Uint8Array): boolean {
  return value.length === dhBytes && compareBytes(value, lowest) >= 0 && compareBytes(value, highest) <= 0
}

export function generateDhKeyPair(random: Random): DhKeyPair {
  const privateKey = random.bytes(dhExponentBytes)
  return { privateKey, publicKey: dhPower(dhGenerator, privateKey) }
}

/**
 * The values of the SMP messages ("SMP message TLVs"): INT count and that many MPIs, and the hashes and checks on them
 * ("Socialist Millionaires' Protocol (SMP)").
 */

import type { OtrFingerprint } from '../../api/keys.ts'
import { ByteReader } from '../../util/byte-reader.ts'
import { ByteWriter } from '../../util/byte-writer.ts'
import { fromUtf8 } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import { dhBytes, dhModulus, dhOrder, maximumQuestionBytes } from './constants.ts'
import { dhPower } from './dh.ts'
import { bytesToNumber, modulo, mpi, numberToBytes, readMpi, writeMpi } from './encoding.ts'
import { hash } from './key-derivation.ts'

export const smpCounts = { smp1: 6, smp2: 11, smp3: 8, smp4: 3 } as const

export function encodeSmpValues(values: readonly bigint[]): Uint8Array {
  const writer = new ByteWriter(4 + values.length * (4 + dhBytes)).uint32(values.length)
  for (const value of values) writeMpi(writer, numberToBytes(value, dhBytes))
  return writer.finish()
}

/** Exactly `count` values of at most 1536 bits, `undefined` otherwise. */
export function decodeSmpValues(bytes: Uint8Array, count: number): bigint[] | undefined {
  const reader = new ByteReader(bytes)
  if (reader.uint32() !== count) return undefined
  const values: bigint[] = []
  while (values.length < count) {
    const value = readMpi(reader, dhBytes)
    if (value === undefined) return undefined
    values.push(bytesToNumber(value))
  }
  return reader.remaining === 0 ? values : undefined
}

/** The question and the rest of an SMP 1 with question: text, NUL, values. */
export function decodeQuestion(
  bytes: Uint8Array,
): { readonly question: string; readonly rest: Uint8Array } | undefined {
  const nul = bytes.indexOf(0)
  if (nul === -1 || nul > maximumQuestionBytes) return undefined
  const question = fromUtf8(bytes.subarray(0, nul))
  return question === undefined ? undefined : { question, rest: bytes.subarray(nul + 1) }
}

/** What is compared: SHA-256(1 ‖ initiator's fingerprint ‖ responder's fingerprint ‖ session id ‖ secret). */
export function smpSecret(options: {
  readonly initiator: OtrFingerprint
  readonly responder: OtrFingerprint
  readonly sessionId: Uint8Array
  readonly secret: Uint8Array
}): bigint {
  const { initiator, responder, sessionId, secret } = options
  return bytesToNumber(hash('sha256', Uint8Array.of(1), initiator, responder, sessionId, secret))
}

/** H(version, a[, b]) as a number. */
export function smpHash(version: number, ...values: readonly bigint[]): bigint {
  const encoded = values.map((value) => mpi(numberToBytes(value, dhBytes)))
  return bytesToNumber(hash('sha256', Uint8Array.of(version), ...encoded))
}

export function randomExponent(random: Random): bigint {
  for (;;) {
    const exponent = bytesToNumber(random.bytes(dhBytes)) % dhOrder
    if (exponent !== 0n) return exponent
  }
}

/** base^exponent mod p. The base is a group element, the exponent in 1..q-1. */
export function power(base: bigint, exponent: bigint): bigint {
  return bytesToNumber(dhPower(numberToBytes(base, dhBytes), numberToBytes(exponent, dhBytes)))
}

export function product(a: bigint, b: bigint): bigint {
  return (a * b) % dhModulus
}

/** r - a·c mod q, the answer to the challenge c. */
export function response(r: bigint, a: bigint, c: bigint): bigint {
  return modulo(r - a * c, dhOrder)
}

export function areGroupElements(...values: readonly bigint[]): boolean {
  return values.every((value) => value >= 2n && value <= dhModulus - 2n)
}

/** Responses are in 1..q-1. */
export function areResponses(...values: readonly bigint[]): boolean {
  return values.every((value) => value >= 1n && value < dhOrder)
}

/** Challenges are hashes, and not 0: no power with one of them is then 1. */
export function areChallenges(...values: readonly bigint[]): boolean {
  return values.every((value) => value >= 1n && value < 1n << 256n)
}

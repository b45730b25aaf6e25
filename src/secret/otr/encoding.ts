/**
 * The data types of OTR v3 ("Data types"): DATA (INT length, bytes) and MPI (INT length, big-endian value without
 * leading zeros), and numbers as bytes.
 */

import type { ByteReader } from '../../util/byte-reader.ts'
import { ByteWriter } from '../../util/byte-writer.ts'
import { toHex } from '../../util/bytes.ts'

export function writeData(writer: ByteWriter, bytes: Uint8Array): ByteWriter {
  return writer.uint32(bytes.length).bytes(bytes)
}

/** A view of the next DATA, `undefined` when it is cut short or longer than `maximum`. */
export function readData(reader: ByteReader, maximum: number): Uint8Array | undefined {
  const length = reader.uint32()
  return length === undefined || length > maximum ? undefined : reader.bytes(length)
}

/** Writes a big-endian value of any width as an MPI. */
export function writeMpi(writer: ByteWriter, value: Uint8Array): ByteWriter {
  return writeData(writer, withoutLeadingZeros(value))
}

/** An MPI alone, as it goes into hashes. */
export function mpi(value: Uint8Array): Uint8Array {
  return writeMpi(new ByteWriter(4 + value.length), value).finish()
}

/**
 * The next MPI, left-padded to `width` bytes, in an array of its own. `undefined` when it is cut short, longer than
 * `width` or not in its shortest form: a value has one encoding only.
 */
export function readMpi(reader: ByteReader, width: number): Uint8Array | undefined {
  const value = readData(reader, width)
  if (value === undefined || value[0] === 0) return undefined
  const padded = new Uint8Array(width)
  padded.set(value, width - value.length)
  return padded
}

export function bytesToNumber(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`)
}

/** Big-endian, left-padded to `width` bytes. The value must fit. */
export function numberToBytes(value: bigint, width: number): Uint8Array {
  const hex = value.toString(16)
  if (hex.length > width * 2) throw new RangeError('The number does not fit the width')
  return new Uint8Array(Buffer.from(hex.padStart(width * 2, '0'), 'hex'))
}

function withoutLeadingZeros(value: Uint8Array): Uint8Array {
  const first = value.findIndex((byte) => byte !== 0)
  return first === -1 ? value.subarray(value.length) : value.subarray(first)
}

/** The remainder that is never negative. */
export function modulo(value: bigint, modulus: bigint): bigint {
  const remainder = value % modulus
  return remainder < 0n ? remainder + modulus : remainder
}

/** base^exponent mod modulus. Not in constant time: for public numbers only. */
export function publicPower(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n
  let square = base % modulus
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus
    square = (square * square) % modulus
  }
  return result
}

/** The inverse modulo a prime, by the extended Euclidean algorithm. Not in constant time; `value` must not be 0. */
export function inverse(value: bigint, prime: bigint): bigint {
  let [a, b] = [modulo(value, prime), prime]
  let [x, y] = [1n, 0n]
  while (b !== 0n) {
    const quotient = a / b
    ;[a, b] = [b, a - quotient * b]
    ;[x, y] = [y, x - quotient * y]
  }
  return modulo(x, prime)
}

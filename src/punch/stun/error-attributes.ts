/** ERROR-CODE and UNKNOWN-ATTRIBUTES (RFC 8489 §14.8, §14.13). */

import { concatBytes, fromUtf8, toUtf8 } from '../../util/bytes.ts'

/**
 * | offset | size | field                  |
 * |      0 |    2 | zero                   |
 * |      2 |    1 | hundreds, 3..6         |
 * |      3 |    1 | the rest, 0..99        |
 * |      4 |    n | reason phrase in UTF-8 |
 */
export function encodeErrorCode(code: number, reason: string): Uint8Array {
  return concatBytes(Uint8Array.of(0, 0, Math.floor(code / 100), code % 100), toUtf8(reason))
}

export function decodeErrorCode(value: Uint8Array): { readonly code: number; readonly reason: string } | undefined {
  if (value.length < 4 || value.length > 4 + 763) return undefined
  const hundreds = (value[2] ?? 0) & 0x07
  const rest = value[3] ?? 0
  const reason = fromUtf8(value.subarray(4))
  if (hundreds < 3 || hundreds > 6 || rest > 99 || reason === undefined) return undefined
  return { code: hundreds * 100 + rest, reason }
}

/** Attribute types, two bytes each. */
export function encodeUnknownAttributes(types: readonly number[]): Uint8Array {
  const value = new Uint8Array(types.length * 2)
  const view = new DataView(value.buffer)
  for (const [index, type] of types.entries()) view.setUint16(index * 2, type)
  return value
}

export function decodeUnknownAttributes(value: Uint8Array): readonly number[] | undefined {
  if (value.length % 2 !== 0) return undefined
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  return Array.from({ length: value.length / 2 }, (_, index) => view.getUint16(index * 2))
}

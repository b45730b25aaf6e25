/** MESSAGE-INTEGRITY (RFC 8489 §14.5): HMAC-SHA1 with the short-term credential, which is the ICE password. */

import { createHmac } from 'node:crypto'
import { equalBytes, toUtf8 } from '../../util/bytes.ts'
import { headerSize } from './constants.ts'

export const integritySize = 24

/** RFC 8489 §9.1.1. ICE passwords are ASCII, so the OpaqueString profile changes nothing. */
export function shortTermKey(password: string): Uint8Array {
  return toUtf8(password)
}

/**
 * The HMAC for a MESSAGE-INTEGRITY attribute that begins at `at`. The header's length is taken to end with that
 * attribute, whatever follows it.
 */
export function integrity(bytes: Uint8Array, at: number, key: Uint8Array): Uint8Array {
  const length = at + integritySize - headerSize
  const hmac = createHmac('sha1', key)
    .update(bytes.subarray(0, 2))
    .update(Uint8Array.of(length >> 8, length & 0xff))
    .update(bytes.subarray(4, at))
  return new Uint8Array(hmac.digest())
}

/** Whether the MESSAGE-INTEGRITY attribute at `at` was made with `key`. */
export function isIntegrityRight(bytes: Uint8Array, at: number, key: Uint8Array): boolean {
  return equalBytes(bytes.subarray(at + 4, at + integritySize), integrity(bytes, at, key))
}

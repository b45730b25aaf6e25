/** FINGERPRINT (RFC 8489 §14.7): the CRC-32 of everything before it, so that STUN cannot be taken for other data. */

import { crc32 } from 'node:zlib'

export const fingerprintSize = 8

const mask = 0x5354_554e

/** The value for a message whose header already counts the attribute; `before` ends where the attribute begins. */
export function fingerprint(before: Uint8Array): number {
  return (crc32(before) ^ mask) >>> 0
}

/** Whether the message's last attribute, FINGERPRINT at `at`, has the right value. */
export function isFingerprintRight(bytes: Uint8Array, at: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return view.getUint32(at + 4) === fingerprint(bytes.subarray(0, at))
}

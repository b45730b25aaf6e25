/** Tox ID (Tox specification, "Messenger", Tox ID): what one person gives another to be asked for friendship. */

import type { Branded } from '../../api/keys.ts'
import { concatBytes, equalBytes, fromHex, toHex } from '../../util/bytes.ts'
import { type LongTermPublicKey, longTermPublicKey } from './crypto.ts'

/** 4 bytes that a friend request must repeat. An access secret: never logged. */
export type Nospam = Branded<Uint8Array, 'Nospam'>

export interface ToxId {
  readonly publicKey: LongTermPublicKey
  readonly nospam: Nospam
}

const nospamBytes = 4
const checkedBytes = 36

export function nospamOf(bytes: Uint8Array): Nospam | undefined {
  return bytes.length === nospamBytes ? (bytes as Nospam) : undefined
}

/**
 * 76 upper-case hex digits.
 *
 * | offset | size | field                                                        |
 * |      0 |   32 | long-term public key                                         |
 * |     32 |    4 | nospam                                                       |
 * |     36 |    2 | checksum: byte i is the XOR of the bytes before with index ≡ i mod 2 |
 */
export function formatToxId(id: ToxId): string {
  const checked = concatBytes(id.publicKey, id.nospam)
  return toHex(concatBytes(checked, checksum(checked))).toUpperCase()
}

/** Reads a Tox ID, in either case, blanks around it ignored; `undefined` when length, digits or checksum are wrong. */
export function parseToxId(text: string): ToxId | undefined {
  const bytes = fromHex(text.trim())
  if (bytes === undefined || bytes.length !== checkedBytes + 2) return undefined
  const checked = bytes.subarray(0, checkedBytes)
  if (!equalBytes(checksum(checked), bytes.subarray(checkedBytes))) return undefined
  const publicKey = longTermPublicKey(bytes.slice(0, 32))
  const nospam = nospamOf(bytes.slice(32, checkedBytes))
  return publicKey === undefined || nospam === undefined ? undefined : { publicKey, nospam }
}

function checksum(checked: Uint8Array): Uint8Array {
  const sum = new Uint8Array(2)
  for (const [index, byte] of checked.entries()) sum[index % 2] = (sum[index % 2] ?? 0) ^ byte
  return sum
}

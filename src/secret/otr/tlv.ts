/**
 * What a data message carries once decrypted ("Exchanging data", "TLV records"): a text, then optionally a NUL and
 * records.
 *
 * | size | field  |
 * |    2 | type   |
 * |    2 | length |
 * |    n | value  |
 */

import { ByteReader } from '../../util/byte-reader.ts'
import { ByteWriter } from '../../util/byte-writer.ts'
import { fromUtf8, toUtf8 } from '../../util/bytes.ts'

export interface Tlv {
  readonly type: number
  readonly value: Uint8Array
}

export interface Payload {
  /** Empty for a heartbeat and for records alone. */
  readonly text: string
  readonly tlvs: readonly Tlv[]
}

/** The text must not contain a NUL; a value has at most 65535 bytes. */
export function encodePayload(payload: Payload): Uint8Array {
  const writer = new ByteWriter(payload.text.length + 64).bytes(toUtf8(payload.text))
  if (payload.tlvs.length > 0) writer.uint8(0)
  for (const { type, value } of payload.tlvs) writer.uint16(type).uint16(value.length).bytes(value)
  return writer.finish()
}

/** Records are views. `undefined` when the text is not UTF-8 or a record is cut short. */
export function decodePayload(bytes: Uint8Array): Payload | undefined {
  const nul = bytes.indexOf(0)
  const text = fromUtf8(nul === -1 ? bytes : bytes.subarray(0, nul))
  if (text === undefined) return undefined
  const tlvs: Tlv[] = []
  const reader = new ByteReader(nul === -1 ? new Uint8Array() : bytes.subarray(nul + 1))
  while (reader.remaining > 0) {
    const type = reader.uint16()
    const value = reader.bytes(reader.uint16() ?? -1)
    if (type === undefined || value === undefined) return undefined
    tlvs.push({ type, value })
  }
  return { text, tlvs }
}

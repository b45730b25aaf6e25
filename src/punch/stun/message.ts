/**
 * STUN messages (RFC 8489 §5): header, attributes, and the two trailing attributes that protect them. The classic form
 * of RFC 3489, without a magic cookie, is read and written for servers only (`classic`).
 */

import { ByteReader } from '../../util/byte-reader.ts'
import { ByteWriter } from '../../util/byte-writer.ts'
import { decodeAttribute, encodeAttribute, type StunAttribute } from './attributes.ts'
import {
  headerSize,
  isComprehensionRequired,
  magicCookie,
  maximumAttributes,
  maximumMessageSize,
  stunAttributes,
} from './constants.ts'
import { fingerprint, fingerprintSize, isFingerprintRight } from './fingerprint.ts'
import { integrity, integritySize, isIntegrityRight } from './integrity.ts'

export type MessageClass = 'request' | 'indication' | 'success' | 'error'

const classes: readonly MessageClass[] = ['request', 'indication', 'success', 'error']

export interface StunMessage {
  readonly messageClass: MessageClass
  /** 0..0xfff */
  readonly method: number
  /** 12 bytes; 16 in a classic message, where the cookie's place belongs to it. */
  readonly transactionId: Uint8Array
  readonly attributes: readonly StunAttribute[]
}

/** A message as it came in. It views the datagram: valid no longer than that. */
export interface ReceivedStunMessage extends StunMessage {
  readonly bytes: Uint8Array
  /** Where MESSAGE-INTEGRITY begins, `undefined` without one. */
  readonly integrityAt: number | undefined
  readonly fingerprint: 'absent' | 'right' | 'wrong'
}

/**
 * Reads one datagram; `undefined` for anything that is not a whole STUN message.
 *
 * | offset | size | field                                                             |
 * |      0 |    2 | 00, then method (12 bits) with the class in bits 4 and 8          |
 * |      2 |    2 | length of what follows the header, a multiple of 4                |
 * |      4 |    4 | magic cookie                                                      |
 * |      8 |   12 | transaction id                                                    |
 * |     20 |    … | attributes: type (2), length (2), value, padding to 4             |
 */
export function decodeMessage(
  bytes: Uint8Array,
  options: { readonly classic?: boolean } = {},
): ReceivedStunMessage | undefined {
  if (bytes.length < headerSize || bytes.length > maximumMessageSize) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const type = view.getUint16(0)
  const length = view.getUint16(2)
  if (type > 0x3fff || length % 4 !== 0 || headerSize + length !== bytes.length) return undefined
  const classic = view.getUint32(4) !== magicCookie
  if (classic && options.classic !== true) return undefined
  const transactionId = bytes.subarray(classic ? 4 : 8, headerSize)
  const messageClass = classes[((type & 0x0100) >> 7) | ((type & 0x0010) >> 4)]
  if (messageClass === undefined) return undefined
  const method = (type & 0x000f) | ((type & 0x00e0) >> 1) | ((type & 0x3e00) >> 2)
  const body = decodeBody(bytes, transactionId)
  return body && { messageClass, method, transactionId, ...body, bytes }
}

function decodeBody(
  bytes: Uint8Array,
  transactionId: Uint8Array,
): Pick<ReceivedStunMessage, 'attributes' | 'integrityAt' | 'fingerprint'> | undefined {
  const attributes: StunAttribute[] = []
  let integrityAt: number | undefined
  const reader = new ByteReader(bytes)
  reader.bytes(headerSize)
  for (let count = 0; reader.remaining > 0; count++) {
    const at = reader.offset
    const type = reader.uint16()
    const length = reader.uint16()
    if (count === maximumAttributes || type === undefined || length === undefined) return undefined
    const value = reader.bytes(length)
    if (value === undefined || reader.bytes(padding(length)) === undefined) return undefined
    if (type === stunAttributes.FINGERPRINT) {
      // RFC 8489 §14.7: the last attribute, or none at all.
      if (length !== 4 || reader.remaining > 0) return undefined
      return { attributes, integrityAt, fingerprint: isFingerprintRight(bytes, at) ? 'right' : 'wrong' }
    }
    // RFC 8489 §14.5: what follows MESSAGE-INTEGRITY is not covered by it and therefore ignored.
    if (integrityAt !== undefined) continue
    if (type === stunAttributes['MESSAGE-INTEGRITY']) {
      if (length !== integritySize - 4) return undefined
      integrityAt = at
      continue
    }
    const attribute = decodeAttribute(type, value, transactionId)
    if (attribute === undefined) return undefined
    attributes.push(attribute)
  }
  return { attributes, integrityAt, fingerprint: 'absent' }
}

/** The types of the attributes that had to be understood and were not (RFC 8489 §6.3.1). */
export function unknownRequiredTypes(message: StunMessage): readonly number[] {
  const types: number[] = []
  for (const attribute of message.attributes) {
    if (attribute.kind === 'other' && isComprehensionRequired(attribute.type)) types.push(attribute.type)
  }
  return types
}

/** Whether the message carries a MESSAGE-INTEGRITY made with `key`. */
export function isAuthentic(message: ReceivedStunMessage, key: Uint8Array): boolean {
  return message.integrityAt !== undefined && isIntegrityRight(message.bytes, message.integrityAt, key)
}

/** Writes a message; MESSAGE-INTEGRITY is added with a `key`, FINGERPRINT when asked for. */
export function encodeMessage(
  message: StunMessage,
  options: { readonly key?: Uint8Array; readonly fingerprint?: boolean } = {},
): Uint8Array {
  const writer = new ByteWriter(160).uint16(messageType(message)).uint16(0)
  if (message.transactionId.length === 12) writer.uint32(magicCookie)
  writer.bytes(message.transactionId)
  for (const attribute of message.attributes) {
    const { type, value } = encodeAttribute(attribute, message.transactionId)
    writer.uint16(type).uint16(value.length).bytes(value).zeros(padding(value.length))
  }
  if (options.key !== undefined) {
    const at = writer.finish().length
    const hmac = integrity(writer.finish(), at, options.key)
    writer.uint16(stunAttributes['MESSAGE-INTEGRITY']).uint16(hmac.length).bytes(hmac)
  }
  const length = writer.finish().length - headerSize
  if (options.fingerprint !== true) return withLength(writer.finish(), length)
  const value = fingerprint(withLength(writer.finish(), length + fingerprintSize))
  return writer.uint16(stunAttributes.FINGERPRINT).uint16(4).uint32(value).finish()
}

function messageType(message: StunMessage): number {
  const classBits = classes.indexOf(message.messageClass)
  const { method } = message
  const methodBits = (method & 0x000f) | ((method & 0x0070) << 1) | ((method & 0x0f80) << 2)
  return methodBits | ((classBits & 1) << 4) | ((classBits & 2) << 7)
}

function withLength(bytes: Uint8Array, length: number): Uint8Array {
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).setUint16(2, length)
  return bytes
}

function padding(length: number): number {
  return (4 - (length % 4)) % 4
}

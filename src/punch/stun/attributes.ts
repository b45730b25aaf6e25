/**
 * The attributes of a STUN message (RFC 8489 §14, RFC 8445 §16.1). MESSAGE-INTEGRITY and FINGERPRINT are not among
 * them: they are the message's trailer, see integrity.ts and fingerprint.ts. MESSAGE-INTEGRITY-SHA256 is read, never
 * checked or written by us: ICE authenticates with MESSAGE-INTEGRITY (RFC 8445 §7.1).
 */

import type { Endpoint } from '../../api/endpoint.ts'
import { assertNever } from '../../util/assert-never.ts'
import { fromUtf8, toUtf8 } from '../../util/bytes.ts'
import {
  decodeMappedAddress,
  decodeXorMappedAddress,
  encodeMappedAddress,
  encodeXorMappedAddress,
} from './address-attribute.ts'
import { stunAttributes } from './constants.ts'
import {
  decodeErrorCode,
  decodeUnknownAttributes,
  encodeErrorCode,
  encodeUnknownAttributes,
} from './error-attributes.ts'

export type StunAttribute =
  | { readonly kind: 'mapped-address'; readonly endpoint: Endpoint }
  | { readonly kind: 'xor-mapped-address'; readonly endpoint: Endpoint }
  | { readonly kind: 'username'; readonly text: string }
  | { readonly kind: 'software'; readonly text: string }
  | { readonly kind: 'error-code'; readonly code: number; readonly reason: string }
  | { readonly kind: 'unknown-attributes'; readonly types: readonly number[] }
  | { readonly kind: 'message-integrity-sha256'; readonly hmac: Uint8Array }
  | { readonly kind: 'priority'; readonly priority: number }
  | { readonly kind: 'use-candidate' }
  | { readonly kind: 'ice-controlled'; readonly tieBreaker: bigint }
  | { readonly kind: 'ice-controlling'; readonly tieBreaker: bigint }
  /** Any type this file does not know. */
  | { readonly kind: 'other'; readonly type: number; readonly value: Uint8Array }

type AttributeOf<Kind extends StunAttribute['kind']> = Extract<StunAttribute, { readonly kind: Kind }>

/** The first attribute of a kind: later ones of the same type are ignored (RFC 8489 §14). */
export function findAttribute<Kind extends StunAttribute['kind']>(
  attributes: readonly StunAttribute[],
  kind: Kind,
): AttributeOf<Kind> | undefined {
  return attributes.find((attribute): attribute is AttributeOf<Kind> => attribute.kind === kind)
}

/** RFC 8489 §14.3 and §14.14, in bytes. */
const maximumTextLength = { username: 508, software: 763 } as const

/** Reads one attribute's value; `undefined` when a known type is malformed. Byte strings are views of `value`. */
export function decodeAttribute(type: number, value: Uint8Array, transactionId: Uint8Array): StunAttribute | undefined {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  switch (type) {
    case stunAttributes['MAPPED-ADDRESS']: {
      const endpoint = decodeMappedAddress(value)
      return endpoint && { kind: 'mapped-address', endpoint }
    }
    case stunAttributes['XOR-MAPPED-ADDRESS']: {
      const endpoint = decodeXorMappedAddress(value, transactionId)
      return endpoint && { kind: 'xor-mapped-address', endpoint }
    }
    case stunAttributes.USERNAME: {
      const text = value.length > maximumTextLength.username ? undefined : fromUtf8(value)
      return text === undefined ? undefined : { kind: 'username', text }
    }
    case stunAttributes.SOFTWARE: {
      const text = value.length > maximumTextLength.software ? undefined : fromUtf8(value)
      return text === undefined ? undefined : { kind: 'software', text }
    }
    case stunAttributes['ERROR-CODE']: {
      const error = decodeErrorCode(value)
      return error && { kind: 'error-code', ...error }
    }
    case stunAttributes['UNKNOWN-ATTRIBUTES']: {
      const types = decodeUnknownAttributes(value)
      return types && { kind: 'unknown-attributes', types }
    }
    case stunAttributes['MESSAGE-INTEGRITY-SHA256']:
      // RFC 8489 §14.6: it may be truncated to 16 bytes, in steps of 4.
      if (value.length < 16 || value.length > 32 || value.length % 4 !== 0) return undefined
      return { kind: 'message-integrity-sha256', hmac: value }
    case stunAttributes.PRIORITY:
      return value.length === 4 ? { kind: 'priority', priority: view.getUint32(0) } : undefined
    case stunAttributes['USE-CANDIDATE']:
      return value.length === 0 ? { kind: 'use-candidate' } : undefined
    case stunAttributes['ICE-CONTROLLED']:
      return value.length === 8 ? { kind: 'ice-controlled', tieBreaker: view.getBigUint64(0) } : undefined
    case stunAttributes['ICE-CONTROLLING']:
      return value.length === 8 ? { kind: 'ice-controlling', tieBreaker: view.getBigUint64(0) } : undefined
    default:
      return { kind: 'other', type, value }
  }
}

/** Type and value of one attribute. */
export function encodeAttribute(
  attribute: StunAttribute,
  transactionId: Uint8Array,
): { readonly type: number; readonly value: Uint8Array } {
  switch (attribute.kind) {
    case 'mapped-address':
      return { type: stunAttributes['MAPPED-ADDRESS'], value: encodeMappedAddress(attribute.endpoint) }
    case 'xor-mapped-address':
      return {
        type: stunAttributes['XOR-MAPPED-ADDRESS'],
        value: encodeXorMappedAddress(attribute.endpoint, transactionId),
      }
    case 'username':
      return { type: stunAttributes.USERNAME, value: toUtf8(attribute.text) }
    case 'software':
      return { type: stunAttributes.SOFTWARE, value: toUtf8(attribute.text) }
    case 'error-code':
      return { type: stunAttributes['ERROR-CODE'], value: encodeErrorCode(attribute.code, attribute.reason) }
    case 'unknown-attributes':
      return { type: stunAttributes['UNKNOWN-ATTRIBUTES'], value: encodeUnknownAttributes(attribute.types) }
    case 'message-integrity-sha256':
      return { type: stunAttributes['MESSAGE-INTEGRITY-SHA256'], value: attribute.hmac }
    case 'priority': {
      const value = new Uint8Array(4)
      new DataView(value.buffer).setUint32(0, attribute.priority)
      return { type: stunAttributes.PRIORITY, value }
    }
    case 'use-candidate':
      return { type: stunAttributes['USE-CANDIDATE'], value: new Uint8Array(0) }
    case 'ice-controlled':
      return { type: stunAttributes['ICE-CONTROLLED'], value: uint64(attribute.tieBreaker) }
    case 'ice-controlling':
      return { type: stunAttributes['ICE-CONTROLLING'], value: uint64(attribute.tieBreaker) }
    case 'other':
      return { type: attribute.type, value: attribute.value }
    default:
      return assertNever(attribute)
  }
}

function uint64(number: bigint): Uint8Array {
  const value = new Uint8Array(8)
  new DataView(value.buffer).setBigUint64(0, number)
  return value
}

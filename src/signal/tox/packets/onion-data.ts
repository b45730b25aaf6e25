/**
 * Data to an announced key through the node that stores it (Tox specification, "Data to route"). Two boxes under one
 * nonce: the outer one to the onion data key, the inner one between the long-term keys.
 */

import { concatBytes } from '../../../util/bytes.ts'
import { type LongTermPublicKey, longTermPublicKey, macBytes, nonceBytes } from '../crypto.ts'
import { largestOnionPacket, returnPathBytes } from './onion-layers.ts'

export const dataRequestKind = 0x85
export const dataResponseKind = 0x86

/** The first byte of the innermost bytes. */
export const onionDataIds = { friendRequest: 0x20, dhtKey: 0x9c } as const

/** Most innermost bytes, id included. */
export const largestOnionData = 1021

export interface DataResponse {
  readonly nonce: Uint8Array
  /** Temporary key the outer box was made with. */
  readonly sender: Uint8Array
  readonly boxed: Uint8Array
}

export interface DataRequest extends DataResponse {
  /** Long-term key of the receiver. */
  readonly destination: Uint8Array
}

const innerOverhead = 32 + 2 * macBytes
const responseHeader = 1 + nonceBytes + 32
const requestHeader = responseHeader + 32

/**
 * | offset | size | field                     |
 * |      0 |    1 | 0x85                      |
 * |      1 |   32 | receiver's long-term key  |
 * |     33 |   24 | nonce                     |
 * |     57 |   32 | temporary key             |
 * |     89 | n+16 | outer box                 |
 */
export function encodeDataRequest(request: DataRequest): Uint8Array {
  const kind = Uint8Array.of(dataRequestKind)
  return concatBytes(kind, request.destination, request.nonce, request.sender, request.boxed)
}

/** As the storing node gets it, with a return path behind that it has no use for; the fields are views. */
export function decodeDataRequest(bytes: Uint8Array): DataRequest | undefined {
  const end = bytes.length - returnPathBytes
  if (bytes[0] !== dataRequestKind || bytes.length > largestOnionPacket || end <= requestHeader + innerOverhead) {
    return undefined
  }
  return {
    destination: bytes.subarray(1, 33),
    nonce: bytes.subarray(33, 57),
    sender: bytes.subarray(57, requestHeader),
    boxed: bytes.subarray(requestHeader, end),
  }
}

/** 0x86 (1) || nonce (24) || temporary key (32) || outer box */
export function encodeDataResponse(response: DataResponse): Uint8Array {
  return concatBytes(Uint8Array.of(dataResponseKind), response.nonce, response.sender, response.boxed)
}

/** The fields are views. */
export function decodeDataResponse(bytes: Uint8Array): DataResponse | undefined {
  if (bytes[0] !== dataResponseKind || bytes.length > responseHeader + innerOverhead + largestOnionData)
    return undefined
  if (bytes.length <= responseHeader + innerOverhead) return undefined
  return {
    nonce: bytes.subarray(1, 25),
    sender: bytes.subarray(25, responseHeader),
    boxed: bytes.subarray(responseHeader),
  }
}

export interface DataOuterPlain {
  readonly sender: LongTermPublicKey
  readonly boxed: Uint8Array
}

/** sender's long-term key (32) || inner box */
export function encodeDataOuterPlain(plain: DataOuterPlain): Uint8Array {
  return concatBytes(plain.sender, plain.boxed)
}

export function decodeDataOuterPlain(plain: Uint8Array): DataOuterPlain | undefined {
  const sender = longTermPublicKey(plain.slice(0, 32))
  if (sender === undefined || plain.length <= 32 + macBytes) return undefined
  return { sender, boxed: plain.subarray(32) }
}

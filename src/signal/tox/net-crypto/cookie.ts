/**
 * Cookie requests and responses, and the cookie itself. Tox protocol specification, "net_crypto", cookie request.
 * A cookie lets the answering side keep nothing until a handshake comes back with it.
 */

import { ByteReader } from '../../../util/byte-reader.ts'
import { ByteWriter } from '../../../util/byte-writer.ts'
import { concatBytes } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import {
  type DhtPublicKey,
  dhtPublicKey,
  type LongTermPublicKey,
  longTermPublicKey,
  nonceBytes,
  open,
  seal,
} from '../crypto.ts'
import type { PeerBox } from '../peer-box.ts'

export const cookieRequestKind = 0x18
export const cookieResponseKind = 0x19

export const cookieBytes = 112
export const echoBytes = 8
const cookieRequestBytes = 145
const cookieResponseBytes = 161

/** What a cookie says to the side that made it; nobody else can read it. */
export interface CookieContents {
  /** When it was made, ms of the maker's own clock. */
  readonly time: number
  readonly longTermKey: LongTermPublicKey
  readonly dhtKey: DhtPublicKey
}

/**
 * Cookie, 112 bytes.
 *
 * | offset | size | field                                                                       |
 * |      0 |   24 | nonce                                                                       |
 * |     24 |   88 | box under the maker's cookie key: time (8), long-term key (32), DHT key (32) |
 */
export function encodeCookie(
  contents: CookieContents,
  secret: { readonly key: Uint8Array; readonly random: Random },
): Uint8Array {
  const plain = new ByteWriter(72)
    .uint64(BigInt(Math.floor(contents.time)))
    .bytes(contents.longTermKey)
    .bytes(contents.dhtKey)
    .finish()
  const nonce = secret.random.bytes(nonceBytes)
  return concatBytes(nonce, seal(secret.key, nonce, plain))
}

/** The contents of a cookie that was made with this key. */
export function decodeCookie(cookie: Uint8Array, key: Uint8Array): CookieContents | undefined {
  if (cookie.length !== cookieBytes) return undefined
  const plain = open(key, cookie.subarray(0, nonceBytes), cookie.subarray(nonceBytes))
  if (plain === undefined) return undefined
  const reader = new ByteReader(plain)
  const time = reader.uint64()
  const longTermKey = longTermPublicKey(reader.bytes(32) ?? new Uint8Array())
  const dhtKey = dhtPublicKey(reader.bytes(32) ?? new Uint8Array())
  if (time === undefined || longTermKey === undefined || dhtKey === undefined) return undefined
  return { time: Number(time), longTermKey, dhtKey }
}

export interface CookieRequest {
  readonly dhtKey: DhtPublicKey
  readonly longTermKey: LongTermPublicKey
  /** 8 random bytes that the response repeats. */
  readonly echo: Uint8Array
}

/**
 * Cookie request, 145 bytes.
 *
 * | offset | size | field                                                                          |
 * |      0 |    1 | 0x18                                                                           |
 * |      1 |   32 | sender's DHT key                                                               |
 * |     33 |   24 | nonce                                                                          |
 * |     57 |   88 | box of the DHT keys: sender's long-term key (32), zeros (32), echo (8)          |
 *
 * `undefined` when the peer's DHT key is of low order.
 */
export function encodeCookieRequest(
  request: CookieRequest,
  to: { readonly box: PeerBox; readonly peer: DhtPublicKey; readonly random: Random },
): Uint8Array | undefined {
  const nonce = to.random.bytes(nonceBytes)
  const boxed = to.box.seal(to.peer, nonce, concatBytes(request.longTermKey, new Uint8Array(32), request.echo))
  return boxed && concatBytes(Uint8Array.of(cookieRequestKind), request.dhtKey, nonce, boxed)
}

/** Reads a request; the keys are copies. */
export function decodeCookieRequest(bytes: Uint8Array, box: PeerBox, now: number): CookieRequest | undefined {
  if (bytes.length !== cookieRequestBytes || bytes[0] !== cookieRequestKind) return undefined
  const dhtKey = dhtPublicKey(bytes.slice(1, 33))
  if (dhtKey === undefined) return undefined
  const plain = box.open(dhtKey, { nonce: bytes.subarray(33, 57), boxed: bytes.subarray(57) }, now)
  const longTermKey = plain && longTermPublicKey(plain.slice(0, 32))
  if (plain === undefined || longTermKey === undefined) return undefined
  return { dhtKey, longTermKey, echo: plain.subarray(64) }
}

export interface CookieResponse {
  readonly cookie: Uint8Array
  readonly echo: Uint8Array
}

/**
 * Cookie response, 161 bytes.
 *
 * | offset | size | field                                          |
 * |      0 |    1 | 0x19                                           |
 * |      1 |   24 | nonce                                          |
 * |     25 |  136 | box of the DHT keys: cookie (112), echo (8)    |
 */
export function encodeCookieResponse(
  response: CookieResponse,
  to: { readonly box: PeerBox; readonly peer: DhtPublicKey; readonly random: Random },
): Uint8Array | undefined {
  const nonce = to.random.bytes(nonceBytes)
  const boxed = to.box.seal(to.peer, nonce, concatBytes(response.cookie, response.echo))
  return boxed && concatBytes(Uint8Array.of(cookieResponseKind), nonce, boxed)
}

export function decodeCookieResponse(
  bytes: Uint8Array,
  from: { readonly box: PeerBox; readonly peer: DhtPublicKey },
  now: number,
): CookieResponse | undefined {
  if (bytes.length !== cookieResponseBytes || bytes[0] !== cookieResponseKind) return undefined
  const plain = from.box.open(from.peer, { nonce: bytes.subarray(1, 25), boxed: bytes.subarray(25) }, now)
  return plain && { cookie: plain.subarray(0, cookieBytes), echo: plain.subarray(cookieBytes) }
}

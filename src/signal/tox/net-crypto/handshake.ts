/**
 * Crypto handshake. Tox protocol specification, "net_crypto", handshake packet; with the erratum that the base nonce in
 * it is the one its sender will send with.
 */

import { concatBytes, equalBytes } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import { nonceBytes, open, publicKeyBytes, seal, sha512 } from '../crypto.ts'
import { cookieBytes } from './cookie.ts'

export const handshakeKind = 0x1a

const handshakeBytes = 385
const hashBytes = 64

export interface Handshake {
  /** The nonce of the first packet its sender will send. */
  readonly baseNonce: Uint8Array
  readonly sessionKey: Uint8Array
  /** A cookie made by the sender for the receiver, to answer with. */
  readonly otherCookie: Uint8Array
}

/**
 * Crypto handshake, 385 bytes.
 *
 * | offset | size | field                                                                                    |
 * |      0 |    1 | 0x1a                                                                                     |
 * |      1 |  112 | cookie, made by the receiver                                                             |
 * |    113 |   24 | nonce                                                                                    |
 * |    137 |  248 | box of the long-term keys: base nonce (24), session key (32), SHA-512 of the cookie (64), |
 * |        |      | a cookie for the receiver (112)                                                          |
 */
export function encodeHandshake(
  handshake: Handshake,
  to: { readonly cookie: Uint8Array; readonly key: Uint8Array; readonly random: Random },
): Uint8Array {
  const nonce = to.random.bytes(nonceBytes)
  const plain = concatBytes(handshake.baseNonce, handshake.sessionKey, sha512(to.cookie), handshake.otherCookie)
  return concatBytes(Uint8Array.of(handshakeKind), to.cookie, nonce, seal(to.key, nonce, plain))
}

/** The cookie in front, by which the receiver knows whom the rest is from. A view. */
export function handshakeCookie(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length !== handshakeBytes || bytes[0] !== handshakeKind) return undefined
  return bytes.subarray(1, 1 + cookieBytes)
}

/** Opens a handshake with the long-term keys' shared key; `undefined` also when it was made for another cookie. */
export function decodeHandshake(bytes: Uint8Array, key: Uint8Array): Handshake | undefined {
  const cookie = handshakeCookie(bytes)
  if (cookie === undefined) return undefined
  const box = 1 + cookieBytes + nonceBytes
  const plain = open(key, bytes.subarray(1 + cookieBytes, box), bytes.subarray(box))
  if (plain === undefined) return undefined
  const hash = nonceBytes + publicKeyBytes
  if (!equalBytes(plain.subarray(hash, hash + hashBytes), sha512(cookie))) return undefined
  return {
    baseNonce: plain.slice(0, nonceBytes),
    sessionKey: plain.slice(nonceBytes, hash),
    otherCookie: plain.slice(hash + hashBytes),
  }
}

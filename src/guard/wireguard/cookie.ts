/**
 * mac1, mac2 and cookies, whitepaper §5.3, §5.4.4 and §5.4.7. mac1 shows that the sender knows whom it writes to; under
 * load a device also asks for mac2, made with a cookie that only the owner of the source address can have received.
 */

import { type Endpoint, formatEndpoint } from '../../api/endpoint.ts'
import { equalBytes, toUtf8 } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import { COOKIE_TIME, LABEL_COOKIE, LABEL_MAC1 } from './constants.ts'
import { hash, mac, xopen, xseal } from './crypto.ts'
import { type CookieReply, encodeCookieReply, MACS_SIZE } from './messages.ts'

const macSize = 16
const nonceSize = 24

/** The receiving side: checks the macs of messages to us and makes cookie replies. */
export class CookieChecker {
  readonly #random: Random
  readonly #mac1Key: Uint8Array
  readonly #cookieKey: Uint8Array
  #secret: { readonly bytes: Uint8Array; readonly since: number } | undefined

  constructor(publicKey: Uint8Array, random: Random) {
    this.#random = random
    this.#mac1Key = hash(toUtf8(LABEL_MAC1), publicKey)
    this.#cookieKey = hash(toUtf8(LABEL_COOKIE), publicKey)
  }

  /** `message`: a whole initiation or response. */
  hasValidMac1(message: Uint8Array): boolean {
    const { body, mac1 } = parts(message)
    return equalBytes(mac(this.#mac1Key, body), mac1)
  }

  hasValidMac2(message: Uint8Array, from: Endpoint, now: number): boolean {
    const { mac2 } = parts(message)
    return equalBytes(mac(this.#cookieOf(from, now), beforeMac2(message)), mac2)
  }

  /** A cookie for the sender of `message`, which only it can read; `receiver` is the message's sender index. */
  createReply(
    message: Uint8Array,
    from: Endpoint,
    options: { readonly receiver: number; readonly now: number },
  ): Uint8Array {
    const nonce = this.#random.bytes(nonceSize)
    const input = this.#cookieOf(from, options.now)
    const encryptedCookie = xseal(this.#cookieKey, nonce, { input, associated: parts(message).mac1 })
    return encodeCookieReply({ receiver: options.receiver, nonce, encryptedCookie })
  }

  /** A MAC of address and port under a secret that changes every two minutes. */
  #cookieOf(from: Endpoint, now: number): Uint8Array {
    if (this.#secret === undefined || now - this.#secret.since >= COOKIE_TIME)
      this.#secret = { bytes: this.#random.bytes(32), since: now }
    return mac(this.#secret.bytes, toUtf8(formatEndpoint(from)))
  }
}

/** The sending side, one for each peer: sets the macs of our messages and keeps the cookie the peer sent. */
export class CookieJar {
  readonly #mac1Key: Uint8Array
  readonly #cookieKey: Uint8Array
  #lastMac1: Uint8Array | undefined
  #cookie: { readonly bytes: Uint8Array; readonly since: number } | undefined

  constructor(peerPublicKey: Uint8Array) {
    this.#mac1Key = hash(toUtf8(LABEL_MAC1), peerPublicKey)
    this.#cookieKey = hash(toUtf8(LABEL_COOKIE), peerPublicKey)
  }

  /** Fills in mac1, and mac2 when a fresh cookie is there; remembers mac1 for the reply. */
  setMacs(message: Uint8Array, now: number): void {
    const { body, mac1, mac2 } = parts(message)
    mac1.set(mac(this.#mac1Key, body))
    this.#lastMac1 = Uint8Array.from(mac1)
    if (this.#cookie !== undefined && now - this.#cookie.since < COOKIE_TIME)
      mac2.set(mac(this.#cookie.bytes, beforeMac2(message)))
  }

  /** Whether the reply was an answer to our last message. It is authentic then: its key needs our mac1. */
  consumeReply(reply: CookieReply, now: number): boolean {
    if (this.#lastMac1 === undefined) return false
    const bytes = xopen(this.#cookieKey, reply.nonce, { input: reply.encryptedCookie, associated: this.#lastMac1 })
    if (bytes === undefined) return false
    this.#cookie = { bytes, since: now }
    this.#lastMac1 = undefined
    return true
  }
}

function parts(message: Uint8Array): {
  readonly body: Uint8Array
  readonly mac1: Uint8Array
  readonly mac2: Uint8Array
} {
  const end = message.length - MACS_SIZE
  return {
    body: message.subarray(0, end),
    mac1: message.subarray(end, end + macSize),
    mac2: message.subarray(end + macSize),
  }
}

function beforeMac2(message: Uint8Array): Uint8Array {
  return message.subarray(0, message.length - macSize)
}

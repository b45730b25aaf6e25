/**
 * Tox cryptography: X25519 + HSalsa20 shared keys, XSalsa20-Poly1305 boxes, SHA-512 (Tox specification, "Crypto").
 * A thin synchronous module over libsodium (WebAssembly; hashes from Node), usable after `toxCryptoReady`. Leaves out libsodium's
 * memory locking: keys live in ordinary arrays, wrapped in `SecretKey` everywhere above this file.
 */

import { createHash, createHmac } from 'node:crypto'
import sodium from 'libsodium-wrappers'
import { type Branded, SecretKey } from '../../api/keys.ts'
import { toHex } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'

/** Long-term public key: the identity, part of the Tox ID; 32 bytes. */
export type LongTermPublicKey = Branded<Uint8Array, 'LongTermPublicKey'>

/** DHT public key: fresh at every start of a node, 32 bytes. */
export type DhtPublicKey = Branded<Uint8Array, 'DhtPublicKey'>

export interface KeyPair<PublicKey extends Uint8Array = Uint8Array> {
  readonly publicKey: PublicKey
  readonly secretKey: SecretKey
}

export const publicKeyBytes = 32
export const sharedKeyBytes = 32
export const nonceBytes = 24
/** A box is this much longer than what is in it. */
export const macBytes = 16

/** Resolves when the functions of this file may be called. */
export const toxCryptoReady: Promise<void> = sodium.ready

/** The key as the type of the named role, `undefined` when the length is wrong. The bytes are not copied. */
export function longTermPublicKey(bytes: Uint8Array): LongTermPublicKey | undefined {
  return bytes.length === publicKeyBytes ? (bytes as LongTermPublicKey) : undefined
}

export function dhtPublicKey(bytes: Uint8Array): DhtPublicKey | undefined {
  return bytes.length === publicKeyBytes ? (bytes as DhtPublicKey) : undefined
}

/** The pair of a given 32-byte secret key. The role is the caller's word: `keyPairOf<DhtPublicKey>(…)`. */
export function keyPairOf<PublicKey extends Uint8Array = Uint8Array>(secretKey: SecretKey): KeyPair<PublicKey> {
  return { publicKey: sodium.crypto_scalarmult_base(secretKey.reveal()) as PublicKey, secretKey }
}

/** A fresh pair. */
export function createKeyPair<PublicKey extends Uint8Array = Uint8Array>(random: Random): KeyPair<PublicKey> {
  return keyPairOf<PublicKey>(new SecretKey(random.bytes(32)))
}

/**
 * crypto_box_beforenm: the 32-byte key both sides compute; `undefined` for a low-order public key, and for one with its
 * highest bit set: X25519 ignores that bit, so anybody could let a sender appear under a second name.
 */
export function sharedKey(publicKey: Uint8Array, secretKey: SecretKey): Uint8Array | undefined {
  if (publicKey.length !== publicKeyBytes || (publicKey[publicKeyBytes - 1] ?? 0) >= 0x80) return undefined
  try {
    return sodium.crypto_box_beforenm(publicKey, secretKey.reveal())
  } catch {
    return undefined
  }
}

/** MAC (16) || ciphertext of `plain` under a 32-byte key and a 24-byte nonce that was never used with it before. */
export function seal(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array): Uint8Array {
  return sodium.crypto_secretbox_easy(plain, nonce, key)
}

/** What was sealed, `undefined` when it was not sealed with this key and nonce. */
export function open(key: Uint8Array, nonce: Uint8Array, boxed: Uint8Array): Uint8Array | undefined {
  if (boxed.length < macBytes || nonce.length !== nonceBytes) return undefined
  try {
    return sodium.crypto_secretbox_open_easy(boxed, nonce, key)
  } catch {
    return undefined
  }
}

/** SHA-512, 64 bytes. */
export function sha512(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha512').update(bytes).digest())
}

/** HMAC-SHA-256, 32 bytes. */
export function authenticate(key: Uint8Array, message: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha256', key).update(message).digest())
}

/** The nonce `steps` later: a 24-byte big-endian number that wraps to zero. A new array. */
export function incrementNonce(nonce: Uint8Array, steps = 1): Uint8Array {
  const next = Uint8Array.from(nonce)
  let carry = steps
  for (let at = next.length - 1; at >= 0 && carry > 0; at -= 1) {
    const sum = (next[at] ?? 0) + carry
    next[at] = sum % 256
    carry = Math.floor(sum / 256)
  }
  return next
}

/** Shared keys of one secret key, least recently used ones forgotten: computing one is the dear step (~90 µs). */
export class SharedKeyCache {
  readonly #secretKey: SecretKey
  readonly #capacity: number
  readonly #keys: Map<string, Uint8Array> = new Map()

  constructor(secretKey: SecretKey, options: { readonly capacity?: number } = {}) {
    this.#secretKey = secretKey
    this.#capacity = options.capacity ?? 1000
  }

  get size(): number {
    return this.#keys.size
  }

  /** The cached key, marked as used; `undefined` when there is none yet. Costs no X25519. */
  peek(publicKey: Uint8Array): Uint8Array | undefined {
    const name = toHex(publicKey)
    const key = this.#keys.get(name)
    if (key === undefined) return undefined
    this.#keys.delete(name)
    this.#keys.set(name, key)
    return key
  }

  /** The key, computed and kept when needed; `undefined` for a low-order public key. */
  get(publicKey: Uint8Array): Uint8Array | undefined {
    const cached = this.peek(publicKey)
    if (cached !== undefined) return cached
    const key = this.compute(publicKey)
    if (key !== undefined) this.keep(publicKey, key)
    return key
  }

  /** Computes a key without keeping it, for senders that have proved nothing yet. */
  compute(publicKey: Uint8Array): Uint8Array | undefined {
    return sharedKey(publicKey, this.#secretKey)
  }

  keep(publicKey: Uint8Array, key: Uint8Array): void {
    this.#keys.set(toHex(publicKey), key)
    if (this.#keys.size <= this.#capacity) return
    const oldest = this.#keys.keys().next()
    if (!oldest.done) this.#keys.delete(oldest.value)
  }
}

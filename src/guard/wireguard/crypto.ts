/**
 * The primitives of whitepaper §5.4: X25519 (RFC 7748), ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305, BLAKE2s
 * (RFC 7693) plain, keyed and as HMAC, and the HKDF chain. Curve and AEAD are OpenSSL's through node:crypto; BLAKE2s
 * with a 16-byte output and XChaCha20 are not in it and come from noble.
 */

import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { blake2s } from '@noble/hashes/blake2.js'
import { hmac } from '@noble/hashes/hmac.js'
import { concatBytes, toBase64, wipe } from '../../util/bytes.ts'

export const KEY_SIZE = 32
export const TAG_SIZE = 16

/** An X25519 key pair; the private half lives inside OpenSSL. */
export interface DhKeyPair {
  readonly publicKey: Uint8Array
  readonly privateKey: KeyObject
}

/** DER of a PKCS #8 X25519 private key (RFC 8410) up to the key itself. */
const pkcs8Prefix = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20)

/** Imports 32 secret bytes; the caller wipes its own copy. */
export function importKeyPair(secret: Uint8Array): DhKeyPair {
  const der = Buffer.from(concatBytes(pkcs8Prefix, secret))
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  wipe(der)
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return { publicKey: new Uint8Array(spki.subarray(spki.length - KEY_SIZE)), privateKey }
}

/** X25519; `undefined` when the point is of low order, so that the result would be all zero (RFC 7748 §6.1). */
export function dh(own: DhKeyPair, theirs: Uint8Array): Uint8Array | undefined {
  const x = toBase64(theirs).replaceAll('+', '-').replaceAll('/', '_').replace('=', '')
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' })
  try {
    return diffieHellman({ privateKey: own.privateKey, publicKey })
  } catch {
    return undefined
  }
}

/** HASH of all parts after one another. */
export function hash(...parts: readonly Uint8Array[]): Uint8Array {
  const state = blake2s.create({})
  for (const part of parts) state.update(part)
  return state.digest()
}

/** MAC: keyed BLAKE2s with a 16-byte output. */
export function mac(key: Uint8Array, input: Uint8Array): Uint8Array {
  return blake2s(input, { key, dkLen: 16 })
}

/** KDFn: `count` outputs of 32 bytes from HMAC-BLAKE2s (RFC 5869 with the chaining key as salt and no info). */
export function kdf(
  count: 1 | 2 | 3,
  chainingKey: Uint8Array,
  input: Uint8Array,
): readonly [Uint8Array, Uint8Array, Uint8Array] {
  const prk = hmac(blake2s, chainingKey, input)
  const first = hmac(blake2s, prk, Uint8Array.of(1))
  const second = count < 2 ? new Uint8Array(0) : hmac(blake2s, prk, concatBytes(first, Uint8Array.of(2)))
  const third = count < 3 ? new Uint8Array(0) : hmac(blake2s, prk, concatBytes(second, Uint8Array.of(3)))
  wipe(prk)
  return [first, second, third]
}

const zeroNonce = new Uint8Array(12)

/** AEAD with counter 0, as the handshake uses it: ciphertext and tag. */
export function seal(key: Uint8Array, plaintext: Uint8Array, associated: Uint8Array): Uint8Array {
  const cipher = createCipheriv('chacha20-poly1305', key, zeroNonce, { authTagLength: TAG_SIZE })
  cipher.setAAD(associated, { plaintextLength: plaintext.length })
  const ciphertext = cipher.update(plaintext)
  cipher.final()
  return concatBytes(ciphertext, cipher.getAuthTag())
}

/** The plaintext, or `undefined` when the tag does not fit. `sealed` holds at least a tag. */
export function open(key: Uint8Array, sealed: Uint8Array, associated: Uint8Array): Uint8Array | undefined {
  const end = sealed.length - TAG_SIZE
  const decipher = createDecipheriv('chacha20-poly1305', key, zeroNonce, { authTagLength: TAG_SIZE })
  decipher.setAAD(associated, { plaintextLength: end })
  decipher.setAuthTag(sealed.subarray(end))
  const plaintext = decipher.update(sealed.subarray(0, end))
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length)
}

/** XAEAD: XChaCha20-Poly1305 with a 24-byte nonce. */
export function xseal(key: Uint8Array, nonce: Uint8Array, options: XAeadInput): Uint8Array {
  return xchacha20poly1305(key, nonce, options.associated).encrypt(options.input)
}

export function xopen(key: Uint8Array, nonce: Uint8Array, options: XAeadInput): Uint8Array | undefined {
  try {
    return xchacha20poly1305(key, nonce, options.associated).decrypt(options.input)
  } catch {
    return undefined
  }
}

export interface XAeadInput {
  readonly input: Uint8Array
  readonly associated: Uint8Array
}

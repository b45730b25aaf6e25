/**
 * Keys out of a Diffie-Hellman secret ("Computing AES keys, MAC keys, and the secure session id", "Computing AES keys
 * and MAC keys" of the data messages).
 */

import { createCipheriv, createHash, createHmac } from 'node:crypto'
import { compareBytes } from '../../util/bytes.ts'
import { type DhKeyPair, dhPower } from './dh.ts'
import { mpi } from './encoding.ts'

/** The keys of one signature: AES key c, MAC keys m1 and m2. */
export interface SignatureKeys {
  readonly c: Uint8Array
  readonly m1: Uint8Array
  readonly m2: Uint8Array
}

export interface AkeSecrets {
  /** 8 bytes. */
  readonly sessionId: Uint8Array
  /** c, m1, m2: of the Reveal Signature message. */
  readonly reveal: SignatureKeys
  /** c', m1', m2': of the Signature message. */
  readonly signature: SignatureKeys
}

export function deriveAkeSecrets(own: DhKeyPair, theirs: Uint8Array): AkeSecrets {
  const secret = mpi(dhPower(theirs, own.privateKey))
  const h2 = (first: number): Uint8Array => hash('sha256', Uint8Array.of(first), secret)
  const c = h2(0x01)
  return {
    sessionId: h2(0x00).slice(0, 8),
    reveal: { c: c.slice(0, 16), m1: h2(0x02), m2: h2(0x03) },
    signature: { c: c.slice(16), m1: h2(0x04), m2: h2(0x05) },
  }
}

export interface DataKeys {
  readonly sendingAes: Uint8Array
  readonly sendingMac: Uint8Array
  readonly receivingAes: Uint8Array
  readonly receivingMac: Uint8Array
}

/** The end with the numerically larger public key sends with byte 1 and receives with byte 2, the other in reverse. */
export function deriveDataKeys(own: DhKeyPair, theirs: Uint8Array): DataKeys {
  const secret = mpi(dhPower(theirs, own.privateKey))
  const high = compareBytes(own.publicKey, theirs) > 0
  const aes = (first: number): Uint8Array => hash('sha1', Uint8Array.of(first), secret).slice(0, 16)
  const sendingAes = aes(high ? 1 : 2)
  const receivingAes = aes(high ? 2 : 1)
  return { sendingAes, sendingMac: hash('sha1', sendingAes), receivingAes, receivingMac: hash('sha1', receivingAes) }
}

/** AES-128 in counter mode; the counter's upper half is given, the lower starts at 0. Encrypts and decrypts. */
export function aesCounter(key: Uint8Array, counter: bigint, input: Uint8Array): Uint8Array {
  const block = new Uint8Array(16)
  new DataView(block.buffer).setBigUint64(0, counter)
  return new Uint8Array(createCipheriv('aes-128-ctr', key, block).update(input))
}

export function hash(algorithm: 'sha1' | 'sha256', ...parts: readonly Uint8Array[]): Uint8Array {
  const hasher = createHash(algorithm)
  for (const part of parts) hasher.update(part)
  return new Uint8Array(hasher.digest())
}

export function hmac(algorithm: 'sha1' | 'sha256', key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const hasher = createHmac(algorithm, key)
  for (const part of parts) hasher.update(part)
  return new Uint8Array(hasher.digest())
}

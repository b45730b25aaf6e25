/**
 * DSA as OTR v3 uses it ("Public keys, signatures, and fingerprints"): 1024-bit p, 160-bit q, and a 32-byte message
 * that is taken whole as a number modulo q. FIPS 186 would cut it to 160 bits, so node:crypto's `sign` cannot be used.
 */

import { createDiffieHellman, createHmac, type DiffieHellman } from 'node:crypto'
import type { ByteReader } from '../../util/byte-reader.ts'
import { ByteWriter } from '../../util/byte-writer.ts'
import { concatBytes } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import { dsaModulusBytes, dsaOrderBytes } from './constants.ts'
import { bytesToNumber, inverse, modulo, numberToBytes, publicPower, readMpi, writeMpi } from './encoding.ts'

export interface DsaPublicKey {
  readonly p: bigint
  readonly q: bigint
  readonly g: bigint
  readonly y: bigint
}

export const signatureBytes = 40

const lengths = [dsaModulusBytes, dsaOrderBytes, dsaModulusBytes, dsaModulusBytes] as const

/** PUBKEY: SHORT type 0, MPI p, MPI q, MPI g, MPI y. */
export function encodeDsaPublicKey(key: DsaPublicKey): Uint8Array {
  const writer = new ByteWriter(440).uint16(0)
  for (const [index, value] of [key.p, key.q, key.g, key.y].entries()) {
    writeMpi(writer, numberToBytes(value, lengths[index] ?? 0))
  }
  return writer.finish()
}

/** Reads one PUBKEY; `undefined` unless it is DSA with a 1024-bit p and a 160-bit q, and g and y lie in 2..p-2. */
export function readDsaPublicKey(reader: ByteReader): DsaPublicKey | undefined {
  if (reader.uint16() !== 0) return undefined
  const p = readMpi(reader, dsaModulusBytes)
  const q = readMpi(reader, dsaOrderBytes)
  const g = readMpi(reader, dsaModulusBytes)
  const y = readMpi(reader, dsaModulusBytes)
  if (p === undefined || q === undefined || g === undefined || y === undefined) return undefined
  const key = { p: bytesToNumber(p), q: bytesToNumber(q), g: bytesToNumber(g), y: bytesToNumber(y) }
  return isPlausible(key) ? key : undefined
}

function isPlausible({ p, q, g, y }: DsaPublicKey): boolean {
  const full = p >> BigInt(dsaModulusBytes * 8 - 1) === 1n && q >> BigInt(dsaOrderBytes * 8 - 1) === 1n
  return full && p % 2n === 1n && p % q === 1n && g > 1n && g < p - 1n && y > 1n && y < p - 1n
}

/** Whether `signature` (r ‖ s, 20 bytes each) over the 32-byte `message` was made by the holder of `key`. */
export function verifyDsa(key: DsaPublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== signatureBytes) return false
  const r = bytesToNumber(signature.subarray(0, dsaOrderBytes))
  const s = bytesToNumber(signature.subarray(dsaOrderBytes))
  const { p, q, g, y } = key
  if (r === 0n || r >= q || s === 0n || s >= q) return false
  const w = inverse(s, q)
  const u1 = (bytesToNumber(message) * w) % q
  const u2 = (r * w) % q
  return ((publicPower(g, u1, p) * publicPower(y, u2, p)) % p) % q === r
}

/** Makes signatures with one private key. */
export class DsaSigner {
  readonly publicKey: DsaPublicKey
  readonly #x: bigint
  readonly #nonceKey: Uint8Array
  /** OpenSSL looks at a group for 15 ms before it takes it: made when the first signature is. */
  #group: DiffieHellman | undefined

  /** @throws Error when the numbers are no DSA key */
  constructor({ x, ...publicKey }: DsaPublicKey & { readonly x: bigint }) {
    if (!isPlausible(publicKey) || x <= 0n || x >= publicKey.q) throw new Error('The numbers are no DSA key')
    this.#x = x
    this.#nonceKey = numberToBytes(x, dsaOrderBytes)
    this.publicKey = publicKey
  }

  /**
   * Signs a 32-byte message. The nonce depends on key, message and fresh random bytes, so that neither a repeated
   * random source nor a predictable one gives the key away; the inversion is blinded.
   */
  sign(message: Uint8Array, random: Random): Uint8Array {
    const { q } = this.publicKey
    for (;;) {
      const nonce = createHmac('sha512', this.#nonceKey).update(message).update(random.bytes(32)).digest()
      const k = modulo(bytesToNumber(nonce), q)
      const blind = modulo(bytesToNumber(random.bytes(dsaOrderBytes + 8)), q)
      if (k === 0n || blind === 0n) continue
      const r = bytesToNumber(this.#power(k)) % q
      const blinded = (bytesToNumber(message) * blind + ((this.#x * blind) % q) * r) % q
      const s = (inverse((k * blind) % q, q) * blinded) % q
      if (r !== 0n && s !== 0n) return concatBytes(numberToBytes(r, dsaOrderBytes), numberToBytes(s, dsaOrderBytes))
    }
  }

  /** g^exponent modulo p. The exponent is first brought to one length, which the time would show otherwise. */
  #power(exponent: bigint): Uint8Array {
    const { p, q, g } = this.publicKey
    const base = numberToBytes(g, dsaModulusBytes)
    this.#group ??= createDiffieHellman(numberToBytes(p, dsaModulusBytes), base)
    const once = exponent + q
    const sameLength = once >> BigInt(dsaOrderBytes * 8) === 1n ? once : once + q
    this.#group.setPrivateKey(numberToBytes(sameLength, dsaOrderBytes + 1))
    const power = new Uint8Array(this.#group.computeSecret(base))
    this.#group.setPrivateKey(Uint8Array.of(1))
    return power
  }
}

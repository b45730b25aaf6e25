/** A device's long-term OTR key and instance tag ("Public keys, signatures, and fingerprints", "Instance tags"). */

import { createHash, createPrivateKey, createPublicKey, generateKeyPair } from 'node:crypto'
import { PunchGuardError } from '../../api/errors.ts'
import { type OtrFingerprint, otrFingerprint, SecretKey } from '../../api/keys.ts'
import { ByteReader } from '../../util/byte-reader.ts'
import { equalBytes, fromHex } from '../../util/bytes.ts'
import { type Random, randomUint32 } from '../../util/random.ts'
import { dsaModulusBytes, dsaOrderBytes, minimumInstanceTag } from './constants.ts'
import { DsaSigner, encodeDsaPublicKey } from './dsa.ts'
import { bytesToNumber } from './encoding.ts'

export interface OtrAccount {
  /** PUBKEY bytes: type and four MPIs. */
  readonly publicKey: Uint8Array
  readonly fingerprint: OtrFingerprint
  readonly instanceTag: number
  /** r ‖ s over a 32-byte message. */
  sign(message: Uint8Array, random: Random): Uint8Array
}

/**
 * The account of a stored key and tag. Its first signature takes 15 ms longer than others: make it once per device.
 * @param options.privateKey PKCS#8 DER of a DSA key with 1024-bit p and 160-bit q
 * @throws PunchGuardError STATE_DAMAGED when key or tag are not such
 */
export function otrAccount(options: { readonly privateKey: SecretKey; readonly instanceTag: number }): OtrAccount {
  const { privateKey, instanceTag } = options
  const numbers = decodeDsaPrivateKey(privateKey.reveal())
  const y = publicNumber(privateKey)
  if (numbers === undefined || y === undefined) throw damaged('The OTR key is not a DSA private key of 1024/160 bits')
  if (!Number.isInteger(instanceTag) || instanceTag < minimumInstanceTag || instanceTag > 0xffff_ffff) {
    throw damaged('The OTR instance tag is out of range')
  }
  const signer = signerOf({ ...numbers, y })
  const publicKey = encodeDsaPublicKey(signer.publicKey)
  return {
    publicKey,
    fingerprint: fingerprintOf(publicKey),
    instanceTag,
    sign: (message, random) => signer.sign(message, random),
  }
}

/** PKCS#8 DER of a new DSA-1024/160 key. Takes 15 to 70 ms off the main thread; not repeatable. */
export function generateOtrPrivateKey(): Promise<SecretKey> {
  return new Promise((resolve, reject) => {
    const options = { modulusLength: dsaModulusBytes * 8, divisorLength: dsaOrderBytes * 8 }
    generateKeyPair('dsa', options, (error, _publicKey, privateKey) => {
      if (error === null) resolve(new SecretKey(new Uint8Array(privateKey.export({ type: 'pkcs8', format: 'der' }))))
      else reject(error)
    })
  })
}

export function randomInstanceTag(random: Random): number {
  for (;;) {
    const tag = randomUint32(random)
    if (tag >= minimumInstanceTag) return tag
  }
}

/** SHA-1 over the PUBKEY bytes without the two type bytes. */
export function fingerprintOf(publicKey: Uint8Array): OtrFingerprint {
  const digest = otrFingerprint(new Uint8Array(createHash('sha1').update(publicKey.subarray(2)).digest()))
  if (digest === undefined) throw new Error('SHA-1 has 20 bytes')
  return digest
}

type DsaNumbers = ConstructorParameters<typeof DsaSigner>[0]

function signerOf(numbers: DsaNumbers): DsaSigner {
  try {
    return new DsaSigner(numbers)
  } catch {
    // Without the cause: it could carry numbers of the key.
    throw damaged('The OTR key is not a usable DSA key')
  }
}

function damaged(message: string): PunchGuardError {
  return new PunchGuardError('STATE_DAMAGED', message, { hint: 'Restore the key file from a backup, or pair again' })
}

const derTags = { integer: 0x02, bitString: 0x03, octetString: 0x04, oid: 0x06, sequence: 0x30 } as const
const dsaOid = fromHex('2a8648ce380401') ?? new Uint8Array()

/** PrivateKeyInfo (RFC 5208 §5) with Dss-Parms (RFC 3279 §2.3.2): version 0, { id-dsa, { p, q, g } }, x. */
function decodeDsaPrivateKey(der: Uint8Array): Omit<DsaNumbers, 'y'> | undefined {
  const outer = nested(new ByteReader(der), derTags.sequence)
  if (outer === undefined || readDerNumber(outer) !== 0n) return undefined
  const algorithm = nested(outer, derTags.sequence)
  const oid = algorithm && readDer(algorithm, derTags.oid)
  const parameters = algorithm && nested(algorithm, derTags.sequence)
  const key = nested(outer, derTags.octetString)
  if (oid === undefined || !equalBytes(oid, dsaOid) || parameters === undefined || key === undefined) return undefined
  const [p, q, g, x] = [
    readDerNumber(parameters),
    readDerNumber(parameters),
    readDerNumber(parameters),
    readDerNumber(key),
  ]
  return p === undefined || q === undefined || g === undefined || x === undefined ? undefined : { p, q, g, x }
}

/** y, as OpenSSL computes it: the last number of a SubjectPublicKeyInfo (RFC 3279 section 2.3.2). */
function publicNumber(privateKey: SecretKey): bigint | undefined {
  let info: Uint8Array
  try {
    const { buffer, byteOffset, length } = privateKey.reveal()
    const key = createPrivateKey({ key: Buffer.from(buffer, byteOffset, length), format: 'der', type: 'pkcs8' })
    info = createPublicKey(key).export({ format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
  const outer = nested(new ByteReader(info), derTags.sequence)
  const algorithm = outer && readDer(outer, derTags.sequence)
  const key = algorithm && outer && nested(outer, derTags.bitString)
  return key?.uint8() === 0 ? readDerNumber(key) : undefined
}

function nested(reader: ByteReader, tag: number): ByteReader | undefined {
  const content = readDer(reader, tag)
  return content && new ByteReader(content)
}

function readDerNumber(reader: ByteReader): bigint | undefined {
  const content = readDer(reader, derTags.integer)
  return content && content.length <= dsaModulusBytes + 1 ? bytesToNumber(content) : undefined
}

/** The content of the next value when it has this tag; lengths of up to two bytes. */
function readDer(reader: ByteReader, tag: number): Uint8Array | undefined {
  if (reader.uint8() !== tag) return undefined
  const first = reader.uint8()
  const length = first === 0x81 ? reader.uint8() : first === 0x82 ? reader.uint16() : first
  return length === undefined ? undefined : reader.bytes(length)
}

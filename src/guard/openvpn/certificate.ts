/**
 * The certificate by which a peer's OpenVPN knows ours: X.509 (RFC 5280 §4.1), self-signed with Ed25519 (RFC 8410), written
 * in DER by hand because Node.js reads certificates but makes none. It is trusted by its fingerprint alone, so it says
 * nothing: one name for all, no extensions, valid for ever (§4.1.2.5). The same seed gives the same bytes.
 */

import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto'
import { concatBytes, fromHex } from '../../util/bytes.ts'

export interface Certificate {
  readonly der: Uint8Array
  /** SHA-256 of `der`: 32 bytes. */
  readonly fingerprint: Uint8Array
  readonly privateKey: KeyObject
}

const tag = {
  integer: 0x02,
  bitString: 0x03,
  objectId: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalTime: 0x18,
} as const
const constructed = { sequence: 0x30, set: 0x31, version: 0xa0 } as const

/** 2.5.4.3 */
const commonName = Uint8Array.of(0x55, 0x04, 0x03)
/** 1.3.101.112, RFC 8410 §3 */
const ed25519 = Uint8Array.of(0x2b, 0x65, 0x70)
/** PKCS #8 around the seed, RFC 8410 §7. */
const privateKeyHead = fromHex('302e020100300506032b657004220420') ?? new Uint8Array(0)

/** One element: `parts` one after the other under a tag (X.690 §8.1). */
function element(kind: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts)
  const { length } = content
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return concatBytes(Uint8Array.of(kind, ...head), content)
}

function text(kind: number, value: string): Uint8Array {
  return element(kind, new TextEncoder().encode(value))
}

/** Of a seed of 32 bytes. */
export function createCertificate(seed: Uint8Array): Certificate {
  const pkcs8 = Buffer.from(concatBytes(privateKeyHead, seed))
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  pkcs8.fill(0)
  const publicKey = new Uint8Array(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }))
  const algorithm = element(constructed.sequence, element(tag.objectId, ed25519))
  const name = element(
    constructed.sequence,
    element(
      constructed.set,
      element(constructed.sequence, element(tag.objectId, commonName), text(tag.utf8String, 'punchguard')),
    ),
  )
  // No clock is asked: the certificate is the same after every start, and a device whose clock is wrong can use it.
  const validity = element(
    constructed.sequence,
    text(tag.utcTime, '700101000000Z'),
    text(tag.generalTime, '99991231235959Z'),
  )
  const signed = element(
    constructed.sequence,
    element(constructed.version, element(tag.integer, Uint8Array.of(2))),
    element(tag.integer, Uint8Array.of(1)),
    algorithm,
    name,
    validity,
    name,
    publicKey,
  )
  const signature = new Uint8Array(sign(null, signed, privateKey))
  const der = element(
    constructed.sequence,
    signed,
    algorithm,
    element(tag.bitString, concatBytes(Uint8Array.of(0), signature)),
  )
  return { der, fingerprint: new Uint8Array(createHash('sha256').update(der).digest()), privateKey }
}

/** RFC 7468: 64 characters a line and never an empty one, at which OpenSSL would fail. */
export function toPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`].join('\n')
}

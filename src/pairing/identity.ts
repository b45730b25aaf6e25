/**
 * The secret half of a device. Made once, on the device's first start; whoever holds it is the device. Its name is not
 * part of it: that is the configuration's.
 */

import { createPrivateKey, generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'
import * as v from 'valibot'
import { SecretKey } from '../api/keys.ts'
import { toBase64 } from '../util/bytes.ts'
import type { Random } from '../util/random.ts'
import { randomBelow } from '../util/random.ts'
import { readStored, storedBytes, storedSecret, storeSecret } from './stored-value.ts'

export interface DeviceIdentity {
  /** X25519 secret key of the Tox ID, 32 bytes. */
  readonly toxSecretKey: SecretKey
  /** 4 bytes of the Tox ID that keep strangers' friend requests out. */
  readonly nospam: Uint8Array
  /** DSA-1024/160 private key (OTR v3), PKCS#8 in DER. */
  readonly otrPrivateKey: SecretKey
  /** OTR v3 instance tag, 0x100..0xffffffff. */
  readonly otrInstanceTag: number
  /** Ed25519 seed, 32 bytes. */
  readonly identitySeed: SecretKey
  /** X25519 private key of the tunnel, 32 bytes, clamped (RFC 7748 §5). */
  readonly tunnelPrivateKey: SecretKey
}

const smallestInstanceTag = 0x100
const version = 1

/** A new device. The DSA key takes some 100 ms; its randomness is node:crypto's own. */
export async function createIdentity(options: { readonly random: Random }): Promise<DeviceIdentity> {
  const { random } = options
  const dsa = await promisify(generateKeyPair)('dsa', { modulusLength: 1024, divisorLength: 160 })
  return {
    toxSecretKey: new SecretKey(clamp(random.bytes(32))),
    nospam: random.bytes(4),
    otrPrivateKey: new SecretKey(new Uint8Array(dsa.privateKey.export({ type: 'pkcs8', format: 'der' }))),
    otrInstanceTag: smallestInstanceTag + randomBelow(random, 2 ** 32 - smallestInstanceTag),
    identitySeed: new SecretKey(random.bytes(32)),
    tunnelPrivateKey: new SecretKey(clamp(random.bytes(32))),
  }
}

/** The JSON value for a StateStore. It holds every secret of the device. */
export function encodeIdentity(identity: DeviceIdentity): unknown {
  return {
    version,
    toxSecretKey: storeSecret(identity.toxSecretKey),
    nospam: toBase64(identity.nospam),
    otrPrivateKey: storeSecret(identity.otrPrivateKey),
    otrInstanceTag: identity.otrInstanceTag,
    identitySeed: storeSecret(identity.identitySeed),
    tunnelPrivateKey: storeSecret(identity.tunnelPrivateKey),
  }
}

const storedIdentity = v.object({
  version: v.literal(version),
  toxSecretKey: storedSecret(32),
  nospam: storedBytes((bytes) => (bytes.length === 4 ? bytes : undefined)),
  otrPrivateKey: storedBytes((bytes) => (isOtrPrivateKey(bytes) ? new SecretKey(bytes) : undefined)),
  otrInstanceTag: v.pipe(v.number(), v.integer(), v.minValue(smallestInstanceTag), v.maxValue(2 ** 32 - 1)),
  identitySeed: storedSecret(32),
  tunnelPrivateKey: storedSecret(32),
})

/** @throws PunchGuardError STATE_DAMAGED */
export function parseIdentity(value: unknown): DeviceIdentity {
  const { version: _, ...identity } = readStored(value, {
    name: 'identity',
    schema: storedIdentity,
    hint: 'restore identity.json from a backup; without one, move it away and pair again with every device',
  })
  return identity
}

function isOtrPrivateKey(der: Uint8Array): boolean {
  try {
    const key = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' })
    const { modulusLength, divisorLength } = key.asymmetricKeyDetails ?? {}
    return key.asymmetricKeyType === 'dsa' && modulusLength === 1024 && divisorLength === 160
  } catch {
    return false
  }
}

/** RFC 7748 §5, decodeScalar25519. */
function clamp(bytes: Uint8Array): Uint8Array {
  bytes[0] = (bytes[0] ?? 0) & 248
  bytes[31] = ((bytes[31] ?? 0) & 127) | 64
  return bytes
}

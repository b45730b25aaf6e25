/** ICE credentials (RFC 8445 §5.3): the ufrag names an association in USERNAME, the password authenticates it. */

import { hkdfSync } from 'node:crypto'
import type { SecretKey } from '../../api/keys.ts'
import { toBase64 } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'

export interface IceCredentials {
  /** 4..256 ICE characters (letters, digits, `+`, `/`). */
  readonly ufrag: string
  /** 22..256 ICE characters. */
  readonly password: string
}

/** Both sides' credentials: requests to us are authenticated with ours, requests to the peer with the peer's. */
export interface Association {
  readonly local: IceCredentials
  readonly remote: IceCredentials
}

/** Multiples of 3, so that base64 needs no padding: 48 bits of name, 192 bits of password. */
const ufragBytes = 6
const passwordBytes = 24

export function randomCredentials(random: Random): IceCredentials {
  return credentialsFrom(random.bytes(ufragBytes + passwordBytes))
}

/** RFC 8445 §5.3: lengths and alphabet. */
export function areCredentials(credentials: IceCredentials): boolean {
  return /^[A-Za-z0-9+/]{4,256}$/.test(credentials.ufrag) && /^[A-Za-z0-9+/]{22,256}$/.test(credentials.password)
}

/**
 * The association both ends derive from a secret of their last meeting, one pair of credentials for each role
 * (HKDF-SHA256, RFC 5869). It is the same at every resumption with this secret, so an observer can link those.
 */
export function resumeAssociation(options: { readonly secret: SecretKey; readonly controlling: boolean }): Association {
  const derive = (role: string): IceCredentials =>
    credentialsFrom(
      new Uint8Array(
        hkdfSync(
          'sha256',
          options.secret.reveal(),
          new Uint8Array(0),
          `punchguard resume ${role}`,
          ufragBytes + passwordBytes,
        ),
      ),
    )
  const [controlling, controlled] = [derive('controlling'), derive('controlled')]
  return options.controlling ? { local: controlling, remote: controlled } : { local: controlled, remote: controlling }
}

function credentialsFrom(bytes: Uint8Array): IceCredentials {
  return { ufrag: toBase64(bytes.subarray(0, ufragBytes)), password: toBase64(bytes.subarray(ufragBytes)) }
}

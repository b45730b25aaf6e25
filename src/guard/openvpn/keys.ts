/** The secrets of an OpenVPN tunnel, derived (HKDF, RFC 5869) from what the two devices hold already. */

import { hkdfSync } from 'node:crypto'
import { SecretKey, type TunnelPublicKey } from '../../api/keys.ts'
import { compareBytes, concatBytes } from '../../util/bytes.ts'

/** The two ends of a tunnel. */
export interface TunnelEnds {
  readonly own: TunnelPublicKey
  readonly peer: TunnelPublicKey
}

/** Bytes of an OpenVPN static key. */
const staticKeySize = 256

/** Of our certificate, 32 bytes: the same at every start, so that a peer which knows our fingerprint goes on knowing us. */
export function certificateSeed(privateKey: SecretKey): SecretKey {
  return derive(privateKey, { purpose: 'certificate', context: new Uint8Array(0), length: 32 })
}

/**
 * OpenVPN's `tls-crypt` key for the tunnel between two devices, from their pre-shared key: who does not hold that does not
 * get an answer, and a quantum computer does not learn the handshake.
 */
export function staticKey(presharedKey: SecretKey, { own, peer }: TunnelEnds): SecretKey {
  const context = concatBytes(...[own, peer].sort(compareBytes))
  return derive(presharedKey, { purpose: 'tls-crypt', context, length: staticKeySize })
}

/** Exactly one end is the TLS server. */
export function isServer({ own, peer }: TunnelEnds): boolean {
  return compareBytes(own, peer) < 0
}

function derive(
  key: SecretKey,
  { purpose, context, length }: { readonly purpose: string; readonly context: Uint8Array; readonly length: number },
): SecretKey {
  const info = concatBytes(new TextEncoder().encode(`punchguard/openvpn/${purpose}/v1`), context)
  return new SecretKey(new Uint8Array(hkdfSync('sha256', key.reveal(), new Uint8Array(0), info, length)))
}

/** LAN discovery (Tox specification, "LAN discovery"): a node says that it is there. */

import { concatBytes } from '../../../util/bytes.ts'
import { type DhtPublicKey, dhtPublicKey } from '../crypto.ts'

export const lanDiscoveryKind = 0x21

/** 0x21 (1) || sender's DHT public key (32) */
export function encodeLanDiscovery(sender: DhtPublicKey): Uint8Array {
  return concatBytes(Uint8Array.of(lanDiscoveryKind), sender)
}

export function decodeLanDiscovery(bytes: Uint8Array): DhtPublicKey | undefined {
  return bytes.length === 33 && bytes[0] === lanDiscoveryKind ? dhtPublicKey(bytes.slice(1)) : undefined
}

/**
 * A device's addresses inside the tunnel, derived from its WireGuard public key, so that nobody hands them out:
 * an IPv6 unique local address (RFC 4193) that cannot collide in practice, and an IPv4 one in 10.64.0.0/10 for
 * programs that know no IPv6 (two of a thousand devices share one with probability 0.11; the config can set another).
 */

import { createHash } from 'node:crypto'
import type { TunnelPublicKey } from './keys.ts'

export interface TunnelAddresses {
  readonly ipv4: string
  readonly ipv6: string
}

export function tunnelAddresses(publicKey: TunnelPublicKey): TunnelAddresses {
  const hash = createHash('sha256').update('punchguard/tunnel-address/v1').update(publicKey).digest()
  const second = 64 + (hash.readUInt8(10) & 63)
  const fourth = 1 + (hash.readUInt8(12) % 254)
  const groups: string[] = ['fd70', '6775', '6172']
  for (let at = 0; at < 10; at += 2) groups.push(hash.readUInt16BE(at).toString(16))
  return { ipv4: `10.${second}.${hash.readUInt8(11)}.${fourth}`, ipv6: groups.join(':') }
}

/**
 * A device's addresses inside the tunnel, derived from its WireGuard public key, so that nobody hands them out: an IPv6
 * unique local address (RFC 4193) that cannot collide in practice, and IPv4 ones for programs that know no IPv6, the
 * first in 10.64.0.0/10 (two of a thousand devices share one with probability 0.11), others for when it is taken.
 */

import { createHash } from 'node:crypto'
import { ipaddr } from '../util/ipaddr.ts'
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

/** RFC 1918, and last RFC 6598: carriers and other private networks use that one too. */
const ranges = ['10.64.0.0/10', '172.16.0.0/12', '10.0.0.0/8', '192.168.0.0/16'] as const
export const SHARED_ADDRESS_SPACE = '100.64.0.0/10'
const triesInPrivateRanges = 64
const triesInSharedRange = 16

/** IPv4 addresses for a device, best first: the derived one, then others that follow from the key as well. */
export function* ipv4Candidates(publicKey: TunnelPublicKey): Generator<string> {
  yield tunnelAddresses(publicKey).ipv4
  for (let attempt = 1; attempt < triesInPrivateRanges; attempt++) {
    yield candidate(publicKey, attempt, ranges[attempt % ranges.length] ?? ranges[0])
  }
  for (let attempt = 0; attempt < triesInSharedRange; attempt++) {
    yield candidate(publicKey, triesInPrivateRanges + attempt, SHARED_ADDRESS_SPACE)
  }
}

/** Never the first or the last of a /24: many a program takes those for a network's own. */
function candidate(publicKey: TunnelPublicKey, attempt: number, range: string): string {
  const [network, length] = ipaddr.IPv4.parseCIDR(range)
  const hash = createHash('sha256')
    .update('punchguard/tunnel-address/v1/')
    .update(String(attempt))
    .update(publicKey)
    .digest()
  const octets = network.toByteArray()
  const bits = 32 - length
  const within = hash.readUInt32BE(0) % 2 ** bits
  return octets
    .map((octet, at) => (at === 3 ? 1 + ((within & 255) % 254) : octet | ((within >>> (8 * (3 - at))) & 255)))
    .join('.')
}

/** RFC 1918, RFC 6598 or RFC 4193: nobody on the Internet has it. */
export function isTunnelAddress(text: string): boolean {
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) && !ipaddr.IPv6.isValid(text)) return false
  const range = ipaddr.parse(text).range()
  return range === 'private' || range === 'carrierGradeNat' || range === 'uniqueLocal'
}

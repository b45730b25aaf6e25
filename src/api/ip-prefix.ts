/** IP prefixes as text, `10.64.1.2/32` or `fd70::/16` (RFC 4632, RFC 4291 §2.3). */

import { ipaddr } from '../util/ipaddr.ts'

/** The prefix that holds one address alone. */
export function hostPrefix(address: string): string {
  return `${address}/${isIpv6(address) ? 128 : 32}`
}

export function isIpv6(text: string): boolean {
  return text.includes(':')
}

/** Whether two prefixes have an address in common. Prefixes of different families, or that are none, have not. */
export function overlap(a: string, b: string): boolean {
  if (!ipaddr.isValidCIDR(a) || !ipaddr.isValidCIDR(b)) return false
  const [first, firstLength] = ipaddr.parseCIDR(a)
  const [second, secondLength] = ipaddr.parseCIDR(b)
  return first.kind() === second.kind() && first.match(second, Math.min(firstLength, secondLength))
}

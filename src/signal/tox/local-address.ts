/**
 * Which addresses count as local to a network: they are not named to askers from outside, and not believed when named
 * by somebody from outside (as c-toxcore behaves on the wire; not in the specification).
 */

import type { Endpoint } from '../../api/endpoint.ts'

/** Loopback, private, link-local and carrier-grade NAT addresses; anything unreadable counts as not local. */
export function isLocal(endpoint: Endpoint): boolean {
  const { address } = endpoint
  if (!address.includes(':')) return isLocalIpv4(address)
  if (address === '::1') return true
  if (address.startsWith('::ffff:')) return isLocalIpv4(address.slice(7))
  return /^fe[89ab][0-9a-f]:/.test(address)
}

function isLocalIpv4(address: string): boolean {
  const [a = 0, b = 0, c = 0] = address.split('.').map(Number)
  switch (a) {
    case 10:
    case 127:
      return true
    case 100:
      return b >= 64 && b <= 127
    case 169:
      return b === 254 && c !== 0 && c !== 255
    case 172:
      return b >= 16 && b <= 31
    case 192:
      return b === 168
    default:
      return false
  }
}

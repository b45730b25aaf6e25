/** The few fields of an inner IP packet that cryptokey routing needs (RFC 791 §3.1, RFC 8200 §3). Nothing else is read. */

import type { AllowedIps } from '../wireguard/allowed-ips.ts'

const ipv4 = { size: 20, totalLength: 2, source: 12, destination: 16 } as const
const ipv6 = { size: 40, payloadLength: 4, source: 8, destination: 24 } as const

/** The owner of the packet's destination; `undefined` for no owner and for what is no IP packet. */
export function ownerOfDestination<Owner>(packet: Uint8Array, allowedIps: AllowedIps<Owner>): Owner | undefined {
  switch (versionOf(packet)) {
    case 4:
      return allowedIps.lookupIpv4(packet, ipv4.destination)
    case 6:
      return allowedIps.lookupIpv6(packet, ipv6.destination)
    default:
      return undefined
  }
}

export function ownerOfSource<Owner>(packet: Uint8Array, allowedIps: AllowedIps<Owner>): Owner | undefined {
  switch (versionOf(packet)) {
    case 4:
      return allowedIps.lookupIpv4(packet, ipv4.source)
    case 6:
      return allowedIps.lookupIpv6(packet, ipv6.source)
    default:
      return undefined
  }
}

/** The packet without its padding, by the length in its header; `undefined` when that does not fit. */
export function trimPadding(padded: Uint8Array): Uint8Array | undefined {
  const version = versionOf(padded)
  if (version === undefined) return undefined
  const length = version === 4 ? uint16(padded, ipv4.totalLength) : ipv6.size + uint16(padded, ipv6.payloadLength)
  const least = version === 4 ? ipv4.size : ipv6.size
  return length < least || length > padded.length ? undefined : padded.subarray(0, length)
}

function versionOf(packet: Uint8Array): 4 | 6 | undefined {
  const version = (packet[0] ?? 0) >> 4
  if (version === 4 && packet.length >= ipv4.size) return 4
  if (version === 6 && packet.length >= ipv6.size) return 6
  return undefined
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

/** IPv4 addresses as unsigned 32-bit numbers, and the part of a packet that routers look at. */

export type Protocol = 'udp' | 'tcp' | 'icmp'

/**
 * Where a packet comes from and goes to. For ICMP echo (RFC 5508 §3) the identifier stands in for the port of the side
 * that asks, and the port of the side that answers is 0.
 */
export interface Flow {
  readonly protocol: Protocol
  readonly source: number
  readonly sourcePort: number
  readonly destination: number
  readonly destinationPort: number
}

/** The number of a dotted address, `undefined` for anything else. */
export function parseIpv4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  let value = 0
  for (const part of match.slice(1)) {
    const byte = Number(part)
    if (byte > 255) return undefined
    value = value * 256 + byte
  }
  return value
}

export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`
}

/** As `parseIpv4`, for addresses written by a programmer. */
export function ipv4(text: string): number {
  const address = parseIpv4(text)
  if (address === undefined) throw new Error(`Not an IPv4 address: ${text}`)
  return address
}

/**
 * UDP over IPv4 as it lies on the wire (RFC 768, RFC 791), for a raw socket. Left out: IP options on the way out,
 * fragments, and checking a received checksum: the kernel hands raw sockets packets whose checksum its network card was
 * to fill in, and what we read from here is authenticated by itself.
 */

import type { Endpoint } from '../api/endpoint.ts'

export interface UdpPacket {
  readonly from: Endpoint
  readonly to: Endpoint
  /** A view into the packet. */
  readonly payload: Uint8Array
}

/**
 * Big-endian. `ihl` counts 32-bit words: 5 without options. `total` and the IP checksum may be left 0 for a raw socket.
 *
 * | offset | size | IPv4               |  offset | size | UDP              |
 * |      0 |    1 | version 4, ihl     |  4·ihl  |    2 | source port      |
 * |      2 |    2 | total length       |      +2 |    2 | destination port |
 * |      6 |    2 | flags, offset      |      +4 |    2 | length           |
 * |      8 |    1 | time to live       |      +6 |    2 | checksum         |
 * |      9 |    1 | protocol 17        |      +8 |    n | payload          |
 * |     10 |    2 | header checksum    |
 * |     12 |    4 | source address     |
 * |     16 |    4 | destination address |
 */
const ip = { flags: 6, timeToLive: 8, protocol: 9, source: 12, destination: 16, minimumSize: 20 } as const
const udp = { destination: 2, length: 4, checksum: 6, size: 8 } as const

const protocolUdp = 17
const versionAndLength = 0x45
const dontFragment = 0x4000
const moreFragmentsAndOffset = 0x3fff
const defaultTimeToLive = 64

/** Bytes in front of the payload of a packet that we write. */
export const udpPacketOverhead: number = ip.minimumSize + udp.size

/** `undefined` for anything that is not one whole UDP datagram over IPv4. */
export function decodeUdpPacket(bytes: Uint8Array): UdpPacket | undefined {
  const first = bytes[0] ?? 0
  const header = (first & 0x0f) * 4
  if (first >> 4 !== 4 || header < ip.minimumSize || bytes.length < header + udp.size) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes[ip.protocol] !== protocolUdp || (view.getUint16(ip.flags) & moreFragmentsAndOffset) !== 0) return undefined
  const length = view.getUint16(header + udp.length)
  if (length < udp.size || header + length > bytes.length) return undefined
  return {
    from: { address: addressAt(bytes, ip.source), port: view.getUint16(header) },
    to: { address: addressAt(bytes, ip.destination), port: view.getUint16(header + udp.destination) },
    payload: bytes.subarray(header + udp.size, header + length),
  }
}

/**
 * Writes to the front of `target`, which has `udpPacketOverhead` bytes more than the payload, and returns the length.
 * `whole`: no router may cut it (DF).
 */
export function encodeUdpPacket(
  packet: UdpPacket,
  target: Uint8Array,
  { whole = false }: { readonly whole?: boolean } = {},
): number {
  const { from, to, payload } = packet
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength)
  const header = ip.minimumSize
  const udpLength = udp.size + payload.length
  target.fill(0, 0, udpPacketOverhead)
  target[0] = versionAndLength
  view.setUint16(2, header + udpLength)
  view.setUint16(ip.flags, whole ? dontFragment : 0)
  target[ip.timeToLive] = defaultTimeToLive
  target[ip.protocol] = protocolUdp
  target.set(from.address.split('.').map(Number), ip.source)
  target.set(to.address.split('.').map(Number), ip.destination)
  view.setUint16(header, from.port)
  view.setUint16(header + udp.destination, to.port)
  view.setUint16(header + udp.length, udpLength)
  target.set(payload, udpPacketOverhead)
  // RFC 768: over a pseudo header too: both addresses, the protocol and the length. 0 would mean that there is none.
  const sum = sumWords(target.subarray(ip.source, udpPacketOverhead + payload.length)) + protocolUdp + udpLength
  view.setUint16(header + udp.checksum, ~fold(sum) & 0xffff || 0xffff)
  return header + udpLength
}

function sumWords(bytes: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
  return sum
}

function fold(sum: number): number {
  let folded = sum
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000)
  return folded
}

function addressAt(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`
}

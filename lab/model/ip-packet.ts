/**
 * The bytes of IPv4 packets (RFC 791) as far as a router touches them: addresses, time to live, the ports of UDP and
 * TCP or the identifier of an ICMP echo, and the checksums over them, updated incrementally (RFC 1624).
 * Left out: fragments (ip-fragments.ts puts them together before), IP options are skipped, other protocols.
 *
 * | offset | size | field                                   |
 * |      0 |    1 | version 4, header length in words       |
 * |      2 |    2 | total length                            |
 * |      6 |    2 | flags, fragment offset                  |
 * |      8 |    1 | time to live                            |
 * |      9 |    1 | protocol                                |
 * |     10 |    2 | header checksum                         |
 * |     12 |    4 | source address                          |
 * |     16 |    4 | destination address                     |
 */

import type { Flow, Protocol } from './ipv4.ts'

export interface IpPacket {
  readonly flow: Flow
  readonly ttl: number
}

const minimumHeader = 20
const moreFragmentsOrOffset = 0x3fff
const checksumAt: Readonly<Record<Protocol, number>> = { udp: 6, tcp: 16, icmp: 2 }
const minimumTransport: Readonly<Record<Protocol, number>> = { udp: 8, tcp: 20, icmp: 8 }
const echoReply = 0
const echoRequest = 8
const identifierAt = 4

/** What a router needs to know of a packet; `undefined` for anything but whole UDP, TCP and ICMP echo over IPv4. */
export function decodeIpPacket(bytes: Uint8Array): IpPacket | undefined {
  if (bytes.length < minimumHeader) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const first = view.getUint8(0)
  const header = (first & 15) * 4
  const protocol = protocolOf(view.getUint8(9))
  if (first >> 4 !== 4 || header < minimumHeader || protocol === undefined) return undefined
  if (view.getUint16(2) !== bytes.length || bytes.length < header + minimumTransport[protocol]) return undefined
  if ((view.getUint16(6) & moreFragmentsOrOffset) !== 0) return undefined
  const ports = protocol === 'icmp' ? echoPorts(view, header) : [view.getUint16(header), view.getUint16(header + 2)]
  if (ports === undefined) return undefined
  const [sourcePort = 0, destinationPort = 0] = ports
  const flow = { protocol, source: view.getUint32(12), sourcePort, destination: view.getUint32(16), destinationPort }
  return { flow, ttl: view.getUint8(8) }
}

/** Writes another flow of the same protocol and another time to live into a packet that was decoded as `packet`. */
export function rewriteIpPacket(bytes: Uint8Array, packet: IpPacket, to: IpPacket): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const header = (view.getUint8(0) & 15) * 4
  const { flow } = packet
  const addresses = changeOf32(flow.source, to.flow.source) + changeOf32(flow.destination, to.flow.destination)
  view.setUint8(8, to.ttl)
  view.setUint32(12, to.flow.source)
  view.setUint32(16, to.flow.destination)
  updateChecksum(view, 10, addresses + changeOf16(packet.ttl << 8, to.ttl << 8))
  const at = header + checksumAt[flow.protocol]
  const ports =
    changeOf16(flow.sourcePort, to.flow.sourcePort) + changeOf16(flow.destinationPort, to.flow.destinationPort)
  if (flow.protocol === 'icmp') {
    const asks = view.getUint8(header) === echoRequest
    view.setUint16(header + identifierAt, asks ? to.flow.sourcePort : to.flow.destinationPort)
    updateChecksum(view, at, ports)
    return
  }
  view.setUint16(header, to.flow.sourcePort)
  view.setUint16(header + 2, to.flow.destinationPort)
  // UDP without a checksum stays without (RFC 768); one that comes out as 0 is written as its other form.
  if (flow.protocol === 'udp' && view.getUint16(at) === 0) return
  updateChecksum(view, at, addresses + ports)
  if (flow.protocol === 'udp' && view.getUint16(at) === 0) view.setUint16(at, 0xffff)
}

function protocolOf(number: number): Protocol | undefined {
  switch (number) {
    case 17:
      return 'udp'
    case 6:
      return 'tcp'
    case 1:
      return 'icmp'
    default:
      return undefined
  }
}

/** The identifier on the side that asks, 0 on the side that answers; `undefined` for other ICMP messages. */
function echoPorts(view: DataView, header: number): readonly number[] | undefined {
  const type = view.getUint8(header)
  const identifier = view.getUint16(header + identifierAt)
  if (type === echoRequest) return [identifier, 0]
  if (type === echoReply) return [0, identifier]
  return undefined
}

/** What a 16-bit word adds to the ones' complement sum when it changes: new + ~old (RFC 1624 §3, eqn. 3). */
function changeOf16(from: number, to: number): number {
  return from === to ? 0 : to + (0xffff - from)
}

function changeOf32(from: number, to: number): number {
  return changeOf16(from >>> 16, to >>> 16) + changeOf16(from & 0xffff, to & 0xffff)
}

function updateChecksum(view: DataView, at: number, change: number): void {
  let sum = 0xffff - view.getUint16(at) + change
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(at, 0xffff - sum)
}

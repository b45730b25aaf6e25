/**
 * Packed nodes and the fixed-size addresses inside onion layers (Tox specification, "Packed node format", "Onion").
 * IPv6 is read and written here; the machines above use IPv4 over UDP only.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import { ByteReader } from '../../util/byte-reader.ts'
import { ByteWriter } from '../../util/byte-writer.ts'
import { ipaddr } from '../../util/ipaddr.ts'
import { type DhtPublicKey, dhtPublicKey } from './crypto.ts'

/** A node of the DHT and where it answers over UDP. */
export interface NodeContact {
  readonly publicKey: DhtPublicKey
  readonly endpoint: Endpoint
}

/** A node as named on the wire: a DHT node (`udp`) or a TCP relay (`tcp`). */
export interface PackedNode extends NodeContact {
  readonly transport: 'udp' | 'tcp'
}

const udpIpv4 = 2
const udpIpv6 = 10
const tcpIpv4 = 130
const tcpIpv6 = 138

/** An address inside an onion layer always takes this much. */
export const onionAddressBytes = 19

/**
 * A list of packed nodes, one after the other without a count.
 *
 * | offset | size    | field                                                          |
 * |      0 |       1 | type: 2 UDP/IPv4, 10 UDP/IPv6, 130 TCP/IPv4, 138 TCP/IPv6        |
 * |      1 | 4 or 16 | address                                                        |
 * |        |       2 | port                                                           |
 * |        |      32 | DHT public key                                                 |
 */
export function encodePackedNodes(nodes: readonly PackedNode[]): Uint8Array {
  const writer = new ByteWriter(39 * nodes.length)
  for (const node of nodes) {
    const address = ipaddr.parse(node.endpoint.address).toByteArray()
    const ipv4 = address.length === 4
    const type = node.transport === 'udp' ? (ipv4 ? udpIpv4 : udpIpv6) : ipv4 ? tcpIpv4 : tcpIpv6
    writer.uint8(type).bytes(Uint8Array.from(address)).uint16(node.endpoint.port).bytes(node.publicKey)
  }
  return writer.finish()
}

/** Reads up to `limit` nodes that fill `bytes` exactly; `undefined` otherwise. Keys are copied. */
export function decodePackedNodes(bytes: Uint8Array, limit: number): readonly PackedNode[] | undefined {
  const reader = new ByteReader(bytes)
  const nodes: PackedNode[] = []
  while (reader.remaining > 0) {
    if (nodes.length >= limit) return undefined
    const node = decodePackedNode(reader)
    if (node === undefined) return undefined
    nodes.push(node)
  }
  return nodes
}

function decodePackedNode(reader: ByteReader): PackedNode | undefined {
  const type = reader.uint8()
  const ipv4 = type === udpIpv4 || type === tcpIpv4
  if (!ipv4 && type !== udpIpv6 && type !== tcpIpv6) return undefined
  const address = reader.bytes(ipv4 ? 4 : 16)
  const port = reader.uint16()
  const publicKey = dhtPublicKey(reader.bytes(32)?.slice() ?? new Uint8Array())
  if (address === undefined || port === undefined || publicKey === undefined) return undefined
  const transport = type === udpIpv4 || type === udpIpv6 ? 'udp' : 'tcp'
  return { transport, endpoint: { address: formatAddress(address), port }, publicKey }
}

/**
 * Onion address, 19 bytes.
 *
 * | offset | size | field                               |
 * |      0 |    1 | family: 2 IPv4, 10 IPv6             |
 * |      1 |   16 | address, IPv4 in the first 4, then 0 |
 * |     17 |    2 | port                                |
 */
export function encodeOnionAddress(endpoint: Endpoint): Uint8Array {
  const address = ipaddr.parse(endpoint.address).toByteArray()
  const bytes = new Uint8Array(onionAddressBytes)
  bytes[0] = address.length === 4 ? udpIpv4 : udpIpv6
  bytes.set(address, 1)
  bytes[17] = endpoint.port >> 8
  bytes[18] = endpoint.port & 0xff
  return bytes
}

export function decodeOnionAddress(bytes: Uint8Array): Endpoint | undefined {
  if (bytes.length !== onionAddressBytes) return undefined
  const family = bytes[0]
  if (family !== udpIpv4 && family !== udpIpv6) return undefined
  const port = (bytes[17] ?? 0) * 256 + (bytes[18] ?? 0)
  if (port === 0) return undefined
  return { address: formatAddress(bytes.subarray(1, family === udpIpv4 ? 5 : 17)), port }
}

function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  return new ipaddr.IPv6([...bytes]).toRFC5952String()
}

/** Whether an address is dotted IPv4, the one family the machines send to. */
export function isIpv4(endpoint: Endpoint): boolean {
  return !endpoint.address.includes(':')
}

/**
 * Ping and nodes packets of the DHT (Tox specification, "DHT Packets", "RPC Services"). A response is told from a request
 * by its plain bytes too, because both directions use the same shared key.
 */

import { ByteReader } from '../../../util/byte-reader.ts'
import { concatBytes } from '../../../util/bytes.ts'
import { type DhtPublicKey, dhtPublicKey, macBytes, nonceBytes } from '../crypto.ts'
import { decodePackedNodes, encodePackedNodes, type PackedNode } from '../packed-node.ts'

/** The first byte of the datagrams of this file. */
export const dhtPacketKinds = {
  pingRequest: 0x00,
  pingResponse: 0x01,
  nodesRequest: 0x02,
  nodesResponse: 0x04,
} as const

export interface DhtPacket {
  /** One of `dhtPacketKinds`. */
  readonly kind: number
  readonly sender: DhtPublicKey
  readonly nonce: Uint8Array
  readonly boxed: Uint8Array
}

/** What is inside the box. `id` is 8 bytes, chosen by the asker and repeated in the response. */
export type DhtMessage =
  | { readonly kind: 'ping-request'; readonly id: Uint8Array }
  | { readonly kind: 'ping-response'; readonly id: Uint8Array }
  | { readonly kind: 'nodes-request'; readonly id: Uint8Array; readonly wanted: Uint8Array }
  | { readonly kind: 'nodes-response'; readonly id: Uint8Array; readonly nodes: readonly PackedNode[] }

/** Most nodes in one response. */
export const nodesPerResponse = 4

const idBytes = 8
const header = 1 + 32 + nonceBytes
const pingLength = header + macBytes + 1 + idBytes
const nodesRequestLength = header + macBytes + 32 + idBytes
const largestNodesResponse = pingLength + nodesPerResponse * 51

/**
 * | offset | size | field                                                       |
 * |      0 |    1 | kind: 0 ping request, 1 response; 2 nodes request, 4 response |
 * |      1 |   32 | sender's DHT public key                                     |
 * |     33 |   24 | nonce                                                       |
 * |     57 | n+16 | box                                                         |
 */
export function encodeDhtPacket(packet: DhtPacket): Uint8Array {
  return concatBytes(Uint8Array.of(packet.kind), packet.sender, packet.nonce, packet.boxed)
}

/** Reads the outside of a packet of a possible length; the fields are views, but for the key. */
export function decodeDhtPacket(bytes: Uint8Array): DhtPacket | undefined {
  const kind = bytes[0]
  if (kind === undefined || !lengthFits(kind, bytes.length)) return undefined
  const sender = dhtPublicKey(bytes.slice(1, 33))
  if (sender === undefined) return undefined
  return { kind, sender, nonce: bytes.subarray(33, header), boxed: bytes.subarray(header) }
}

function lengthFits(kind: number, length: number): boolean {
  switch (kind) {
    case dhtPacketKinds.pingRequest:
    case dhtPacketKinds.pingResponse:
      return length === pingLength
    case dhtPacketKinds.nodesRequest:
      return length === nodesRequestLength
    case dhtPacketKinds.nodesResponse:
      return length >= pingLength && length <= largestNodesResponse
    default:
      return false
  }
}

/**
 * The plain bytes and the kind byte they belong to.
 *
 * ping request: 0 (1) || id (8); ping response: 1 (1) || id (8); nodes request: wanted key (32) || id (8);
 * nodes response: count (1) || packed nodes || id (8)
 */
export function encodeDhtMessage(message: DhtMessage): { readonly kind: number; readonly plain: Uint8Array } {
  switch (message.kind) {
    case 'ping-request':
      return { kind: dhtPacketKinds.pingRequest, plain: concatBytes(Uint8Array.of(0), message.id) }
    case 'ping-response':
      return { kind: dhtPacketKinds.pingResponse, plain: concatBytes(Uint8Array.of(1), message.id) }
    case 'nodes-request':
      return { kind: dhtPacketKinds.nodesRequest, plain: concatBytes(message.wanted, message.id) }
    case 'nodes-response': {
      const count = Uint8Array.of(message.nodes.length)
      const plain = concatBytes(count, encodePackedNodes(message.nodes), message.id)
      return { kind: dhtPacketKinds.nodesResponse, plain }
    }
  }
}

/** Reads what was in the box of a packet of this kind; `undefined` when the form is wrong or a node is not UDP. */
export function decodeDhtMessage(kind: number, plain: Uint8Array): DhtMessage | undefined {
  const reader = new ByteReader(plain)
  switch (kind) {
    case dhtPacketKinds.pingRequest:
    case dhtPacketKinds.pingResponse: {
      if (plain.length !== 1 + idBytes || reader.uint8() !== kind) return undefined
      return { kind: kind === dhtPacketKinds.pingRequest ? 'ping-request' : 'ping-response', id: reader.rest() }
    }
    case dhtPacketKinds.nodesRequest: {
      const wanted = reader.bytes(32)
      if (wanted === undefined || reader.remaining !== idBytes) return undefined
      return { kind: 'nodes-request', wanted, id: reader.rest() }
    }
    case dhtPacketKinds.nodesResponse: {
      const count = reader.uint8()
      const packed = reader.bytes(reader.remaining - idBytes)
      if (count === undefined || packed === undefined) return undefined
      const nodes = decodePackedNodes(packed, nodesPerResponse)
      if (nodes?.length !== count || nodes.some((node) => node.transport !== 'udp')) return undefined
      return { kind: 'nodes-response', nodes, id: reader.rest() }
    }
    default:
      return undefined
  }
}

/**
 * DHT-key packet (Tox specification, "DHT public key packet"): tells a friend where to look for us. Sent through the
 * onion, and, once the friend's DHT key is known, also as a routed DHT request.
 */

import { ByteReader } from '../../../util/byte-reader.ts'
import { ByteWriter } from '../../../util/byte-writer.ts'
import { concatBytes } from '../../../util/bytes.ts'
import {
  type DhtPublicKey,
  dhtPublicKey,
  type LongTermPublicKey,
  longTermPublicKey,
  macBytes,
  nonceBytes,
} from '../crypto.ts'
import { decodePackedNodes, encodePackedNodes, type PackedNode } from '../packed-node.ts'

export const dhtKeyPacketId = 0x9c

export interface DhtKeyPacket {
  /** Unix seconds: larger than in every packet before. */
  readonly noReplay: bigint
  readonly dhtKey: DhtPublicKey
  /** At most 4: TCP relays the sender uses, then UDP nodes close to its DHT key. */
  readonly nodes: readonly PackedNode[]
}

/**
 * | offset | size | field        |
 * |      0 |    1 | 0x9c         |
 * |      1 |    8 | no replay    |
 * |      9 |   32 | DHT key      |
 * |     41 |    n | packed nodes |
 */
export function encodeDhtKeyPacket(packet: DhtKeyPacket): Uint8Array {
  const writer = new ByteWriter(256)
  writer.uint8(dhtKeyPacketId).uint64(packet.noReplay).bytes(packet.dhtKey).bytes(encodePackedNodes(packet.nodes))
  return writer.finish()
}

/** Keys are copied. */
export function decodeDhtKeyPacket(plain: Uint8Array): DhtKeyPacket | undefined {
  const reader = new ByteReader(plain)
  if (reader.uint8() !== dhtKeyPacketId) return undefined
  const noReplay = reader.uint64()
  const dhtKey = dhtPublicKey(reader.bytes(32)?.slice() ?? new Uint8Array())
  const nodes = decodePackedNodes(reader.rest(), 4)
  if (noReplay === undefined || dhtKey === undefined || nodes === undefined) return undefined
  return { noReplay, dhtKey, nodes }
}

export interface RoutedDhtKey {
  readonly sender: LongTermPublicKey
  readonly nonce: Uint8Array
  /** Between the long-term keys; holds a DHT-key packet. */
  readonly boxed: Uint8Array
}

/** What a routed DHT request carries: 0x9c (1) || sender's long-term key (32) || nonce (24) || box */
export function encodeRoutedDhtKey(routed: RoutedDhtKey): Uint8Array {
  return concatBytes(Uint8Array.of(dhtKeyPacketId), routed.sender, routed.nonce, routed.boxed)
}

/** Reads what follows the id byte. */
export function decodeRoutedDhtKey(payload: Uint8Array): RoutedDhtKey | undefined {
  const header = 32 + nonceBytes
  const sender = longTermPublicKey(payload.slice(0, 32))
  if (sender === undefined || payload.length <= header + macBytes) return undefined
  return { sender, nonce: payload.subarray(32, header), boxed: payload.subarray(header) }
}

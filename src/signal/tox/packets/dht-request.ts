/**
 * DHT request packets: routed by a third node to a key it knows (Tox specification, "DHT Request Packets", "NAT ping
 * packets"). Ids other than NAT ping and DHT-key are left to the caller to ignore.
 */

import { concatBytes } from '../../../util/bytes.ts'
import { type DhtPublicKey, dhtPublicKey, macBytes, nonceBytes } from '../crypto.ts'

export const dhtRequestKind = 0x20

/** The first plain byte of a routed request. */
export const dhtRequestIds = { natPing: 0xfe, dhtKey: 0x9c } as const

export interface DhtRequest {
  readonly destination: DhtPublicKey
  readonly sender: DhtPublicKey
  readonly nonce: Uint8Array
  readonly boxed: Uint8Array
}

const header = 1 + 32 + 32 + nonceBytes
const shortest = header + macBytes + 1
const longest = 1024

/**
 * | offset | size | field                        |
 * |      0 |    1 | 0x20                         |
 * |      1 |   32 | destination's DHT public key |
 * |     33 |   32 | sender's DHT public key      |
 * |     65 |   24 | nonce                        |
 * |     89 | n+16 | box: id (1) || data          |
 */
export function encodeDhtRequest(request: DhtRequest): Uint8Array {
  const kind = Uint8Array.of(dhtRequestKind)
  return concatBytes(kind, request.destination, request.sender, request.nonce, request.boxed)
}

/** The fields are views, but for the keys. */
export function decodeDhtRequest(bytes: Uint8Array): DhtRequest | undefined {
  if (bytes[0] !== dhtRequestKind || bytes.length < shortest || bytes.length > longest) return undefined
  const destination = dhtPublicKey(bytes.slice(1, 33))
  const sender = dhtPublicKey(bytes.slice(33, 65))
  if (destination === undefined || sender === undefined) return undefined
  return { destination, sender, nonce: bytes.subarray(65, header), boxed: bytes.subarray(header) }
}

export interface NatPing {
  readonly response: boolean
  /** 8 bytes. */
  readonly number: Uint8Array
}

/** 0xfe (1) || 0 request or 1 response (1) || number (8) */
export function encodeNatPing(ping: NatPing): Uint8Array {
  return concatBytes(Uint8Array.of(dhtRequestIds.natPing, ping.response ? 1 : 0), ping.number)
}

export function decodeNatPing(plain: Uint8Array): NatPing | undefined {
  const type = plain[1]
  if (plain.length !== 10 || plain[0] !== dhtRequestIds.natPing || (type !== 0 && type !== 1)) return undefined
  return { response: type === 1, number: plain.subarray(2) }
}

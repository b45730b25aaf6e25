/**
 * The layers of onion packets as hops see them (Tox specification, "Onion"): requests 0x80..0x82 on their way out,
 * responses 0x8e..0x8c on their way back. A return path is opaque to all but the hop that made its outer part.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import { concatBytes } from '../../../util/bytes.ts'
import { macBytes, nonceBytes } from '../crypto.ts'
import { decodeOnionAddress, encodeOnionAddress, onionAddressBytes } from '../packed-node.ts'

/** No onion packet is larger. */
export const largestOnionPacket = 1400

/** Each hop adds this much to the return path: nonce, box of an address. */
export const returnPathStep: number = nonceBytes + macBytes + onionAddressBytes

/** The return path a storing node is given by the third hop. */
export const returnPathBytes: number = 3 * returnPathStep

/** 0, 1, 2: to be opened by the first, second and third hop. */
export type OnionLayer = 0 | 1 | 2

export interface OnionRequest {
  readonly layer: OnionLayer
  /** One nonce for all layers of the packet. */
  readonly nonce: Uint8Array
  /** The key the box was made with: the sender's DHT key in layer 0, a temporary one of the path in the others. */
  readonly sender: Uint8Array
  readonly boxed: Uint8Array
  /** `layer` times 59 bytes. */
  readonly returnPath: Uint8Array
}

const requestKind = 0x80
const responseKind = 0x8e
const header = 1 + nonceBytes + 32

/**
 * | offset |       size | field                                     |
 * |      0 |          1 | 0x80 + layer                              |
 * |      1 |         24 | nonce                                     |
 * |     25 |         32 | sender                                    |
 * |     57 |       n+16 | box: next address (19) || what it is to get |
 * |        | 59 · layer | return path                               |
 */
export function encodeOnionRequest(request: OnionRequest): Uint8Array {
  const kind = Uint8Array.of(requestKind + request.layer)
  return concatBytes(kind, request.nonce, request.sender, request.boxed, request.returnPath)
}

/** The fields are views. */
export function decodeOnionRequest(bytes: Uint8Array): OnionRequest | undefined {
  const layer = (bytes[0] ?? 0) - requestKind
  if (layer !== 0 && layer !== 1 && layer !== 2) return undefined
  const end = bytes.length - layer * returnPathStep
  if (bytes.length > largestOnionPacket || end < header + macBytes + onionAddressBytes + 1) return undefined
  return {
    layer,
    nonce: bytes.subarray(1, 25),
    sender: bytes.subarray(25, header),
    boxed: bytes.subarray(header, end),
    returnPath: bytes.subarray(end),
  }
}

export interface OnionStep {
  /** Where the rest goes. */
  readonly next: Endpoint
  /** In layers 0 and 1 the next layer's sender key and box; in layer 2 the packet for the destination. */
  readonly rest: Uint8Array
}

/** next address (19) || rest */
export function encodeOnionStep(step: OnionStep): Uint8Array {
  return concatBytes(encodeOnionAddress(step.next), step.rest)
}

export function decodeOnionStep(plain: Uint8Array): OnionStep | undefined {
  const next = decodeOnionAddress(plain.subarray(0, onionAddressBytes))
  if (next === undefined) return undefined
  return { next, rest: plain.subarray(onionAddressBytes) }
}

export interface OnionResponse {
  /** How many hops are left: 3 arrives at the third hop, 1 at the first. */
  readonly hops: 1 | 2 | 3
  /** `hops` times 59 bytes. */
  readonly returnPath: Uint8Array
  readonly reply: Uint8Array
}

/** 0x8e, 0x8d, 0x8c for 1, 2, 3 hops (1) || return path (59 · hops) || reply */
export function encodeOnionResponse(response: OnionResponse): Uint8Array {
  return concatBytes(Uint8Array.of(responseKind + 1 - response.hops), response.returnPath, response.reply)
}

/** The fields are views. */
export function decodeOnionResponse(bytes: Uint8Array): OnionResponse | undefined {
  const hops = responseKind + 1 - (bytes[0] ?? 0)
  if (hops !== 1 && hops !== 2 && hops !== 3) return undefined
  const end = 1 + hops * returnPathStep
  if (bytes.length <= end || bytes.length > largestOnionPacket) return undefined
  return { hops, returnPath: bytes.subarray(1, end), reply: bytes.subarray(end) }
}

/**
 * Onion announce request and response (Tox specification, "Onion announce"). One request serves two uses: announcing the
 * sender's own key, and searching somebody else's. The variants with extra data (0x87, 0x88) are left out.
 */

import { concatBytes } from '../../../util/bytes.ts'
import { macBytes, nonceBytes } from '../crypto.ts'
import { decodePackedNodes, encodePackedNodes, type PackedNode } from '../packed-node.ts'
import { returnPathBytes } from './onion-layers.ts'

export const announceRequestKind = 0x83
export const announceResponseKind = 0x84

export interface AnnounceRequest {
  readonly nonce: Uint8Array
  /** Long-term key when announcing, a temporary one when searching. */
  readonly sender: Uint8Array
  readonly boxed: Uint8Array
}

export interface AnnounceRequestPlain {
  /** 32 bytes: from the storing node's last answer, zeros at first and when searching. */
  readonly pingId: Uint8Array
  readonly searched: Uint8Array
  /** Onion data public key when announcing, zeros when searching. */
  readonly dataKey: Uint8Array
  /** 8 bytes, repeated in the response. */
  readonly sendback: Uint8Array
}

const requestHeader = 1 + nonceBytes + 32
const requestPlainBytes = 32 * 3 + 8
const requestBytes = requestHeader + macBytes + requestPlainBytes

/**
 * | offset | size | field        |
 * |      0 |    1 | 0x83         |
 * |      1 |   24 | nonce        |
 * |     25 |   32 | sender       |
 * |     57 |  120 | box          |
 */
export function encodeAnnounceRequest(request: AnnounceRequest): Uint8Array {
  return concatBytes(Uint8Array.of(announceRequestKind), request.nonce, request.sender, request.boxed)
}

/** As the storing node gets it, with the return path behind; the fields are views. */
export function decodeAnnounceRequest(
  bytes: Uint8Array,
): (AnnounceRequest & { readonly returnPath: Uint8Array }) | undefined {
  if (bytes.length !== requestBytes + returnPathBytes || bytes[0] !== announceRequestKind) return undefined
  return {
    nonce: bytes.subarray(1, 25),
    sender: bytes.subarray(25, requestHeader),
    boxed: bytes.subarray(requestHeader, requestBytes),
    returnPath: bytes.subarray(requestBytes),
  }
}

/** ping id (32) || searched key (32) || data key (32) || sendback (8) */
export function encodeAnnounceRequestPlain(plain: AnnounceRequestPlain): Uint8Array {
  return concatBytes(plain.pingId, plain.searched, plain.dataKey, plain.sendback)
}

export function decodeAnnounceRequestPlain(plain: Uint8Array): AnnounceRequestPlain | undefined {
  if (plain.length !== requestPlainBytes) return undefined
  return {
    pingId: plain.subarray(0, 32),
    searched: plain.subarray(32, 64),
    dataKey: plain.subarray(64, 96),
    sendback: plain.subarray(96),
  }
}

export interface AnnounceResponse {
  readonly sendback: Uint8Array
  readonly nonce: Uint8Array
  readonly boxed: Uint8Array
}

/** 0: not stored, `id` is a ping id; 1: the searched key's data key; 2: we are stored, `id` is a ping id. */
export type AnnounceFlag = 0 | 1 | 2

export interface AnnounceResponsePlain {
  readonly flag: AnnounceFlag
  /** 32 bytes. */
  readonly id: Uint8Array
  readonly nodes: readonly PackedNode[]
}

const responseHeader = 1 + 8 + nonceBytes
const shortestResponsePlain = 1 + 32
const largestResponse = responseHeader + macBytes + shortestResponsePlain + 4 * 51

/**
 * | offset | size | field    |
 * |      0 |    1 | 0x84     |
 * |      1 |    8 | sendback |
 * |      9 |   24 | nonce    |
 * |     33 | n+16 | box      |
 */
export function encodeAnnounceResponse(response: AnnounceResponse): Uint8Array {
  return concatBytes(Uint8Array.of(announceResponseKind), response.sendback, response.nonce, response.boxed)
}

/** The fields are views. */
export function decodeAnnounceResponse(bytes: Uint8Array): AnnounceResponse | undefined {
  const shortest = responseHeader + macBytes + shortestResponsePlain
  if (bytes[0] !== announceResponseKind || bytes.length < shortest || bytes.length > largestResponse) return undefined
  return {
    sendback: bytes.subarray(1, 9),
    nonce: bytes.subarray(9, responseHeader),
    boxed: bytes.subarray(responseHeader),
  }
}

/** flag (1) || id (32) || packed nodes, no count */
export function encodeAnnounceResponsePlain(plain: AnnounceResponsePlain): Uint8Array {
  return concatBytes(Uint8Array.of(plain.flag), plain.id, encodePackedNodes(plain.nodes))
}

export function decodeAnnounceResponsePlain(plain: Uint8Array): AnnounceResponsePlain | undefined {
  const flag = plain[0]
  if (plain.length < shortestResponsePlain || (flag !== 0 && flag !== 1 && flag !== 2)) return undefined
  const nodes = decodePackedNodes(plain.subarray(shortestResponsePlain), 4)
  if (nodes === undefined || nodes.some((node) => node.transport !== 'udp')) return undefined
  return { flag, id: plain.subarray(1, shortestResponsePlain), nodes }
}

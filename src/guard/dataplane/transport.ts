/**
 * One transport data message, whitepaper §5.4.6: sealing an inner packet into a datagram and opening one. The hot path of
 * the plain data plane: two calls into OpenSSL for each packet. Little-endian counters, as everything in WireGuard.
 */

import { createCipheriv, createDecipheriv } from 'node:crypto'
import { TAG_SIZE } from '../wireguard/crypto.ts'
import { TRANSPORT } from '../wireguard/messages.ts'

const HALF = 2 ** 32
const algorithm = 'chacha20-poly1305'
const options = { authTagLength: TAG_SIZE } as const
const zeros = new Uint8Array(16)
/** Of the packet at hand: OpenSSL copies it when it begins. */
const nonce = new Uint8Array(12)

/** The largest UDP payload over IPv4. */
export const MAXIMUM_DATAGRAM = 65_507

export interface SealOptions {
  readonly key: Uint8Array
  readonly remoteIndex: number
  /** Below 2^53. */
  readonly counter: number
  /** The tunnel's MTU: padding never goes past it. */
  readonly mtu: number
}

/** Writes the datagram into `target` and gives its length. The packet is padded with zeros to a multiple of 16. */
export function sealTransport(
  target: Uint8Array,
  packet: Uint8Array,
  { key, remoteIndex, counter, mtu }: SealOptions,
): number {
  setNonce(counter % HALF, Math.floor(counter / HALF))
  const cipher = createCipheriv(algorithm, key, nonce, options)
  let at: number = TRANSPORT.packet
  target.set(cipher.update(packet), at)
  at += packet.length
  const padding = Math.min(-packet.length & 15, Math.max(0, mtu - packet.length))
  if (padding > 0) target.set(cipher.update(zeros.subarray(0, padding)), at)
  at += padding
  cipher.final()
  target.set(cipher.getAuthTag(), at)
  setUint32(target, 0, TRANSPORT.type)
  setUint32(target, TRANSPORT.receiver, remoteIndex)
  setUint32(target, TRANSPORT.counter, counter % HALF)
  setUint32(target, TRANSPORT.counter + 4, Math.floor(counter / HALF))
  return at + TAG_SIZE
}

/** The receiver index of a transport message, `undefined` for anything shorter or of another type. */
export function decodeReceiver(datagram: Uint8Array): number | undefined {
  if (datagram.length < TRANSPORT.minimumSize) return undefined
  if (uint32(datagram, 0) !== TRANSPORT.type) return undefined
  return uint32(datagram, TRANSPORT.receiver)
}

/** Its counter, `undefined` from 2^53 on: no honest sender gets there (constants.ts). */
export function decodeCounter(datagram: Uint8Array): number | undefined {
  const counter = uint32(datagram, TRANSPORT.counter) + uint32(datagram, TRANSPORT.counter + 4) * HALF
  return counter <= Number.MAX_SAFE_INTEGER ? counter : undefined
}

/** The padded packet in memory of its own, or `undefined` when the tag does not fit. */
export function openTransport(datagram: Uint8Array, key: Uint8Array): Uint8Array | undefined {
  const end = datagram.length - TAG_SIZE
  setNonce(uint32(datagram, TRANSPORT.counter), uint32(datagram, TRANSPORT.counter + 4))
  const decipher = createDecipheriv(algorithm, key, nonce, options)
  decipher.setAuthTag(datagram.subarray(end))
  const packet = decipher.update(datagram.subarray(TRANSPORT.packet, end))
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return packet
}

/** §5.4.6: four zero bytes, then the counter. */
function setNonce(low: number, high: number): void {
  setUint32(nonce, 4, low)
  setUint32(nonce, 8, high)
}

function setUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}

function uint32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)) >>> 0
  )
}

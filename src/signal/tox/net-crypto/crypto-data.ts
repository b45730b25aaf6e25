/** Crypto data packet: everything that passes inside a session. Tox protocol specification, "net_crypto". */

import { ByteWriter } from '../../../util/byte-writer.ts'
import { open, seal } from '../crypto.ts'

export const cryptoDataKind = 0x1b

/** Longest id and data together. */
export const maximumPacketBytes = 1_373
const headerBytes = 3
const numbersBytes = 8
const minimumBytes = headerBytes + 16 + numbersBytes + 1
const maximumBytes = 1_400

export interface CryptoData {
  /** The next lossless packet its sender wants: it has all before. */
  readonly receiveStart: number
  /** A lossless packet's own number; of any other, the number the sender will use next. */
  readonly number: number
  /** Id and data, 1..1373 bytes, the id not 0. */
  readonly packet: Uint8Array
}

/**
 * Crypto data packet, 28..1400 bytes.
 *
 * | offset | size | field                                                                                    |
 * |      0 |    1 | 0x1b                                                                                     |
 * |      1 |    2 | last two bytes of the nonce                                                              |
 * |      3 |    n | box of the session: recv_start (4), number (4), zeros so that lengths are 8 apart, packet |
 */
export function encodeCryptoData(
  data: CryptoData,
  session: { readonly key: Uint8Array; readonly nonce: Uint8Array },
): Uint8Array {
  const padding = (maximumPacketBytes - data.packet.length) % 8
  const plain = new ByteWriter(numbersBytes + padding + data.packet.length)
    .uint32(data.receiveStart)
    .uint32(data.number)
    .zeros(padding)
    .bytes(data.packet)
    .finish()
  return new ByteWriter(headerBytes + 16 + plain.length)
    .uint8(cryptoDataKind)
    .bytes(session.nonce.subarray(22))
    .bytes(seal(session.key, session.nonce, plain))
    .finish()
}

/** The last 16 bits of the nonce a packet was sealed with; `undefined` when it cannot be a crypto data packet. */
export function nonceEnd(bytes: Uint8Array): number | undefined {
  if (bytes.length < minimumBytes || bytes.length > maximumBytes || bytes[0] !== cryptoDataKind) return undefined
  return ((bytes[1] ?? 0) << 8) | (bytes[2] ?? 0)
}

export type OpenedCryptoData = { readonly kind: 'data'; readonly data: CryptoData } | { readonly kind: 'empty' }

/** Opens a packet; `empty` when it is authentic but has only padding in it. `packet` is an array of its own. */
export function decodeCryptoData(
  bytes: Uint8Array,
  session: { readonly key: Uint8Array; readonly nonce: Uint8Array },
): OpenedCryptoData | undefined {
  if (nonceEnd(bytes) === undefined) return undefined
  const plain = open(session.key, session.nonce, bytes.subarray(headerBytes))
  if (plain === undefined || plain.length < numbersBytes) return undefined
  const view = new DataView(plain.buffer, plain.byteOffset, plain.byteLength)
  let id = numbersBytes
  while (id < plain.length && plain[id] === 0) id += 1
  if (id === plain.length) return { kind: 'empty' }
  return {
    kind: 'data',
    data: { receiveStart: view.getUint32(0), number: view.getUint32(4), packet: plain.slice(id) },
  }
}

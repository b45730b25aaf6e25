/**
 * The four messages, whitepaper §5.4.2, §5.4.3, §5.4.6 and §5.4.7. All numbers are little-endian. Decoders give views into
 * the datagram. The transport message is only recognised here: its packets are the data plane's.
 */

export type HandshakeMessage = Initiation | Response | CookieReply

/**
 * Handshake initiation, 148 bytes.
 *
 * | offset | size | field               |
 * |      0 |    4 | type 1              |
 * |      4 |    4 | sender              |
 * |      8 |   32 | ephemeral           |
 * |     40 |   48 | encrypted static    |
 * |     88 |   28 | encrypted timestamp |
 * |    116 |   16 | mac1                |
 * |    132 |   16 | mac2                |
 */
export interface Initiation {
  readonly kind: 'initiation'
  readonly sender: number
  readonly ephemeral: Uint8Array
  readonly encryptedStatic: Uint8Array
  readonly encryptedTimestamp: Uint8Array
}

/**
 * Handshake response, 92 bytes.
 *
 * | offset | size | field             |
 * |      0 |    4 | type 2            |
 * |      4 |    4 | sender            |
 * |      8 |    4 | receiver          |
 * |     12 |   32 | ephemeral         |
 * |     44 |   16 | encrypted nothing |
 * |     60 |   16 | mac1              |
 * |     76 |   16 | mac2              |
 */
export interface Response {
  readonly kind: 'response'
  readonly sender: number
  readonly receiver: number
  readonly ephemeral: Uint8Array
  readonly encryptedNothing: Uint8Array
}

/**
 * Cookie reply, 64 bytes.
 *
 * | offset | size | field            |
 * |      0 |    4 | type 3           |
 * |      4 |    4 | receiver         |
 * |      8 |   24 | nonce            |
 * |     32 |   32 | encrypted cookie |
 */
export interface CookieReply {
  readonly kind: 'cookie-reply'
  readonly receiver: number
  readonly nonce: Uint8Array
  readonly encryptedCookie: Uint8Array
}

/**
 * Transport data, 32 bytes or more.
 *
 * | offset | size | field    |
 * |      0 |    4 | type 4   |
 * |      4 |    4 | receiver |
 * |      8 |    8 | counter  |
 * |     16 | n+16 | packet   |
 */
export const TRANSPORT = { type: 4, receiver: 4, counter: 8, packet: 16, minimumSize: 32 } as const

const size = { initiation: 148, response: 92, cookieReply: 64 } as const

/** Bytes of the two macs at the end of an initiation or response. */
export const MACS_SIZE = 32

/** Reads a handshake message of exactly the right length; `undefined` for anything else. */
export function decodeHandshakeMessage(bytes: Uint8Array): HandshakeMessage | undefined {
  if (bytes.length < 4) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (view.getUint32(0, true)) {
    case 1:
      if (bytes.length !== size.initiation) return undefined
      return {
        kind: 'initiation',
        sender: view.getUint32(4, true),
        ephemeral: bytes.subarray(8, 40),
        encryptedStatic: bytes.subarray(40, 88),
        encryptedTimestamp: bytes.subarray(88, 116),
      }
    case 2:
      if (bytes.length !== size.response) return undefined
      return {
        kind: 'response',
        sender: view.getUint32(4, true),
        receiver: view.getUint32(8, true),
        ephemeral: bytes.subarray(12, 44),
        encryptedNothing: bytes.subarray(44, 60),
      }
    case 3:
      if (bytes.length !== size.cookieReply) return undefined
      return {
        kind: 'cookie-reply',
        receiver: view.getUint32(4, true),
        nonce: bytes.subarray(8, 32),
        encryptedCookie: bytes.subarray(32, 64),
      }
    default:
      return undefined
  }
}

/** The message with both macs zero: they are over these bytes and set afterwards (cookie.ts). */
export function encodeInitiation(message: Omit<Initiation, 'kind'>): Uint8Array {
  const bytes = new Uint8Array(size.initiation)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 1, true)
  view.setUint32(4, message.sender, true)
  bytes.set(message.ephemeral, 8)
  bytes.set(message.encryptedStatic, 40)
  bytes.set(message.encryptedTimestamp, 88)
  return bytes
}

/** The message with both macs zero. */
export function encodeResponse(message: Omit<Response, 'kind'>): Uint8Array {
  const bytes = new Uint8Array(size.response)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 2, true)
  view.setUint32(4, message.sender, true)
  view.setUint32(8, message.receiver, true)
  bytes.set(message.ephemeral, 12)
  bytes.set(message.encryptedNothing, 44)
  return bytes
}

export function encodeCookieReply(message: Omit<CookieReply, 'kind'>): Uint8Array {
  const bytes = new Uint8Array(size.cookieReply)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 3, true)
  view.setUint32(4, message.receiver, true)
  bytes.set(message.nonce, 8)
  bytes.set(message.encryptedCookie, 32)
  return bytes
}

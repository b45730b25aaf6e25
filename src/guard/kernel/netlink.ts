/**
 * Netlink messages (RFC 3549 §2.2), generic netlink headers and attributes (linux/netlink.h, linux/genetlink.h), as far
 * as requests with one answer and dumps need them. Little-endian machines only, as all of net/ffi.ts. Left out: sets of
 * requests in one datagram, extended acknowledgements.
 */

/**
 * A message: struct nlmsghdr, then the payload, padded to 4 bytes.
 *
 * | offset | size | field                                                                     |
 * |      0 |    4 | length of header and payload                                              |
 * |      4 |    2 | type: below 16 a control message, else that of a family                   |
 * |      6 |    2 | flags                                                                     |
 * |      8 |    4 | sequence number, repeated in the answer                                   |
 * |     12 |    4 | port id of the socket; 0 for the kernel                                   |
 * |     16 |    1 | command (generic netlink: struct genlmsghdr), then version and 2 bytes 0  |
 * |     20 |    n | attributes                                                                |
 */
const header = { type: 4, flags: 6, sequence: 8, size: 16, command: 16, version: 17, attributes: 20 } as const

/** An attribute: 2 bytes length with these 4, 2 bytes type, the value, padded to 4 bytes. */
const attributeHeader = 4

/** Marks an attribute that holds attributes; the two upper bits of a type are no part of its number. */
const nestedFlag = 0x8000
const typeMask = 0x3fff

export const messageType = { error: 2, done: 3 } as const
export const requestFlags = { request: 0x1, acknowledge: 0x4, dump: 0x300 } as const

export interface NetlinkMessage {
  readonly type: number
  readonly sequence: number
  /** A view. Of a message of a family: command, version, 2 bytes 0, attributes. */
  readonly payload: Uint8Array
}

export interface Attribute {
  readonly type: number
  /** A view. */
  readonly value: Uint8Array
}

export interface RequestHeader {
  /** Of the family, as the kernel gave it out. */
  readonly family: number
  readonly flags: number
  readonly command: number
  readonly version: number
}

/** The messages of one datagram; `undefined` when they are not whole. */
export function decodeMessages(bytes: Uint8Array): readonly NetlinkMessage[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const messages: NetlinkMessage[] = []
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length - at < header.size) return undefined
    const length = view.getUint32(at, true)
    if (length < header.size || length > bytes.length - at) return undefined
    messages.push({
      type: view.getUint16(at + header.type, true),
      sequence: view.getUint32(at + header.sequence, true),
      payload: bytes.subarray(at + header.size, at + length),
    })
    at += padded(length)
  }
  return messages
}

/** The attributes of a message of a family; `undefined` when they are not whole. */
export function decodeFamilyPayload(payload: Uint8Array): readonly Attribute[] | undefined {
  const start = header.attributes - header.size
  return payload.length < start ? undefined : decodeAttributes(payload.subarray(start))
}

/** `undefined` when they are not whole. */
export function decodeAttributes(bytes: Uint8Array): readonly Attribute[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const attributes: Attribute[] = []
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length - at < attributeHeader) return undefined
    const length = view.getUint16(at, true)
    if (length < attributeHeader || length > bytes.length - at) return undefined
    const type = view.getUint16(at + 2, true) & typeMask
    attributes.push({ type, value: bytes.subarray(at + attributeHeader, at + length) })
    at += padded(length)
  }
  return attributes
}

/** 0 for an acknowledgement, else the errno; for messages of the types `error` and `done`. */
export function decodeErrno(payload: Uint8Array): number | undefined {
  if (payload.length < 4) return undefined
  return Math.abs(new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getInt32(0, true))
}

/**
 * Writes one request into memory of a fixed size: what holds keys must not be left behind in buffers that were grown.
 * Every method that writes an attribute says false, and writes nothing of it, when there is no room.
 */
export class RequestWriter {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at: number = header.attributes

  constructor(bytes: Uint8Array, request: RequestHeader) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    bytes.fill(0)
    this.#view.setUint16(header.type, request.family, true)
    this.#view.setUint16(header.flags, request.flags, true)
    bytes[header.command] = request.command
    bytes[header.version] = request.version
  }

  bytes(type: number, value: Uint8Array): boolean {
    const at = this.#reserve(type, value.length)
    if (at === undefined) return false
    this.#bytes.set(value, at)
    return true
  }

  /** UTF-8 text with a zero byte at the end. */
  text(type: number, value: string): boolean {
    return this.bytes(type, new TextEncoder().encode(`${value}\0`))
  }

  uint8(type: number, value: number): boolean {
    return this.bytes(type, Uint8Array.of(value))
  }

  uint16(type: number, value: number): boolean {
    return this.bytes(type, Uint8Array.of(value, value >> 8))
  }

  uint32(type: number, value: number): boolean {
    return this.bytes(type, Uint8Array.of(value, value >> 8, value >> 16, value >> 24))
  }

  /** An attribute that holds what `write` writes; when that says false, nothing of it stays. */
  nested(type: number, write: () => boolean): boolean {
    const start = this.#at
    if (this.#reserve(type | nestedFlag, 0) !== undefined && write()) {
      this.#view.setUint16(start, this.#at - start, true)
      return true
    }
    this.#bytes.fill(0, start, this.#at)
    this.#at = start
    return false
  }

  /** A view into the memory. */
  finish(sequence: number): Uint8Array {
    this.#view.setUint32(0, this.#at, true)
    this.#view.setUint32(header.sequence, sequence, true)
    return this.#bytes.subarray(0, this.#at)
  }

  /** Where the value goes. */
  #reserve(type: number, length: number): number | undefined {
    const at = this.#at
    const end = at + attributeHeader + padded(length)
    if (end > this.#bytes.length) return undefined
    this.#view.setUint16(at, attributeHeader + length, true)
    this.#view.setUint16(at + 2, type, true)
    this.#at = end
    return at + attributeHeader
  }
}

function padded(length: number): number {
  return (length + 3) & ~3
}

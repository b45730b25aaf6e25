/**
 * Cutting IPv4 packets and putting them together (RFC 791 §3.2). As routers with connection tracking do it, packets are
 * whole wherever they are looked at: fragments are put together where they enter and cut again where they leave.
 * Left out: options that belong into the first fragment only are in all of them.
 *
 * | offset | size | field                                                          |
 * |      4 |    2 | identification: the same in all fragments of a packet          |
 * |      6 |    2 | bit 14 DF, bit 13 more fragments, offset in units of 8 bytes   |
 */

const minimumHeader = 20
const dontFragment = 0x4000
const moreFragments = 0x2000
const offsetMask = 0x1fff
const unit = 8
const largestPacket = 65_535

/** Whether no router may cut the packet. */
export function mustStayWhole(packet: Uint8Array): boolean {
  return (flagsOf(packet) & dontFragment) !== 0
}

/** False for whole packets and for what is no IPv4 at all. */
export function isFragment(bytes: Uint8Array): boolean {
  return (bytes[0] ?? 0) >> 4 === 4 && (flagsOf(bytes) & (moreFragments | offsetMask)) !== 0
}

/** A whole packet in pieces of at most `mtu` bytes (68 or more). */
export function cutIpPacket(packet: Uint8Array, mtu: number): readonly Uint8Array[] {
  if (packet.length <= mtu) return [packet]
  const header = headerOf(packet)
  const most = mtu - header - ((mtu - header) % unit)
  const pieces: Uint8Array[] = []
  for (let at = header; at < packet.length; at += most) {
    const body = packet.subarray(at, at + most)
    const piece = new Uint8Array(header + body.length)
    piece.set(packet.subarray(0, header))
    piece.set(body, header)
    const isLast = at + most >= packet.length
    finishHeader(piece, { header, flags: (isLast ? 0 : moreFragments) | ((at - header) / unit) })
    pieces.push(piece)
  }
  return pieces
}

export interface WholePacket {
  readonly bytes: Uint8Array
  /** The largest of its pieces: larger ones are not made of it again. */
  readonly largestPiece: number
}

interface Pieces {
  readonly since: number
  /** By the place of their first byte in the packet's body. */
  readonly bodies: Map<number, Uint8Array>
  header: Uint8Array | undefined
  /** Of the body, when the last piece is known. */
  length: number | undefined
  largest: number
}

/** RFC 791 §3.2 begins with 15 s. */
const lifetime = 15_000
/** Packets of which pieces are missing, at most: the oldest makes room. */
const maximumUnfinished = 1024

export class Reassembly {
  readonly #unfinished: Map<string, Pieces> = new Map()

  /** The packet that this fragment completes, if it does. The fragment is copied. */
  add(fragment: Uint8Array, now: number): WholePacket | undefined {
    const header = headerOf(fragment)
    if (header < minimumHeader || fragment.length <= header || lengthOf(fragment) !== fragment.length) return undefined
    const key = keyOf(fragment)
    const pieces = this.#piecesOf(key, now)
    const flags = flagsOf(fragment)
    const at = (flags & offsetMask) * unit
    const body = fragment.slice(header)
    pieces.bodies.set(at, body)
    pieces.largest = Math.max(pieces.largest, fragment.length)
    if (at === 0) pieces.header = fragment.slice(0, header)
    if ((flags & moreFragments) === 0) pieces.length = at + body.length
    const bytes = assemble(pieces)
    if (bytes === undefined) return undefined
    this.#unfinished.delete(key)
    return { bytes, largestPiece: pieces.largest }
  }

  #piecesOf(key: string, now: number): Pieces {
    for (const [old, { since }] of this.#unfinished) {
      if (now - since < lifetime && this.#unfinished.size < maximumUnfinished) break
      this.#unfinished.delete(old)
    }
    const known = this.#unfinished.get(key)
    if (known !== undefined) return known
    const fresh: Pieces = { since: now, bodies: new Map(), header: undefined, length: undefined, largest: 0 }
    this.#unfinished.set(key, fresh)
    return fresh
  }
}

/** `undefined` as long as something is missing, or when pieces overlap. */
function assemble({ bodies, header, length }: Pieces): Uint8Array | undefined {
  if (header === undefined || length === undefined || header.length + length > largestPacket) return undefined
  const bytes = new Uint8Array(header.length + length)
  bytes.set(header)
  for (let at = 0; at < length; ) {
    const body = bodies.get(at)
    if (body === undefined || at + body.length > length) return undefined
    bytes.set(body, header.length + at)
    at += body.length
  }
  finishHeader(bytes, { header: header.length, flags: 0 })
  return bytes
}

function finishHeader(
  packet: Uint8Array,
  { header, flags }: { readonly header: number; readonly flags: number },
): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  view.setUint16(2, packet.length)
  view.setUint16(6, flags)
  view.setUint16(10, 0)
  let sum = 0
  for (let at = 0; at < header; at += 2) sum += view.getUint16(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(10, 0xffff - sum)
}

function headerOf(packet: Uint8Array): number {
  return ((packet[0] ?? 0) & 15) * 4
}

function lengthOf(packet: Uint8Array): number {
  return ((packet[2] ?? 0) << 8) | (packet[3] ?? 0)
}

function flagsOf(packet: Uint8Array): number {
  return ((packet[6] ?? 0) << 8) | (packet[7] ?? 0)
}

/** RFC 791 §3.2: source, destination, protocol and identification. */
function keyOf(packet: Uint8Array): string {
  return `${packet.subarray(12, 20).join('.')} ${packet[9]} ${packet[4]} ${packet[5]}`
}

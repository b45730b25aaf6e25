/**
 * The memory a data plane worker keeps its packets in, and the kernels that work on it (kernels.as.ts, compiled into
 * WebAssembly by the build). The kernels and the system calls see the same bytes: offsets for the former are addresses
 * minus `base` for the latter, and the memory never moves.
 */

import { kernelsWasm } from './generated/kernels.ts'

/** The functions of kernels.as.ts; every address is an offset into the packet memory. Counters are below 2^53. */
export interface Kernels {
  sealPacket(key: number, target: number, source: number, length: number): void
  openPacket(key: number, target: number, source: number, length: number): number
  writeMacTrailer(target: number, length: number): number
  prepareOpen(target: number, source: number, length: number): number
  finishOpen(source: number, length: number): number
  beginSealTag(target: number, length: number): number
  endSealTag(target: number, length: number): void
  beginOpenTag(target: number, source: number, length: number): number
  endOpenTag(target: number, source: number, length: number): number
  recognizeState(key: number): number
  beginState(key: number): void
  endState(key: number, tag: number): void
  sumWords(address: number, length: number): bigint
  checksumOf(sum: bigint): number
  allowCoalescing(any: boolean, udp: boolean): void
  joinGroup(address: number, length: number): number
  startGroup(): void
  finishGroup(): number
  isStream(): number
  forgetGroups(): void
  planSegments(address: number, length: number, mtu: number): number
  segmentAddress(index: number): number
  segmentLength(index: number): number
  plannedLength(): number
  writeSegment(index: number): number
  beginMessage(target: number, source: number, counter: number): void
  beginSegment(target: number, index: number, counter: number): number
  endMessage(target: number, receiver: number, counter: number): void
  isTransport(datagram: number, length: number): number
  receiverOf(datagram: number): number
  beginOpen(datagram: number, window: number): number
  startWindow(window: number, next: number): void
  acceptMessage(window: number, address: number, padded: number): number
  packetLength(address: number, padded: number): number
  setBase(address: number): void
  setVector(index: number, address: number, length: number): void
}

/** Where things are in the memory (layout.as.ts). From `free` on it is the caller's. */
export interface PacketLayout {
  readonly nonce: number
  readonly tag: number
  readonly poly1305Context: number
  readonly vectors: number
  readonly free: number
}

export interface PacketMemory {
  readonly kernels: Kernels
  readonly layout: PacketLayout
  readonly bytes: Uint8Array
  readonly view: DataView
  /** For aligned reads and writes on the hot path. */
  readonly words: Uint32Array
  /** The address of offset 0 in the process; 0 when no system call needs it. */
  readonly base: number
}

/** Bytes in front of a packet that sealing and opening may overwrite (aead.as.ts). */
export const HEADROOM = 64
/** Bytes behind a packet that they may overwrite: padding, tag, lengths. */
export const TAILROOM = 64

const pageSize = 65_536
const size = 16 * 1024 * 1024
const freeFrom = 0x20000
const middle = 0x800000

/** The receiver's part of the memory, and the transmitter's: the receive worker has both. */
export const parts: Readonly<Record<'receiver' | 'transmitter', { readonly from: number; readonly end: number }>> = {
  receiver: { from: freeFrom, end: middle },
  transmitter: { from: middle, end: size },
}

interface WasmMemory {
  readonly buffer: ArrayBuffer
}

/** As much of the WebAssembly interface as is used here; the type library of Node.js leaves it out. */
declare const WebAssembly: {
  readonly Memory: new (options: { readonly initial: number }) => WasmMemory
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (
    module: object,
    imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ) => { readonly exports: Kernels & Readonly<Record<string, { readonly value: number }>> }
}

/**
 * `addressOf` gives the place of the memory in the process, and may give it another one: it is still empty. Only pages that
 * are written to cost anything.
 */
export function createPacketMemory(addressOf?: (bytes: Uint8Array) => number): PacketMemory {
  const memory = new WebAssembly.Memory({ initial: size / pageSize })
  const bytes = new Uint8Array(memory.buffer)
  const base = addressOf?.(bytes) ?? 0
  const module = new WebAssembly.Module(Buffer.from(kernelsWasm, 'base64'))
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  exports.setBase(base)
  const constant = (name: string): number => {
    const value = exports[name]?.value
    if (value === undefined) throw new Error(`the kernels have no ${name}`)
    return value
  }
  return {
    kernels: exports,
    layout: {
      nonce: constant('NONCE'),
      tag: constant('TAG'),
      poly1305Context: constant('POLY1305_CONTEXT'),
      vectors: constant('VECTORS'),
      free: freeFrom,
    },
    bytes,
    view: new DataView(memory.buffer),
    words: new Uint32Array(memory.buffer),
    base,
  }
}

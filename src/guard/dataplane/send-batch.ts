/**
 * Sealed datagrams on their way to the socket: those of equal size to one destination that follow each other are one
 * message (UDP_SEGMENT), and all messages go by one sendmmsg. What the system or the path does not take in one piece goes
 * datagram by datagram.
 */

import { c, errno, errnoName } from '../../net/ffi.ts'
import { HEADROOM, parts, TAILROOM } from './packet-memory.ts'
import { countDrop } from './shared-activity.ts'
import {
  messageHeader,
  pollEntry,
  setPointer,
  socketAddressSize,
  vectorSize,
  type WorkerContext,
} from './worker-context.ts'

export interface Destination {
  /** Its struct sockaddr_in. */
  readonly addressSlot: number
  readonly drops: Float64Array
  /** Until then its datagrams go one by one: the path refused a large message. */
  plainUntil: number
}

/** Datagrams of one size to one destination, without a gap between them; a shorter one ends it. */
interface Run {
  to: Destination | undefined
  at: number
  count: number
  size: number
  bytes: number
  isClosed: boolean
}

/** UDP_MAX_SEGMENTS of older systems. */
const segmentsPerRun = 64
const largestRun = 65_507
const maximumRuns = 64
const maximumDatagrams = 256
/** Of a transport message: its header, and with the tag. */
const headerSize = 16
const overhead = 32
const controlLength = 24
/** After the path refused a large message: ms. */
const plainTime = 10_000
/** A full socket is waited for this long, ms; then the datagram is dropped. */
const sendPatience = 20

// In the transmitter's part of the packet memory.
const messagesAt = parts.transmitter.from
const controlsAt = messagesAt + maximumRuns * messageHeader.size
const pollAt = controlsAt + maximumRuns * 32
const zeroAt = pollAt + pollEntry.size
const sealedAt = messagesAt + 0x10000
export const sealedEnd: number = sealedAt + 0x80000

export class SendBatch {
  readonly #context: WorkerContext
  readonly #socket: number
  readonly #runs: readonly Run[]
  #runCount = 0
  #datagrams = 0
  #sealedAt = sealedAt + HEADROOM
  #canSegment: boolean

  constructor(context: WorkerContext, socket: number) {
    this.#context = context
    this.#socket = socket
    const { view, base } = context.memory
    this.#runs = Array.from({ length: maximumRuns }, () => ({
      to: undefined,
      at: 0,
      count: 0,
      size: 0,
      bytes: 0,
      isClosed: true,
    }))
    for (let index = 0; index < maximumRuns; index++) {
      // struct cmsghdr with the segment size: level, type, and later the size itself.
      const cmsg = controlsAt + index * 32
      view.setUint32(cmsg, 18, true)
      view.setUint32(cmsg + 8, c.SOL_UDP, true)
      view.setUint32(cmsg + 12, c.UDP_SEGMENT, true)
      const header = messagesAt + index * messageHeader.size
      view.setUint32(header + messageHeader.nameLength, socketAddressSize, true)
      setPointer(view, header + messageHeader.control, base + cmsg)
    }
    view.setInt32(pollAt, socket, true)
    view.setInt16(pollAt + pollEntry.events, c.POLLOUT, true)
    // Setting it to 0 is no change, and fails where there is no such option.
    view.setUint32(zeroAt, 0)
    this.#canSegment = context.system.setsockopt(socket, c.SOL_UDP, c.UDP_SEGMENT, base + zeroAt, 4) === 0
  }

  get offloads(): readonly string[] {
    return this.#canSegment ? ['udp-segment'] : []
  }

  /** Datagrams that wait for `flush`. */
  get size(): number {
    return this.#datagrams
  }

  /** Where a packet of at most that padded length is to be sealed to; then `add`. */
  place(length: number): number {
    const isFull = this.#datagrams >= maximumDatagrams || this.#runCount >= maximumRuns
    if (isFull || this.#sealedAt + headerSize + length + TAILROOM > sealedEnd) this.flush()
    return this.#sealedAt + headerSize
  }

  /** The packet that `place` was asked for, and its padded length. */
  add(to: Destination, length: number): void {
    const size = length + overhead
    this.#addToRun(to, size)
    this.#sealedAt += size
    this.#datagrams++
  }

  flush(): void {
    this.#send(this.#runCount)
    this.#runCount = 0
    this.#datagrams = 0
    this.#sealedAt = sealedAt + HEADROOM
  }

  /** All but the last message, when more fits into that: more is coming. */
  flushFull(): void {
    const last = this.#runs[this.#runCount - 1]
    const first = this.#runs[0]
    if (last === undefined || first === undefined) return
    if (last.isClosed || last.count === segmentsPerRun || last.bytes + last.size > largestRun) {
      this.flush()
      return
    }
    if (last === first) return
    this.#send(this.#runCount - 1)
    const at = sealedAt + HEADROOM
    this.#context.memory.bytes.copyWithin(at, last.at, last.at + last.bytes)
    Object.assign(first, last, { at })
    this.#runCount = 1
    this.#datagrams = first.count
    this.#sealedAt = at + first.bytes
  }

  /** The first `count` runs. */
  #send(count: number): void {
    for (let index = 0; index < count; index++) {
      const run = this.#runs[index]
      if (run?.to === undefined) continue
      this.#writeHeader(index, run.to, { at: run.at, bytes: run.bytes, size: run.count > 1 ? run.size : 0 })
    }
    for (let from = 0; from < count; ) from += this.#sendMessages(from, count - from)
  }

  #addToRun(to: Destination, size: number): void {
    const last = this.#runCount === 0 ? undefined : this.#runs[this.#runCount - 1]
    if (
      last !== undefined &&
      last.to === to &&
      !last.isClosed &&
      size <= last.size &&
      last.count < segmentsPerRun &&
      last.bytes + size <= largestRun
    ) {
      last.count++
      last.bytes += size
      last.isClosed = size < last.size
      return
    }
    const run = this.#runs[this.#runCount]
    if (run === undefined) return
    this.#runCount++
    run.to = to
    run.at = this.#sealedAt
    run.count = 1
    run.size = size
    run.bytes = size
    run.isClosed = !this.#canSegment || (to.plainUntil > 0 && this.#context.now() < to.plainUntil)
  }

  /** A message of `bytes` from `at` on, in datagrams of `size`, or in one. */
  #writeHeader(
    index: number,
    to: Destination,
    { at, bytes, size }: { readonly at: number; readonly bytes: number; readonly size: number },
  ): void {
    const { view, base, layout, kernels } = this.#context.memory
    const header = messagesAt + index * messageHeader.size
    kernels.setVector(index, at, bytes)
    setPointer(view, header + messageHeader.name, base + to.addressSlot)
    setPointer(view, header + messageHeader.vectors, base + layout.vectors + index * vectorSize)
    view.setUint32(header + messageHeader.vectorCount, 1, true)
    view.setUint32(header + messageHeader.controlLength, size > 0 ? controlLength : 0, true)
    if (size > 0) view.setUint16(controlsAt + index * 32 + 16, size, true)
  }

  /** How many messages from `from` on are dealt with. */
  #sendMessages(from: number, count: number): number {
    const { system, memory } = this.#context
    const done = system.sendmmsg(this.#socket, memory.base + messagesAt + from * messageHeader.size, count, 0)
    if (done > 0) return done
    const code = system.errno()
    if (code === errno.EINTR) return 0
    const run = this.#runs[from]
    if (code === errno.EAGAIN && this.#waitUntilWritable()) return 0
    if (run?.to === undefined) return 1
    const isRefused = code === errno.EIO || code === errno.EINVAL || code === errno.EMSGSIZE
    if (run.count > 1 && isRefused) this.#sendOneByOne(from, code)
    else countDrop(run.to.drops, 'send-failed', run.count)
    return 1
  }

  /** A card without checksums (EIO) will never do it; a path with a smaller MTU may change. */
  #sendOneByOne(index: number, code: number): void {
    const run = this.#runs[index]
    if (run?.to === undefined) return
    if (code === errno.EIO) {
      this.#canSegment = false
      this.#context.post({ kind: 'fell-back', what: 'udp-segment', reason: errnoName(code) })
    } else run.to.plainUntil = this.#context.now() + plainTime
    const { system, memory } = this.#context
    for (let from = 0; from < run.bytes; from += run.size) {
      this.#writeHeader(index, run.to, { at: run.at + from, bytes: Math.min(run.size, run.bytes - from), size: 0 })
      const header = memory.base + messagesAt + index * messageHeader.size
      if (system.sendmmsg(this.#socket, header, 1, 0) !== 1) countDrop(run.to.drops, 'send-failed')
    }
  }

  #waitUntilWritable(): boolean {
    const { system, memory } = this.#context
    return system.poll(memory.base + pollAt, 1, sendPatience) === 1
  }
}

/** The system calls of a worker as a test plays them: packets and datagrams in lists, and errors when asked for. */

import { errno } from '../../../net/ffi.ts'
import { createWasmBackend } from '../aead/wasm.ts'
import type { PacketMemory } from '../packet-memory.ts'
import { createPacketMemory } from '../packet-memory.ts'
import { createDropRow } from '../shared-activity.ts'
import type { TransmitterOptions } from '../transmit.ts'
import { Turnstile } from '../turnstile.ts'
import { callsAround, messageHeader, type WorkerCalls, type WorkerContext } from '../worker-context.ts'
import type { Ipv4Endpoint, WorkerEvent } from '../worker-messages.ts'

export interface FakeMessage {
  readonly to: Ipv4Endpoint
  readonly datagrams: readonly Uint8Array[]
  readonly segmentSize: number | undefined
}

const headerSize = 10

/** A transmitter without another one beside it. */
export function alone(): TransmitterOptions {
  const control = new Int32Array(new SharedArrayBuffer(16))
  return { socket: 4, turnstile: new Turnstile(Turnstile.memory(), control), leads: true }
}

export class FakeSystem implements WorkerCalls {
  readonly memory: PacketMemory = createPacketMemory()
  readonly events: WorkerEvent[] = []
  readonly drops: Float64Array = createDropRow()
  /** What the TUN gives next: a packet with its offload header, or an errno. */
  readonly toRead: (Uint8Array | number)[] = []
  /** What the socket gives next. */
  readonly toReceive: { readonly bytes: Uint8Array; readonly segmentSize: number; readonly from: Ipv4Endpoint }[] = []
  readonly sent: FakeMessage[] = []
  readonly written: Uint8Array[] = []
  /** Errors of the next sends; 0 for none. */
  readonly sendErrors: number[] = []
  writeError = 0
  now = 1000
  #errno = 0

  context(): WorkerContext {
    const { memory, drops } = this
    return {
      system: callsAround(this),
      memory,
      backend: createWasmBackend(memory),
      tun: 3,
      mtu: 1420,
      now: () => this.now,
      post: (event) => void this.events.push(event),
      control: new Int32Array(new SharedArrayBuffer(16)),
      drops,
    }
  }

  errno(): number {
    return this.#errno
  }

  read(_fd: number, address: number, _length: number): number {
    const next = this.toRead.shift() ?? errno.EAGAIN
    if (typeof next === 'number') return this.#fail(next)
    this.memory.bytes.set(next, address)
    return next.length
  }

  writev(_fd: number, vectors: number, count: number): number {
    if (this.writeError !== 0) return this.#fail(this.writeError)
    const bytes = Buffer.concat(this.#gather(vectors, count))
    this.written.push(new Uint8Array(bytes))
    return bytes.length
  }

  sendmmsg(_fd: number, messages: number, count: number, _flags: number): number {
    for (let index = 0; index < count; index++) {
      const failed = this.sendErrors.shift() ?? 0
      if (failed !== 0) return index > 0 ? index : this.#fail(failed)
      this.sent.push(this.#message(messages + index * messageHeader.size))
    }
    return count
  }

  recvmmsg(_fd: number, messages: number, count: number, _flags: number, _timeout: number): number {
    if (this.toReceive.length === 0) return this.#fail(errno.EAGAIN)
    const { view, bytes } = this.memory
    const received = this.toReceive.splice(0, count)
    for (const [index, { bytes: datagrams, segmentSize, from }] of received.entries()) {
      const header = messages + index * messageHeader.size
      const name = view.getUint32(header + messageHeader.name, true)
      view.setUint16(name + 2, from.port)
      view.setUint32(name + 4, from.address)
      const vector = view.getUint32(header + messageHeader.vectors, true)
      bytes.set(datagrams, view.getUint32(vector, true))
      const control = view.getUint32(header + messageHeader.control, true)
      view.setUint32(control + 8, 17, true)
      view.setUint32(control + 12, 104, true)
      view.setUint32(control + 16, segmentSize, true)
      view.setUint32(header + messageHeader.controlLength, segmentSize > 0 ? 24 : 0, true)
      view.setUint32(header + messageHeader.received, datagrams.length, true)
    }
    return received.length
  }

  poll(_entries: number, _count: number, _timeout: number): number {
    return 1
  }

  setsockopt(): number {
    return 0
  }

  ioctl(): number {
    return 0
  }

  write(_fd: number, _address: number, length: number): number {
    return length
  }

  close(_fd: number): number {
    return 0
  }

  clock_gettime(_clock: number, _address: number): number {
    return 0
  }

  #message(header: number): FakeMessage {
    const { view } = this.memory
    const name = view.getUint32(header + messageHeader.name, true)
    const vectors = view.getUint32(header + messageHeader.vectors, true)
    const count = view.getUint32(header + messageHeader.vectorCount, true)
    const hasControl = view.getUint32(header + messageHeader.controlLength, true) > 0
    const control = view.getUint32(header + messageHeader.control, true)
    const bytes = new Uint8Array(Buffer.concat(this.#gather(vectors, count)))
    const segmentSize = hasControl ? view.getUint16(control + 16, true) : undefined
    const datagrams: Uint8Array[] = []
    const size = segmentSize ?? bytes.length
    for (let from = 0; from < bytes.length; from += size) datagrams.push(bytes.slice(from, from + size))
    return { to: { port: view.getUint16(name + 2), address: view.getUint32(name + 4) }, datagrams, segmentSize }
  }

  #gather(vectors: number, count: number): Uint8Array[] {
    const { view, bytes } = this.memory
    return Array.from({ length: count }, (_, index) => {
      const from = view.getUint32(vectors + index * 16, true)
      return bytes.slice(from, from + view.getUint32(vectors + index * 16 + 8, true))
    })
  }

  #fail(code: number): number {
    this.#errno = code
    return -1
  }
}

/** A packet as the TUN gives it, with nothing for us to do. */
export function asRead(packet: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(headerSize + packet.length)
  bytes.set(packet, headerSize)
  return bytes
}

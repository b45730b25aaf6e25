/** What both workers of a data plane are given: memory, cipher, system calls, time, and a way to speak to the main thread. */

import type { SystemCalls } from '../../net/ffi.ts'
import type { AeadBackend } from './aead/aead.ts'
import type { PacketMemory } from './packet-memory.ts'
import { countDrop, type DropReason } from './shared-activity.ts'
import { control, type WorkerEvent } from './worker-messages.ts'

export type WorkerCalls = Pick<
  SystemCalls,
  | 'read'
  | 'write'
  | 'writev'
  | 'sendmmsg'
  | 'recvmmsg'
  | 'setsockopt'
  | 'poll'
  | 'ioctl'
  | 'close'
  | 'clock_gettime'
  | 'errno'
>

export interface WorkerContext {
  readonly system: WorkerCalls
  readonly memory: PacketMemory
  readonly backend: AeadBackend
  readonly tun: number
  /** Bytes of the longest inner packet. */
  readonly mtu: number
  /** Monotonic ms of control's clock. */
  readonly now: () => number
  readonly post: (event: WorkerEvent) => void
  readonly control: Int32Array
  readonly drops: Float64Array
}

/**
 * Every context is made here, as are its calls: objects that are built alike have one shape for V8, and code that was
 * compiled for one of them (warm-up.ts) serves the others.
 */
export function createContext(parts: WorkerContext): WorkerContext {
  const { memory, backend, tun, mtu, now, post, control, drops } = parts
  const { read, write, writev, sendmmsg, recvmmsg, setsockopt, poll, ioctl, close, clock_gettime, errno } = parts.system
  const system = { read, write, writev, sendmmsg, recvmmsg, setsockopt, poll, ioctl, close, clock_gettime, errno }
  return { system, memory, backend, tun, mtu, now, post, control, drops }
}

/** The same calls by other functions, which need no `this`. */
export function callsAround(calls: WorkerCalls): WorkerCalls {
  return {
    read: (fd, address, length) => calls.read(fd, address, length),
    write: (fd, address, length) => calls.write(fd, address, length),
    writev: (fd, vectors, count) => calls.writev(fd, vectors, count),
    sendmmsg: (fd, messages, count, flags) => calls.sendmmsg(fd, messages, count, flags),
    recvmmsg: (fd, messages, count, flags, timeout) => calls.recvmmsg(fd, messages, count, flags, timeout),
    setsockopt: (fd, level, option, value, length) => calls.setsockopt(fd, level, option, value, length),
    poll: (fds, count, timeout) => calls.poll(fds, count, timeout),
    ioctl: (fd, request, address) => calls.ioctl(fd, request, address),
    close: (fd) => calls.close(fd),
    clock_gettime: (clock, address) => calls.clock_gettime(clock, address),
    errno: () => calls.errno(),
  }
}

/** How a turn of a worker's loop ended: more to do, nothing to do, or the interface is down or gone. */
export type Turn = 'busy' | 'idle' | 'down' | 'gone'

/** Rows have changed: the main thread is told once until it has looked. */
export function reportActivity({ control: shared, post }: WorkerContext, urgent: boolean): void {
  const level = urgent ? 2 : 1
  if (Atomics.load(shared, control.reported) >= level) return
  Atomics.store(shared, control.reported, level)
  post({ kind: 'activity', urgent })
}

export function dropUnowned({ drops }: WorkerContext, reason: DropReason, count = 1): void {
  countDrop(drops, reason, count)
}

/** struct mmsghdr of 64-bit Linux: | 0 | name |  | 8 | its length |  | 16 | iovecs |  | 24 | how many |  | 32 | control |  | 40 | its length |  | 56 | bytes received | */
export const messageHeader = {
  size: 64,
  name: 0,
  nameLength: 8,
  vectors: 16,
  vectorCount: 24,
  control: 32,
  controlLength: 40,
  received: 56,
} as const

/** struct pollfd: | 0 | descriptor |  | 4 | events |  | 6 | what happened | */
export const pollEntry = { size: 8, events: 4, happened: 6 } as const

export const socketAddressSize = 16
/** struct iovec. */
export const vectorSize = 16

/** A 64-bit pointer at an offset, for which a view has no method that takes a number. */
export function setPointer(view: DataView, at: number, address: number): void {
  view.setUint32(at, address % 2 ** 32, true)
  view.setUint32(at + 4, Math.floor(address / 2 ** 32), true)
}

export function pointerAt(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
}

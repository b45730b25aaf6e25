/**
 * The packet memory a second time, below 2^31. V8 keeps such addresses without an object on its heap, and koffi passes
 * them on without a conversion: some 40 ns a packet. V8 puts the memory of WebAssembly where it likes, so its pages are
 * replaced, before anything is in them, by those of a file in memory that is also mapped where we like. Linux only.
 */

import { c, type SystemCalls } from '../../net/ffi.ts'

export type MapCalls = Pick<SystemCalls, 'memfd_create' | 'ftruncate' | 'mmap' | 'munmap' | 'close' | 'addressOf'>

// Above what a program that is not relocated has for itself and its heap.
const from = 0x5000_0000
const end = 0x7f00_0000
const step = 0x100_0000
const access = c.PROT_READ | c.PROT_WRITE

export interface Placed {
  /** The address of the first byte for system calls and OpenSSL. */
  readonly base: number
  /** Takes the second mapping away; not before the last call with an address in it. */
  readonly release: () => void
}

/** `bytes` must be zero, whole pages, and not be used by any other name before. Where this cannot be done, its own address. */
export function placeLow(system: MapCalls, bytes: Uint8Array): Placed {
  const high = system.addressOf(bytes)
  const plain: Placed = { base: high, release: () => {} }
  const fd = system.memfd_create('punchguard', c.MFD_CLOEXEC)
  if (fd < 0) return plain
  try {
    const { length } = bytes
    if (system.ftruncate(fd, length) !== 0) return plain
    const low = findRoom(system, fd, length)
    if (low === undefined) return plain
    if (system.mmap(high, length, access, c.MAP_SHARED | c.MAP_FIXED, fd, 0) !== high) {
      system.munmap(low, length)
      return plain
    }
    return { base: low, release: () => void system.munmap(low, length) }
  } finally {
    system.close(fd)
  }
}

/** Where nothing is mapped yet. */
function findRoom(system: MapCalls, fd: number, length: number): number | undefined {
  for (let at = from; at + length <= end; at += step) {
    const found = system.mmap(at, length, access, c.MAP_SHARED | c.MAP_FIXED_NOREPLACE, fd, 0)
    if (found === at) return at
    // Before Linux 4.17 the address is a wish.
    if (found > 0) system.munmap(found, length)
  }
  return undefined
}

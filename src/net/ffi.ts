/**
 * The system calls that Node.js has no words for, declared once, through koffi. Nothing is loaded until the first
 * `systemCalls()`. The functions keep C's names, argument order and results (-1 and `errno()` on failure); addresses
 * are plain numbers (below 2^53) into `NativeMemory`. Linux on little-endian machines only: elsewhere the load fails with
 * a clear error; macOS and Windows have macos-calls.ts and windows-calls.ts.
 */

import { constants } from 'node:os'
import { getSystemErrorMap, getSystemErrorName } from 'node:util'
import { errorMessage, PunchGuardError } from '../api/errors.ts'

/** Memory that the collector never moves. It must stay referenced while a system call may use its address. */
export interface NativeMemory {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly address: number
}

export interface SystemCalls {
  open(path: string, flags: number): number
  close(fd: number): number
  read(fd: number, address: number, length: number): number
  write(fd: number, address: number, length: number): number
  writev(fd: number, vectors: number, count: number): number
  ioctl(fd: number, request: number, address: number): number
  flock(fd: number, operation: number): number
  /** A descriptor of the same open file, closed on exec. */
  duplicate(fd: number): number
  eventfd(value: number, flags: number): number
  poll(fds: number, count: number, timeout: number): number
  memfd_create(name: string, flags: number): number
  ftruncate(fd: number, length: number): number
  mmap(address: number, length: number, protection: number, flags: number, fd: number, offset: number): number
  munmap(address: number, length: number): number
  epoll_create1(flags: number): number
  epoll_ctl(epoll: number, operation: number, fd: number, event: number): number
  epoll_wait(epoll: number, events: number, count: number, timeout: number): number
  /** The same on a thread of the pool. Never rejects; errno is lost. */
  epollWaitOnPool(epoll: number, events: number, count: number, timeout: number, done: (ready: number) => void): void
  socket(family: number, type: number, protocol: number): number
  bind(fd: number, address: number, length: number): number
  connect(fd: number, address: number, length: number): number
  getsockname(fd: number, address: number, length: number): number
  getsockopt(fd: number, level: number, option: number, value: number, length: number): number
  setsockopt(fd: number, level: number, option: number, value: number, length: number): number
  recv(fd: number, address: number, length: number, flags: number): number
  sendto(fd: number, data: number, length: number, flags: number, address: number, addressLength: number): number
  recvfrom(fd: number, data: number, length: number, flags: number, address: number, addressLength: number): number
  recvmmsg(fd: number, messages: number, count: number, flags: number, timeout: number): number
  sendmmsg(fd: number, messages: number, count: number, flags: number): number
  /** Fills a struct timespec: seconds and nanoseconds, 64 bits each. */
  clock_gettime(clock: number, address: number): number
  /** Moves the calling thread only: descriptors it opens from now on belong to the other namespace. */
  setns(fd: number, kind: number): number
  unshare(kinds: number): number
  /** Of the last call that failed; read it before any other call. */
  errno(): number
  /** Where an ArrayBuffer of its own, or the memory of WebAssembly, is; it must stay referenced. */
  addressOf(bytes: Uint8Array): number
  /** Zeroed memory outside the heap. */
  allocate(length: number): NativeMemory
}

/**
 * Looks up functions of the Node.js binary itself by name, in koffi's words for types; all values are numbers.
 * @throws when there is no function of that name
 */
export type NativeFunctions = (
  name: string,
  result: string,
  parameters: readonly string[],
) => (...values: readonly (number | string)[]) => number

/** The numbers of the C headers, the same on every Linux architecture koffi has a build for. */
export const c = {
  O_RDONLY: 0,
  O_RDWR: 2,
  O_NONBLOCK: 0o4000,
  O_CLOEXEC: 0o2000000,
  F_DUPFD_CLOEXEC: 1030,
  MFD_CLOEXEC: 1,
  PROT_READ: 1,
  PROT_WRITE: 2,
  MAP_SHARED: 1,
  MAP_FIXED: 0x10,
  MAP_FIXED_NOREPLACE: 0x10_0000,
  POLLIN: 1,
  POLLOUT: 4,
  EPOLL_CTL_ADD: 1,
  EPOLL_CTL_DEL: 2,
  EPOLLIN: 1,
  EPOLLERR: 8,
  EPOLLHUP: 16,
  AF_UNIX: 1,
  AF_INET: 2,
  AF_NETLINK: 16,
  SOCK_DGRAM: 2,
  SOCK_RAW: 3,
  IPPROTO_IP: 0,
  IPPROTO_UDP: 17,
  IP_HDRINCL: 3,
  SOL_SOCKET: 1,
  SOL_IP: 0,
  IP_MTU_DISCOVER: 10,
  IP_PMTUDISC_PROBE: 3,
  IP_PMTUDISC_OMIT: 5,
  SOL_UDP: 17,
  SO_ATTACH_FILTER: 26,
  SO_SNDBUFFORCE: 32,
  UDP_SEGMENT: 103,
  UDP_GRO: 104,
  SO_PEERCRED: 17,
  SO_RCVBUFFORCE: 33,
  MSG_DONTWAIT: 0x40,
  CLONE_NEWNET: 0x40000000,
  CLOCK_THREAD_CPUTIME_ID: 3,
} as const

type ErrnoName =
  | 'EPERM'
  | 'ENOENT'
  | 'EINTR'
  | 'EIO'
  | 'ENXIO'
  | 'EAGAIN'
  | 'EACCES'
  | 'EBUSY'
  | 'ENODEV'
  | 'EINVAL'
  | 'EMSGSIZE'
  | 'ENOBUFS'

const { errno: numbers } = constants

/** The errno values this program looks at. */
export const errno: Readonly<Record<ErrnoName, number>> = {
  EPERM: numbers.EPERM,
  ENOENT: numbers.ENOENT,
  EINTR: numbers.EINTR,
  EIO: numbers.EIO,
  ENXIO: numbers.ENXIO,
  EAGAIN: numbers.EAGAIN,
  EACCES: numbers.EACCES,
  EBUSY: numbers.EBUSY,
  ENODEV: numbers.ENODEV,
  EINVAL: numbers.EINVAL,
  EMSGSIZE: numbers.EMSGSIZE,
  ENOBUFS: numbers.ENOBUFS,
}

/** `EBUSY`. */
export function errnoName(value: number): string {
  return getSystemErrorName(-value)
}

/** `EBUSY: resource busy or locked`, or the bare number of one that Node.js does not know. */
export function describeErrno(value: number): string {
  const known = getSystemErrorMap().get(-value)
  if (known !== undefined) return `${getSystemErrorName(-value)}: ${known[1]}`
  // On Windows Node.js counts its own errors otherwise than C.
  return Object.entries(numbers).find(([, number]) => number === value)?.[0] ?? `error ${value}`
}

/** @throws PunchGuardError GUARD_UNAVAILABLE when koffi has no build for this machine */
export async function ownFunctions(): Promise<NativeFunctions> {
  await systemCalls()
  const self = (await loadKoffi()).load(null)
  return (name, result, parameters) => self.func(name, result, [...parameters])
}

/** malloc.h of glibc. */
const M_ARENA_MAX = -8

/**
 * One heap of the C library for all threads instead of one each, and what is free of it goes back to the system: V8's
 * compiler takes and frees megabytes on every thread it has. Nothing happens where the library is not glibc.
 */
export async function keepHeapSmall(): Promise<void> {
  const functions = await ownFunctions()
  try {
    functions('mallopt', 'int', ['int', 'int'])(M_ARENA_MAX, 1)
    functions('malloc_trim', 'int', ['size_t'])(0)
  } catch {
    // musl has neither.
  }
}

let loading: Promise<SystemCalls> | undefined

/**
 * Loads koffi and libc on the first call.
 * @throws PunchGuardError GUARD_UNAVAILABLE on another system than Linux, or when koffi has no build for this machine
 */
export function systemCalls(): Promise<SystemCalls> {
  loading ??= load()
  return loading
}

async function load(): Promise<SystemCalls> {
  if (process.platform !== 'linux') {
    throw new PunchGuardError('GUARD_UNAVAILABLE', `these system calls are Linux's; this is ${process.platform}`, {
      hint: 'run this device on Linux',
    })
  }
  return declare(await loadKoffi())
}

export type Koffi = typeof import('koffi')['default']

/** @throws PunchGuardError GUARD_UNAVAILABLE when koffi has no build for this machine */
export async function loadKoffi(): Promise<Koffi> {
  try {
    return (await import('koffi')).default
  } catch (cause) {
    const message = `the system calls could not be loaded: ${errorMessage(cause)}`
    throw new PunchGuardError('GUARD_UNAVAILABLE', message, {
      hint: `reinstall with the optional package @koromix/koffi-${process.platform}-${process.arch}`,
      cause,
    })
  }
}

/** Zeroed. */
export function allocateNative(koffi: Koffi, length: number): NativeMemory {
  // An ArrayBuffer of its own: small typed arrays live on the heap and may move.
  const buffer = new ArrayBuffer(length)
  const bytes = new Uint8Array(buffer)
  return { bytes, view: new DataView(buffer), address: Number(koffi.address(bytes)) }
}

function declare(koffi: Koffi): SystemCalls {
  // The process itself: every Node.js binary for Linux is linked with the C library, glibc or musl.
  const libc = koffi.load(null)
  const fd = 'int'
  const pointer = 'intptr'
  const fcntl = libc.func('int fcntl(int fd, int command, ...)')
  const epollWait = libc.func('epoll_wait', 'int', [fd, pointer, 'int', 'int'])
  return {
    open: libc.func('open', 'int', ['str', 'int']),
    close: libc.func('close', 'int', [fd]),
    read: libc.func('read', 'intptr', [fd, pointer, 'size_t']),
    write: libc.func('write', 'intptr', [fd, pointer, 'size_t']),
    writev: libc.func('writev', 'intptr', [fd, pointer, 'int']),
    ioctl: libc.func('ioctl', 'int', [fd, 'ulong', pointer]),
    flock: libc.func('flock', 'int', [fd, 'int']),
    duplicate: (from) => fcntl(from, c.F_DUPFD_CLOEXEC, 'int', 0),
    eventfd: libc.func('eventfd', 'int', ['uint', 'int']),
    poll: libc.func('poll', 'int', [pointer, 'ulong', 'int']),
    memfd_create: libc.func('memfd_create', 'int', ['str', 'uint']),
    ftruncate: libc.func('ftruncate', 'int', [fd, 'intptr']),
    mmap: libc.func('mmap', 'intptr', [pointer, 'size_t', 'int', 'int', fd, 'intptr']),
    munmap: libc.func('munmap', 'int', [pointer, 'size_t']),
    epoll_create1: libc.func('epoll_create1', 'int', ['int']),
    epoll_ctl: libc.func('epoll_ctl', 'int', [fd, 'int', fd, pointer]),
    epoll_wait: epollWait,
    epollWaitOnPool: (epoll, events, count, timeout, done) =>
      epollWait.async(epoll, events, count, timeout, (error: unknown, ready: number) => done(error ? -1 : ready)),
    socket: libc.func('socket', 'int', ['int', 'int', 'int']),
    bind: libc.func('bind', 'int', [fd, pointer, 'uint']),
    connect: libc.func('connect', 'int', [fd, pointer, 'uint']),
    getsockname: libc.func('getsockname', 'int', [fd, pointer, pointer]),
    getsockopt: libc.func('getsockopt', 'int', [fd, 'int', 'int', pointer, pointer]),
    setsockopt: libc.func('setsockopt', 'int', [fd, 'int', 'int', pointer, 'uint']),
    recv: libc.func('recv', 'intptr', [fd, pointer, 'size_t', 'int']),
    sendto: libc.func('sendto', 'intptr', [fd, pointer, 'size_t', 'int', pointer, 'uint']),
    recvfrom: libc.func('recvfrom', 'intptr', [fd, pointer, 'size_t', 'int', pointer, pointer]),
    recvmmsg: libc.func('recvmmsg', 'int', [fd, pointer, 'uint', 'int', pointer]),
    sendmmsg: libc.func('sendmmsg', 'int', [fd, pointer, 'uint', 'int']),
    clock_gettime: libc.func('clock_gettime', 'int', ['int', pointer]),
    setns: libc.func('setns', 'int', [fd, 'int']),
    unshare: libc.func('unshare', 'int', ['int']),
    errno: () => koffi.errno(),
    addressOf: (bytes) => Number(koffi.address(bytes)),
    allocate: (length) => allocateNative(koffi, length),
  }
}

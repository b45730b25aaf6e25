/**
 * The system calls of macOS that Node.js has no words for, through koffi, as ffi.ts has them for Linux. `ioctl` and
 * `fcntl` are declared variadic: on arm64 macOS their last argument travels on the stack. Written after the headers
 * of XNU (bsd/sys, bsd/net/if_utun.h); not run on a Mac yet.
 */

import { PunchGuardError } from '../api/errors.ts'
import { allocateNative, type Koffi, loadKoffi, type SystemCalls } from './ffi.ts'

type SharedCalls = Pick<SystemCalls, 'close' | 'read' | 'write' | 'ioctl' | 'socket' | 'connect' | 'getsockopt'>
type Memory = Pick<SystemCalls, 'errno' | 'allocate' | 'poll'>

/** Names, argument order and results are C's. */
export interface MacosCalls extends SharedCalls, Memory {
  fcntl(fd: number, command: number, value: number): number
  /** Two 32-bit descriptors are written to `address`: the reading end, then the writing one. */
  pipe(address: number): number
  /** `poll` on a thread of the pool. Never rejects; errno is lost. */
  pollOnPool(fds: number, count: number, timeout: number, done: (ready: number) => void): void
  getpeereid(fd: number, uid: number, gid: number): number
}

/** The numbers of its C headers. */
export const macos = {
  PF_SYSTEM: 32,
  AF_INET: 2,
  AF_INET6: 30,
  AF_SYS_CONTROL: 2,
  SOCK_DGRAM: 2,
  SYSPROTO_CONTROL: 2,
  F_SETFD: 2,
  F_SETFL: 4,
  FD_CLOEXEC: 1,
  O_NONBLOCK: 4,
  POLLIN: 1,
  SOL_LOCAL: 0,
  LOCAL_PEERPID: 2,
  UTUN_OPT_IFNAME: 2,
  CTLIOCGINFO: 0xc0644e03,
  SIOCSIFMTU: 0x80206934,
} as const

let loading: Promise<MacosCalls> | undefined

/** @throws PunchGuardError GUARD_UNAVAILABLE on another system, or when koffi has no build for this machine */
export function macosCalls(): Promise<MacosCalls> {
  loading ??= load()
  return loading
}

async function load(): Promise<MacosCalls> {
  if (process.platform === 'darwin') return declareMacosCalls(await loadKoffi())
  throw new PunchGuardError('GUARD_UNAVAILABLE', `these system calls are those of macOS; this is ${process.platform}`, {
    hint: 'run this device on macOS or Linux',
  })
}

/** Of the C library in this process. What other systems have under the same name works there too. */
export function declareMacosCalls(koffi: Koffi): MacosCalls {
  const libc = koffi.load(null)
  const pointer = 'intptr'
  const ioctl = libc.func('int ioctl(int fd, unsigned long request, ...)')
  const fcntl = libc.func('int fcntl(int fd, int command, ...)')
  const poll = libc.func('poll', 'int', [pointer, 'uint', 'int'])
  return {
    close: libc.func('close', 'int', ['int']),
    read: libc.func('read', 'intptr', ['int', pointer, 'size_t']),
    write: libc.func('write', 'intptr', ['int', pointer, 'size_t']),
    ioctl: (fd, request, address) => ioctl(fd, request, pointer, address),
    fcntl: (fd, command, value) => fcntl(fd, command, 'int', value),
    pipe: libc.func('pipe', 'int', [pointer]),
    poll,
    pollOnPool: (fds, count, timeout, done) =>
      poll.async(fds, count, timeout, (error: unknown, ready: number) => done(error ? -1 : ready)),
    socket: libc.func('socket', 'int', ['int', 'int', 'int']),
    connect: libc.func('connect', 'int', ['int', pointer, 'uint']),
    getsockopt: libc.func('getsockopt', 'int', ['int', 'int', 'int', pointer, pointer]),
    // Looked up when it is used: other systems have no such function.
    getpeereid: (fd, uid, gid) => libc.func('getpeereid', 'int', ['int', pointer, pointer])(fd, uid, gid),
    errno: () => koffi.errno(),
    allocate: (length) => allocateNative(koffi, length),
  }
}

/**
 * Who is at the other end of a unix socket, as the kernel saw it connect: SO_PEERCRED on Linux (unix(7)), getpeereid(3)
 * on macOS. Windows has no such word for a pipe.
 */

import type { Socket } from 'node:net'
import { descriptorOf } from './descriptor.ts'
import { c, type SystemCalls, systemCalls } from './ffi.ts'
import { type MacosCalls, macos, macosCalls } from './macos-calls.ts'

export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

// struct ucred: three 32-bit numbers; after it the length that getsockopt reads and writes.
const credentialsSize = 12

/** `undefined` when the socket is closed already, is no unix socket, or the system cannot tell. */
export async function peerCredentials(socket: Socket): Promise<PeerCredentials | undefined> {
  const ask = await asker()
  // Not before: while the calls were loaded the socket may have closed and its number gone to another file.
  const descriptor = descriptorOf(socket)
  return descriptor === undefined ? undefined : ask?.(descriptor)
}

async function asker(): Promise<((descriptor: number) => PeerCredentials | undefined) | undefined> {
  if (process.platform === 'linux') {
    const system = await systemCalls()
    return (descriptor) => linuxCredentials(system, descriptor)
  }
  if (process.platform !== 'darwin') return undefined
  const system = await macosCalls()
  return (descriptor) => macosCredentials(system, descriptor)
}

function linuxCredentials(system: SystemCalls, descriptor: number): PeerCredentials | undefined {
  const { view, address } = system.allocate(credentialsSize + 4)
  view.setUint32(credentialsSize, credentialsSize, true)
  const failed = system.getsockopt(descriptor, c.SOL_SOCKET, c.SO_PEERCRED, address, address + credentialsSize)
  if (failed !== 0 || view.getUint32(credentialsSize, true) !== credentialsSize) return undefined
  const pid = view.getInt32(0, true)
  // Without a peer the kernel gives pid 0 and the ids -1.
  return pid > 0 ? { pid, uid: view.getUint32(4, true), gid: view.getUint32(8, true) } : undefined
}

/** The process is asked for apart: it may have ended, and only its user matters. */
export function macosCredentials(
  system: Pick<MacosCalls, 'allocate' | 'getpeereid' | 'getsockopt'>,
  descriptor: number,
): PeerCredentials | undefined {
  const { view, address } = system.allocate(16)
  const [uid, gid, pid, length] = [0, 4, 8, 12] as const
  if (system.getpeereid(descriptor, address + uid, address + gid) !== 0) return undefined
  view.setUint32(length, 4, true)
  const failed = system.getsockopt(descriptor, macos.SOL_LOCAL, macos.LOCAL_PEERPID, address + pid, address + length)
  return {
    pid: failed === 0 ? view.getInt32(pid, true) : 0,
    uid: view.getUint32(uid, true),
    gid: view.getUint32(gid, true),
  }
}

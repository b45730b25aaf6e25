/** Who is at the other end of a unix socket, as the kernel saw it connect: SO_PEERCRED, unix(7). Linux only. */

import type { Socket } from 'node:net'
import { descriptorOf } from './descriptor.ts'
import { c, systemCalls } from './ffi.ts'

export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

// struct ucred: three 32-bit numbers; after it the length that getsockopt reads and writes.
const credentialsSize = 12

/** `undefined` when the socket is closed already, is no unix socket, or the system cannot tell. */
export async function peerCredentials(socket: Socket): Promise<PeerCredentials | undefined> {
  if (process.platform !== 'linux') return undefined
  const system = await systemCalls()
  // Not before: while the calls were loaded the socket may have closed and its number gone to another file.
  const descriptor = descriptorOf(socket)
  if (descriptor === undefined) return undefined
  const { view, address } = system.allocate(credentialsSize + 4)
  view.setUint32(credentialsSize, credentialsSize, true)
  const failed = system.getsockopt(descriptor, c.SOL_SOCKET, c.SO_PEERCRED, address, address + credentialsSize)
  if (failed !== 0 || view.getUint32(credentialsSize, true) !== credentialsSize) return undefined
  const pid = view.getInt32(0, true)
  // Without a peer the kernel gives pid 0 and the ids -1.
  return pid > 0 ? { pid, uid: view.getUint32(4, true), gid: view.getUint32(8, true) } : undefined
}

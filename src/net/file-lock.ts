/**
 * A lock on a whole file that the system gives back when the process ends, however it ends, so it is never stale. It
 * belongs to the open file, not to its name: never delete a lock file. flock(2) on Linux; macOS takes the same lock as it
 * opens the file (O_EXLOCK), and Windows lets nobody else open it (a share mode of 0).
 */

import { closeSync, constants, openSync } from 'node:fs'
import { systemCalls } from './ffi.ts'
import { systemErrorName } from './state-folder.ts'

const LOCK_EX = 2
const LOCK_NB = 4

/** Flags that Node.js passes on without a name for them, and the error when another process holds the lock. */
const exclusive: Partial<Record<NodeJS.Platform, { readonly flags: number; readonly held: string }>> = {
  // sys/fcntl.h: O_EXLOCK, O_NONBLOCK.
  darwin: { flags: 0x20 | 0x4, held: 'EAGAIN' },
  // uv/win.h: UV_FS_O_EXLOCK.
  win32: { flags: 0x1000_0000, held: 'EBUSY' },
}

/**
 * Locks a file, which is created with mode 0600 when missing; `undefined` when another process holds it.
 * @throws the system's error when the file cannot be opened; PunchGuardError GUARD_UNAVAILABLE without system calls
 */
export async function lockFile(path: string): Promise<Disposable | undefined> {
  if (process.platform in exclusive) return openExclusively(path, { platform: process.platform })
  const { flock } = await systemCalls()
  const fd = openSync(path, 'a', 0o600)
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return held(fd)
  closeSync(fd)
  return undefined
}

/** The same for a system that locks as it opens. */
export function openExclusively(
  path: string,
  options: { readonly platform: NodeJS.Platform; readonly open?: typeof openSync },
): Disposable | undefined {
  const { platform, open = openSync } = options
  const how = exclusive[platform]
  if (how === undefined) throw new Error(`${platform} does not lock as it opens`)
  try {
    return held(open(path, constants.O_WRONLY | constants.O_CREAT | how.flags, 0o600))
  } catch (error) {
    if (systemErrorName(error) === how.held) return undefined
    throw error
  }
}

function held(fd: number): Disposable {
  return { [Symbol.dispose]: () => closeSync(fd) }
}

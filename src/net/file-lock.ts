/**
 * An advisory lock on a whole file, flock(2): the kernel gives it back when the process ends, however it ends, so a
 * lock is never stale. The lock belongs to the open file, not to its name: never delete a lock file.
 */

import { closeSync, openSync } from 'node:fs'
import { systemCalls } from './ffi.ts'

const LOCK_EX = 2
const LOCK_NB = 4

/**
 * Locks a file, which is created with mode 0600 when missing; `undefined` when another process holds it.
 * @throws the system's error when the file cannot be opened; PunchGuardError GUARD_UNAVAILABLE without system calls
 */
export async function lockFile(path: string): Promise<Disposable | undefined> {
  const { flock } = await systemCalls()
  const fd = openSync(path, 'a', 0o600)
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return { [Symbol.dispose]: () => closeSync(fd) }
  closeSync(fd)
  return undefined
}

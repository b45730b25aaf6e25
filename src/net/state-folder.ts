/** The folder of a device's files: made for its owner alone, refused when others can look into it. */

import { lstat, mkdir, open, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { type ErrorCode, errorMessage, PunchGuardError } from '../api/errors.ts'

/** How the temporary files of `FileStateStore` and `writeAtomically` end. */
export const temporaryEnding = '.tmp'

/**
 * Creates the folder when it is missing, checks it, and removes what an interrupted write left behind.
 * @throws PunchGuardError STATE_UNWRITABLE, PERMISSION_DENIED
 */
export async function openStateFolder(path: string): Promise<void> {
  await makePrivateFolder(path)
  for (const name of await readdir(path)) {
    if (name.startsWith('.') && name.endsWith(temporaryEnding)) await unlink(join(path, name))
  }
}

/** @throws PunchGuardError STATE_UNWRITABLE, PERMISSION_DENIED */
export async function makePrivateFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw fileError(error, { code: 'STATE_UNWRITABLE', what: `the folder ${path} could not be created` })
  }
  const status = await lstat(path).catch((error: unknown) => {
    throw fileError(error, { code: 'PERMISSION_DENIED', what: `the folder ${path} could not be read` })
  })
  if (!status.isDirectory()) {
    throw new PunchGuardError('STATE_UNWRITABLE', `${path} is not a folder`, {
      hint: 'name a folder in PUNCHGUARD_DIR, or move that file away',
    })
  }
  const user = process.getuid?.()
  if (user !== undefined && user !== 0 && status.uid !== user) {
    throw new PunchGuardError('PERMISSION_DENIED', `the folder ${path} belongs to another user`, {
      hint: 'run this as its owner (sudo punchguard …), or name another folder in PUNCHGUARD_DIR',
    })
  }
  if (user !== undefined && (status.mode & 0o077) !== 0) {
    const mode = (status.mode & 0o777).toString(8)
    throw new PunchGuardError(
      'PERMISSION_DENIED',
      `other users can look into ${path} (mode ${mode}); it holds secret keys`,
      {
        hint: `chmod 700 ${path}`,
      },
    )
  }
}

/** Without it a crash of the machine may bring an old name back, or take a new one away. */
export async function flushFolder(path: string): Promise<void> {
  // Windows flushes files only; NTFS keeps a journal of its names.
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

const words: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  EACCES: ['permission denied', 'run this as the owner of that file (sudo punchguard …)'],
  EPERM: ['permission denied', 'run this as the owner of that file (sudo punchguard …)'],
  ENOSPC: ['the disk is full', 'free some space; nothing was changed'],
  EDQUOT: ['the disk quota is used up', 'free some space; nothing was changed'],
  EROFS: ['the file system is read-only', 'name a writable folder in PUNCHGUARD_DIR'],
  ENOTDIR: ['a part of that path is not a folder', 'name another folder in PUNCHGUARD_DIR'],
  EISDIR: ['there is a folder in its place', 'move that folder away'],
  ENOENT: ['there is no such place', 'name another folder in PUNCHGUARD_DIR'],
}

/** A system error about a file as people read it. Permission problems keep their own code. */
export function fileError(error: unknown, about: { readonly code: ErrorCode; readonly what: string }): PunchGuardError {
  const name = systemErrorName(error)
  const [what, hint] = words[name ?? ''] ?? [errorMessage(error), 'name another folder in PUNCHGUARD_DIR']
  return new PunchGuardError(about.code, `${about.what}: ${what}`, { hint, cause: error })
}

/** `ENOENT` and its like, `undefined` for anything else. */
export function systemErrorName(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

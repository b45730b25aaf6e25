/**
 * The StateStore of a daemon: one JSON file per name in the state folder, mode 0600. A write goes to a temporary file,
 * is flushed to the disk and then takes the old file's place: after a crash there is the old value or the new one.
 */

import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PunchGuardError } from '../api/errors.ts'
import type { StateStore } from '../api/state-store.ts'
import { fileError, flushFolder, systemErrorName, temporaryEnding } from './state-folder.ts'

/** Our choice: 256 peers take about 200 kB; a larger file is not ours. */
const maximumFileBytes = 4 * 1024 * 1024

export class FileStateStore implements StateStore {
  readonly #folder: string
  /** Writes wait for one another, so that the last one called is the one that stays. */
  #lastWrite: Promise<void> = Promise.resolve()

  /** `folder` has been opened with `openStateFolder`. */
  constructor(folder: string) {
    this.#folder = folder
  }

  async read(name: string): Promise<unknown> {
    const path = this.#path(name)
    let text: string
    try {
      if ((await stat(path)).size > maximumFileBytes) throw damaged(path, 'it is far too large')
      text = await readFile(path, 'utf8')
    } catch (error) {
      if (error instanceof PunchGuardError) throw error
      if (systemErrorName(error) === 'ENOENT') return undefined
      const code = systemErrorName(error) === 'EISDIR' ? 'STATE_DAMAGED' : 'PERMISSION_DENIED'
      throw fileError(error, { code, what: `${path} could not be read` })
    }
    try {
      return JSON.parse(text)
    } catch (cause) {
      throw damaged(path, text.trim() === '' ? 'it is empty' : 'it is not complete', cause)
    }
  }

  write(name: string, value: unknown): Promise<void> {
    const path = this.#path(name)
    const text = `${JSON.stringify(value, undefined, 2)}\n`
    return this.#afterOthers(() => writeAtomically(path, text))
  }

  remove(name: string): Promise<void> {
    const path = this.#path(name)
    return this.#afterOthers(async () => {
      try {
        await unlink(path)
        await flushFolder(dirname(path))
      } catch (error) {
        if (systemErrorName(error) === 'ENOENT') return
        throw fileError(error, { code: 'STATE_UNWRITABLE', what: `${path} could not be removed` })
      }
    })
  }

  #afterOthers(change: () => Promise<void>): Promise<void> {
    const done = this.#lastWrite.then(change)
    this.#lastWrite = done.catch(() => {})
    return done
  }

  #path(name: string): string {
    if (!/^[a-z][a-z0-9-]{0,40}$/.test(name)) throw new Error(`not the name of a stored value: ${name}`)
    return join(this.#folder, `${name}.json`)
  }
}

/** Replaces a file whole or not at all; mode 0600. @throws PunchGuardError STATE_UNWRITABLE */
export async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${randomBytes(6).toString('hex')}${temporaryEnding}`)
  try {
    const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await flushFolder(dirname(path))
  } catch (error) {
    await unlink(temporary).catch(() => {})
    throw fileError(error, { code: 'STATE_UNWRITABLE', what: `${path} could not be written` })
  }
}

function damaged(path: string, why: string, cause?: unknown): PunchGuardError {
  return new PunchGuardError('STATE_DAMAGED', `${path} is damaged: ${why}`, {
    hint: 'restore it from a backup, or move it away to begin anew with what it held',
    cause,
  })
}

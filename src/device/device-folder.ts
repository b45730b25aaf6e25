/**
 * The folder that holds a device: its configuration, its stored state, and the lock that keeps a second program from
 * being the same device. The daemon opens one, and a program that embeds a device another.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Config, parseConfig, renderDefaultConfig } from '../api/config.ts'
import { PunchGuardError } from '../api/errors.ts'
import type { StateStore } from '../api/state-store.ts'
import { lockFile } from '../net/file-lock.ts'
import { fileError, makePrivateFolder, openStateFolder, systemErrorName } from '../net/state-folder.ts'
import { FileStateStore, writeAtomically } from '../net/state-store.ts'

/** Disposing gives the lock back: last, after everything that uses the folder. */
export interface DeviceFolder extends Disposable {
  readonly config: Config
  readonly store: StateStore
  /** Where changes to the system are written down before they are made. */
  readonly undoLogPath: string
}

/**
 * Opens a folder, which is made when it is missing.
 * @throws PunchGuardError DAEMON_RUNNING, CONFIG_INVALID, STATE_UNWRITABLE, PERMISSION_DENIED
 */
export async function openDeviceFolder(path: string, options: { readonly hostName: string }): Promise<DeviceFolder> {
  await makePrivateFolder(path)
  // Before anything in the folder is touched: a second program changes nothing.
  const lock = await lockDeviceFolder(path)
  try {
    await openStateFolder(path)
    return {
      config: await readConfig(configFilePath(path), options),
      store: new FileStateStore(path),
      undoLogPath: join(path, 'undo.json'),
      [Symbol.dispose]: () => lock[Symbol.dispose](),
    }
  } catch (error) {
    lock[Symbol.dispose]()
    throw error
  }
}

export function configFilePath(folder: string): string {
  return join(folder, 'config.toml')
}

/** Held by the running device for as long as it lives. */
export function lockFilePath(folder: string): string {
  return join(folder, 'daemon.lock')
}

async function lockDeviceFolder(folder: string): Promise<Disposable> {
  const path = lockFilePath(folder)
  try {
    const lock = await lockFile(path)
    if (lock !== undefined) return lock
  } catch (error) {
    if (error instanceof PunchGuardError) throw error
    throw fileError(error, { code: 'STATE_UNWRITABLE', what: `${path} could not be written` })
  }
  throw new PunchGuardError('DAEMON_RUNNING', `a daemon is running already for ${folder}`, {
    hint: 'talk to it with punchguard status, or end it with punchguard stop',
  })
}

/** The configuration file; a commented one is written when there is none. */
async function readConfig(path: string, options: { readonly hostName: string }): Promise<Config> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (systemErrorName(error) !== 'ENOENT') {
      throw fileError(error, { code: 'PERMISSION_DENIED', what: `${path} could not be read` })
    }
    text = renderDefaultConfig()
    await writeAtomically(path, text)
  }
  return parseConfig(text, options)
}

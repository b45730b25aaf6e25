/** Where a device keeps its files, and where its daemon listens: told from the environment alone. */

import { createHash } from 'node:crypto'
import { homedir, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export interface PathOptions {
  readonly environment: NodeJS.ProcessEnv
  /** Of this process; `undefined` where the system has none. */
  readonly userId: number | undefined
}

export function currentPathOptions(): PathOptions {
  return { environment: process.env, userId: process.getuid?.() }
}

export const rootStateFolder = '/var/lib/punchguard'

/** $PUNCHGUARD_DIR, else /var/lib/punchguard for root, else the XDG state folder of the user. */
export function stateFolderPath({ environment, userId }: PathOptions): string {
  const { PUNCHGUARD_DIR: chosen, XDG_STATE_HOME: stateHome, HOME: home } = environment
  if (chosen !== undefined && chosen !== '') return resolve(chosen)
  if (userId === 0) return rootStateFolder
  return join(
    stateHome !== undefined && stateHome !== '' ? stateHome : join(home ?? homedir(), '.local/state'),
    'punchguard',
  )
}

/** Longest path that fits a socket address: `sun_path` has 104 bytes on macOS and 108 on Linux, with a final zero. */
const maximumSocketPath = 100

/**
 * The control socket of a state folder: `control.sock` in it, or, where that path is too long for a socket address, a
 * name made from the folder's in the run-time folder of the user. That folder is created by `listen`, mode 0700.
 */
export function controlSocketPath(stateFolder: string, { environment, userId }: PathOptions): string {
  const usual = join(stateFolder, 'control.sock')
  if (Buffer.byteLength(usual) <= maximumSocketPath) return usual
  const name = `${createHash('sha256').update(stateFolder).digest('hex').slice(0, 16)}.sock`
  const { XDG_RUNTIME_DIR: runtime } = environment
  const candidates = [
    ...(userId === 0 ? ['/run/punchguard'] : []),
    ...(runtime !== undefined && runtime !== '' ? [join(runtime, 'punchguard')] : []),
    join(tmpdir(), `punchguard-${userId ?? 'user'}`),
    `/tmp/punchguard-${userId ?? 'user'}`,
  ]
  const fitting = candidates
    .map((folder) => join(folder, name))
    .find((path) => Buffer.byteLength(path) <= maximumSocketPath)
  return fitting ?? usual
}

export function logFilePath(stateFolder: string): string {
  return join(stateFolder, 'daemon.log')
}

/** Where a device keeps its files, and where its daemon listens: told from the environment alone. */

import { createHash } from 'node:crypto'
import { homedir, tmpdir } from 'node:os'
import { join, posix, win32 } from 'node:path'

export interface PathOptions {
  readonly environment: NodeJS.ProcessEnv
  /** Of this process; `undefined` where the system has none. */
  readonly userId: number | undefined
  readonly platform: NodeJS.Platform
}

export function currentPathOptions(): PathOptions {
  return { environment: process.env, userId: process.getuid?.(), platform: process.platform }
}

const macosFolder = 'Library/Application Support/PunchGuard'

export function rootStateFolder(platform: NodeJS.Platform): string {
  return platform === 'darwin' ? `/${macosFolder}` : '/var/lib/punchguard'
}

/**
 * $PUNCHGUARD_DIR, else root's (/var/lib/punchguard), else the user's: the XDG state folder, on macOS in ~/Library, on
 * Windows in %LOCALAPPDATA%, which only that user, SYSTEM and administrators can look into.
 */
export function stateFolderPath({ environment, userId, platform }: PathOptions): string {
  const { PUNCHGUARD_DIR: chosen = '', XDG_STATE_HOME: stateHome = '' } = environment
  if (platform === 'win32') {
    if (chosen !== '') return win32.resolve(chosen)
    return win32.join(environment['LOCALAPPDATA'] ?? win32.join(homedir(), 'AppData', 'Local'), 'PunchGuard')
  }
  if (chosen !== '') return posix.resolve(chosen)
  if (userId === 0) return rootStateFolder(platform)
  const home = environment['HOME'] ?? homedir()
  if (platform === 'darwin') return posix.join(home, macosFolder)
  return posix.join(stateHome === '' ? posix.join(home, '.local/state') : stateHome, 'punchguard')
}

/** Longest path that fits a socket address: `sun_path` has 104 bytes on macOS and 108 on Linux, with a final zero. */
const maximumSocketPath = 100
const pipes = '\\\\.\\pipe\\'

/**
 * The control socket of a state folder: `control.sock` in it, or, where that path is too long for a socket address, a
 * name made from the folder's in the run-time folder of the user. That folder is created by `listen`, mode 0700.
 * On Windows a pipe with such a name.
 */
export function controlSocketPath(stateFolder: string, { environment, userId, platform }: PathOptions): string {
  // Windows does not tell upper from lower case in a path.
  if (platform === 'win32') return `${pipes}punchguard-${shortHash(stateFolder.toLowerCase())}`
  const usual = posix.join(stateFolder, 'control.sock')
  if (Buffer.byteLength(usual) <= maximumSocketPath) return usual
  const name = `${shortHash(stateFolder)}.sock`
  const { XDG_RUNTIME_DIR: runtime } = environment
  const candidates = [
    ...(userId === 0 ? [platform === 'darwin' ? '/var/run/punchguard' : '/run/punchguard'] : []),
    ...(runtime !== undefined && runtime !== '' ? [posix.join(runtime, 'punchguard')] : []),
    posix.join(tmpdir(), `punchguard-${userId ?? 'user'}`),
    `/tmp/punchguard-${userId ?? 'user'}`,
  ]
  const fitting = candidates
    .map((folder) => posix.join(folder, name))
    .find((path) => Buffer.byteLength(path) <= maximumSocketPath)
  return fitting ?? usual
}

/** It is no file: it has no folder, no mode, and nothing of it stays behind. */
export function isPipe(path: string): boolean {
  return path.startsWith(pipes)
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

export function logFilePath(stateFolder: string): string {
  return join(stateFolder, 'daemon.log')
}

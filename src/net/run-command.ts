/** Runs other programs: an argument list, never a shell; what they say is in the error. */

import { execFile } from 'node:child_process'
import { PunchGuardError } from '../api/errors.ts'

export interface CommandOptions {
  /** Given on standard input: the place for secrets, which must not be arguments. */
  readonly input?: string
}

/** What the program wrote to standard output. Rejects with CommandError or PunchGuardError. */
export type RunCommand = (program: string, args: readonly string[], options?: CommandOptions) => Promise<string>

/** A program that ended with another status than 0. */
export class CommandError extends Error {
  override readonly name: string = 'CommandError'
  /** Or, of a program that said nothing there, what it said on standard output. */
  readonly stderr: string

  constructor(command: string, stderr: string) {
    super(`${command}: ${stderr.trim() || 'failed without a word'}`)
    this.stderr = stderr
  }
}

const timeLimit = 10_000
const outputLimit = 16 * 1024 * 1024

/** Where a program is found when its name is not its package's. */
const packages: Readonly<Record<string, string>> = { ip: 'iproute2', wg: 'wireguard-tools' }

/** @throws PunchGuardError GUARD_UNAVAILABLE when the program is not installed; CommandError when it fails */
export const runCommand: RunCommand = (program, args, options = {}) =>
  new Promise((resolve, reject) => {
    const settings = { timeout: timeLimit, maxBuffer: outputLimit, env: programEnvironment(), windowsHide: true }
    const child = execFile(program, args, settings, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else if (error.code === 'ENOENT') reject(notInstalled(program, error))
      else reject(new CommandError([program, ...args].join(' '), error.killed ? 'took too long' : stderr || stdout))
    })
    // A program that ends without reading its input is no error of ours: its status tells.
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
  })

/** Plain English messages, and the folders of system programs, which a service or a user's shell may not have. */
export function programEnvironment(): NodeJS.ProcessEnv {
  if (process.platform === 'win32') return process.env
  const { PATH: path = '/usr/local/bin:/usr/bin:/bin' } = process.env
  return { ...process.env, PATH: `${path}:/usr/local/sbin:/usr/sbin:/sbin`, LC_ALL: 'C' }
}

function notInstalled(program: string, cause: unknown): PunchGuardError {
  return new PunchGuardError('GUARD_UNAVAILABLE', `the program ${program} is not installed`, {
    hint: `install ${packages[program] ?? program}`,
    cause,
  })
}

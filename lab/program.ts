/** Starting programs: an argument list, no shell; what a failed one said is in the error. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { errorMessage, PunchGuardError } from '../src/api/errors.ts'

/** The administrator's programs are not on every user's path. */
const { PATH: path = '' } = process.env
export const environment: NodeJS.ProcessEnv = { ...process.env, PATH: `${path}:/usr/sbin:/sbin` }

export interface ProgramResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end; `status` 127 when it cannot be started. */
export function tryProgram(argv: readonly string[], options: { readonly input?: string } = {}): ProgramResult {
  const [program = '', ...args] = argv
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    input: options.input ?? '',
    env: environment,
  })
  if (error !== undefined) return { status: 127, stdout: '', stderr: errorMessage(error) }
  return { status: status ?? 1, stdout, stderr }
}

/** @throws PunchGuardError GUARD_UNAVAILABLE with the first line the program said */
export function runProgram(argv: readonly string[], options: { readonly input?: string } = {}): string {
  const { status, stdout, stderr } = tryProgram(argv, options)
  if (status === 0) return stdout
  const said = stderr.trim().split('\n')[0] ?? ''
  throw new PunchGuardError('GUARD_UNAVAILABLE', `${argv.join(' ')} failed: ${said || `status ${status}`}`, {
    hint: 'run with --verbose, or report this with the output',
  })
}

/** A child that runs until it is stopped; its standard streams are pipes. */
export function startProgram(
  argv: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>> } = {},
): ChildProcess {
  const [program = '', ...args] = argv
  return spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...environment, ...options.env } })
}

/** Calls back for every line of a stream, the last one too. */
export function eachLine(stream: NodeJS.ReadableStream | null, listener: (line: string) => void): void {
  let rest = ''
  stream?.setEncoding('utf8')
  stream?.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) listener(line)
  })
  stream?.on('end', () => {
    if (rest !== '') listener(rest)
  })
}

/** Asks a child to end, then makes it. Resolves when it is gone. */
export async function stopProgram(child: ChildProcess, options: { readonly patience: number }): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), options.patience)
  await gone
  clearTimeout(timer)
}

/** The outer half of a program that works in fresh namespaces: signals, errors for people, the exit status. */

import { errorMessage, PunchGuardError } from '../src/api/errors.ts'
import { runInFreshNamespaces } from './enter.ts'

/** Runs a program of ours, with its arguments, in fresh namespaces and gives its exit status. */
export type Enter = (program: readonly string[]) => Promise<number>

/** Runs `main` and sets the exit status it gives; what it throws is said in two lines, with status 1. */
export function runOutside(main: (enter: Enter) => Promise<number>): void {
  const stopping = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stopping.abort())
  const say = (line: string): void => void process.stderr.write(`${line}\n`)
  main((program) => runInFreshNamespaces(program, { signal: stopping.signal, say })).then(
    (status) => {
      process.exitCode = status
    },
    (error: unknown) => {
      say(`punchguard: error: ${errorMessage(error)}`)
      if (error instanceof PunchGuardError) say(`punchguard: hint: ${error.hint}`)
      process.exitCode = 1
    },
  )
}

/** What a program does first in fresh namespaces (enter.ts): a private /run, and an ear for the wish to stop. */

import { mkdirSync } from 'node:fs'
import { runProgram } from './program.ts'

/** Our choice: how long taking down may last before everything is ended with process 1, ms. */
const takeDownPatience = 10_000

/** Hides /run behind one of our own, and gives a folder in it, mode 0700: it is gone with the namespaces. */
export function enterPrivateRun(): string {
  runProgram(['mount', '-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', '/run'])
  const folder = '/run/lab'
  mkdirSync(folder, { mode: 0o700 })
  return folder
}

/** Aborted when standard input ends (the program outside wants to stop, or is gone) or a signal comes. */
export function stopWithInput(): { readonly signal: AbortSignal } {
  const stopping = new AbortController()
  const stop = (): void => {
    if (stopping.signal.aborted) return
    stopping.abort(new Error('stopped'))
    setTimeout(() => process.exit(130), takeDownPatience).unref()
  }
  process.stdin.on('end', stop)
  process.stdin.on('error', stop)
  process.stdin.resume()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, stop)
  return stopping
}

/** Starting the daemon in the background, for the commands that need one. */

import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { PunchGuardError } from '../api/errors.ts'
import { logFilePath } from '../daemon/paths.ts'
import { errorOf } from '../daemon/problem.ts'
import type { StartReport } from '../daemon/run-daemon.ts'
import { fileError, makePrivateFolder } from '../net/state-folder.ts'
import { delay, systemClock } from '../util/clock.ts'
import type { CommandContext } from './command.ts'

/** Our choice: loading the program and opening its sockets takes less than a second on a small machine, ms. */
const startPatience = 30_000

/**
 * Starts the daemon unless one answers already.
 * @throws PunchGuardError of the daemon's own start; DAEMON_FAILED, PERMISSION_DENIED
 */
export async function ensureDaemon(context: CommandContext): Promise<void> {
  if (await answers(context)) return
  const report = await startInBackground(context)
  if (report.kind === 'ready') return
  const error = errorOf(report.problem)
  // Another command was faster: wait for its daemon.
  for (let tries = 0; error.code === 'DAEMON_RUNNING' && tries < 100; tries++) {
    if (await answers(context)) return
    await delay(systemClock, 50)
  }
  throw error
}

async function answers({ client }: CommandContext): Promise<boolean> {
  try {
    await client.status()
    return true
  } catch (error) {
    if (error instanceof PunchGuardError && error.code === 'DAEMON_NOT_RUNNING') return false
    throw error
  }
}

async function startInBackground({ stateFolder }: CommandContext): Promise<StartReport> {
  await makePrivateFolder(stateFolder)
  const log = openLogFile(logFilePath(stateFolder))
  const program = process.argv[1] ?? ''
  const child = spawn(process.execPath, [...process.execArgv, program, 'daemon', '--background'], {
    detached: true,
    windowsHide: true,
    cwd: '/',
    env: { ...process.env, PUNCHGUARD_DIR: stateFolder },
    // What a crash prints must not be lost, and must not appear in a terminal that is long used for something else.
    stdio: ['ignore', log, log, 'ipc'],
  })
  closeSync(log)
  let timer: Disposable | undefined
  try {
    return await new Promise<StartReport>((resolve, reject) => {
      const failed = (what: string, cause?: unknown): void =>
        reject(new PunchGuardError('DAEMON_FAILED', `the daemon ${what}`, { hint: 'punchguard logs shows why', cause }))
      timer = systemClock.after(startPatience, () => failed(`is not ready after ${startPatience / 1000} s`))
      child.once('error', (cause) => failed(`could not be started: ${cause.message}`, cause))
      child.once('exit', (status, signal) => failed(`ended at once (${signal ?? `status ${status}`})`))
      child.once('message', (message) => {
        if (isStartReport(message)) resolve(message)
        else failed('gave an answer that makes no sense')
      })
    })
  } finally {
    timer?.[Symbol.dispose]()
    child.removeAllListeners()
    if (child.connected) child.disconnect()
    child.unref()
  }
}

function isStartReport(message: unknown): message is StartReport {
  return typeof message === 'object' && message !== null && 'kind' in message
}

function openLogFile(path: string): number {
  try {
    return openSync(path, 'a', 0o600)
  } catch (error) {
    throw fileError(error, { code: 'STATE_UNWRITABLE', what: `${path} could not be written` })
  }
}

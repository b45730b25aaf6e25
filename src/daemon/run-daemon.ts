/**
 * A daemon as a process: signals, the last words of a crash, and, when it was started in the background, telling the
 * program that started it how it went.
 */

import { hostname } from 'node:os'
import { errorMessage } from '../api/errors.ts'
import { peerCredentials } from '../net/peer-credentials.ts'
import { systemClock } from '../util/clock.ts'
import { version } from '../util/version.ts'
import { type CreateDevice, type Daemon, startDaemon } from './daemon.ts'
import { openLog } from './log-file.ts'
import { controlSocketPath, currentPathOptions, logFilePath, stateFolderPath } from './paths.ts'
import { type Problem, problemOf } from './problem.ts'

export interface RunDaemonOptions {
  readonly createDevice: CreateDevice
  readonly verbose: boolean
  /** Log lines go to standard error too. */
  readonly foreground: boolean
}

/** What a daemon in the background tells its starter, once. */
export type StartReport = { readonly kind: 'ready' } | { readonly kind: 'failed'; readonly problem: Problem }

/** Our choice: how long a stop may take before the process ends anyway, ms. */
const stopPatience = 10_000

/** Runs until SIGTERM, SIGINT, SIGHUP or a stop request; resolves when everything is given back. */
export async function runDaemon(options: RunDaemonOptions): Promise<void> {
  const pathOptions = currentPathOptions()
  const stateFolder = stateFolderPath(pathOptions)
  const stopSignal = firstSignal()
  let daemon: Daemon
  try {
    daemon = await startDaemon({
      stateFolder,
      socketPath: controlSocketPath(stateFolder, pathOptions),
      hostName: hostname(),
      version,
      createDevice: options.createDevice,
      openLogger: () =>
        openLog({
          path: logFilePath(stateFolder),
          clock: systemClock,
          verbose: options.verbose,
          ...(options.foreground && { also: (line: string) => void process.stderr.write(`${line}\n`) }),
        }),
      // Windows cannot tell: there the pipe's own access list keeps others out.
      ...(process.platform !== 'win32' && { peerCredentials }),
    })
  } catch (error) {
    await report({ kind: 'failed', problem: problemOf(error) })
    throw error
  }
  const { logger } = daemon
  const crash = (error: unknown): void => {
    logger.error('crashed', { error: errorMessage(error), stack: error instanceof Error ? error.stack : undefined })
    endWithin(stopPatience, 1)
    daemon[Symbol.asyncDispose]().then(
      () => process.exit(1),
      () => process.exit(1),
    )
  }
  process.once('uncaughtException', crash)
  process.once('unhandledRejection', crash)
  await report({ kind: 'ready' })
  const reason = await Promise.race([stopSignal, daemon.stopRequested.then(() => 'a client asked for it')])
  logger.info('stopping', { reason })
  endWithin(stopPatience, 1)
  await daemon[Symbol.asyncDispose]()
  logger.info('stopped')
}

/** The name of the first stop signal; a second one ends the process at once. */
function firstSignal(): Promise<string> {
  return new Promise((resolve) => {
    let stopping = false
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(name, () => {
        if (stopping) process.exit(1)
        stopping = true
        resolve(name)
      })
    }
  })
}

/** Ends the process with `status` if it has not ended by then. */
function endWithin(patience: number, status: number): void {
  systemClock.after(patience, () => process.exit(status))
}

/** Resolves when the message is on its way: the process may end after that. */
function report(message: StartReport): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) {
      resolve()
      return
    }
    process.send(message, () => {
      if (process.connected) process.disconnect()
      resolve()
    })
  })
}

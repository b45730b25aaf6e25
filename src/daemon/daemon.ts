/**
 * The long-running process of a device: configuration → Device → control API, one per state folder. What it takes it
 * gives back in reverse order, also when starting fails half-way.
 */

import { randomBytes } from 'node:crypto'
import type { Config } from '../api/config.ts'
import type { Device, DeviceEvent } from '../api/device.ts'
import type { StateStore } from '../api/state-store.ts'
import { openDeviceFolder } from '../device/device-folder.ts'
import { assertNever } from '../util/assert-never.ts'
import type { Logger } from '../util/logger.ts'
import { controlRoutes } from './control-api.ts'
import { type PeerCredentials, startControlServer } from './control-server.ts'
import { EventLog } from './event-log.ts'

/** Makes the device; src/device/backends.ts has the real one. It goes up by itself when it was up before. */
export type CreateDevice = (options: {
  readonly config: Config
  readonly store: StateStore
  readonly logger: Logger
  /** Where changes to the system are written down before they are made. */
  readonly undoLogPath: string
  readonly version: string
}) => Promise<Device>

export interface DaemonOptions {
  readonly stateFolder: string
  readonly socketPath: string
  readonly hostName: string
  readonly version: string
  readonly createDevice: CreateDevice
  /** Called once the folder is open and locked, so that the log can be in it. */
  readonly openLogger: () => Logger
  readonly peerCredentials?: PeerCredentials
}

export interface Daemon extends AsyncDisposable {
  readonly logger: Logger
  /** Resolves when a client asked the daemon to stop. */
  readonly stopRequested: Promise<void>
}

/**
 * Starts a daemon; when this resolves, its socket answers.
 * @throws PunchGuardError DAEMON_RUNNING, CONFIG_INVALID, STATE_DAMAGED, STATE_UNWRITABLE, PERMISSION_DENIED,
 * ADDRESS_IN_USE and what creating the device throws
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { stateFolder, version } = options
  const taken: (AsyncDisposable | Disposable)[] = []
  const giveBack = (): Promise<void> => disposeAll(taken.splice(0).reverse())
  try {
    const folder = await openDeviceFolder(stateFolder, options)
    taken.push(folder)
    const logger = options.openLogger()
    const { config, store, undoLogPath } = folder
    logger.info('starting', { version, name: config.name, folder: stateFolder, pid: process.pid })
    const device = await options.createDevice({ config, store, logger, undoLogPath, version })
    taken.push(device)
    const events = new EventLog(randomBytes(4).toString('hex'))
    taken.push(
      device.subscribe((event) => {
        events.append(event)
        logEvent(logger, event)
      }),
    )
    let requestStop = (): void => {}
    const stopRequested = new Promise<void>((resolve) => {
      requestStop = resolve
    })
    const routes = controlRoutes(device, { stop: requestStop })
    const { socketPath: path, peerCredentials } = options
    const server = await startControlServer({
      path,
      routes,
      events,
      logger,
      ...(peerCredentials && { peerCredentials }),
    })
    taken.push(server)
    logger.info('ready', { socket: path })
    return { logger, stopRequested, [Symbol.asyncDispose]: giveBack }
  } catch (error) {
    await giveBack()
    throw error
  }
}

/** One that fails does not keep the others from being given back; the first failure is thrown at the end. */
async function disposeAll(things: readonly (AsyncDisposable | Disposable)[]): Promise<void> {
  const failures: unknown[] = []
  for (const thing of things) {
    try {
      if (Symbol.asyncDispose in thing) await thing[Symbol.asyncDispose]()
      else thing[Symbol.dispose]()
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw failures[0]
}

function logEvent(logger: Logger, event: DeviceEvent): void {
  switch (event.kind) {
    case 'network': {
      const { network, status } = event
      const why = status.kind === 'online' ? { detail: status.detail } : { reason: status.reason }
      logger.info(`${network} is ${status.kind}`, why)
      break
    }
    case 'pairing':
      logger.info(`pairing: ${event.text}`, { step: event.step, peer: event.peer, hint: event.hint })
      break
    case 'peer': {
      const { peer, state, reason, hint, path } = event
      logger.info(`${peer} is ${state}`, { reason, hint, path: path?.kind })
      break
    }
    default:
      assertNever(event)
  }
}

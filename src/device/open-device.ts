/** A device for a program that embeds one: what the daemon does, without the control API. */

import { hostname } from 'node:os'
import type { Device } from '../api/device.ts'
import { type Logger, silentLogger } from '../util/logger.ts'
import { version } from '../util/version.ts'
import { createDevice } from './backends.ts'
import { openDeviceFolder } from './device-folder.ts'

export interface OpenDeviceOptions {
  /** Keys, peers and `config.toml`; made when it is missing. One program at a time uses it. */
  readonly folder: string
  readonly logger?: Logger
}

/**
 * Opens the device that lives in a folder; a new one on the first time. It goes up by itself when it was up before.
 * @throws PunchGuardError DAEMON_RUNNING, CONFIG_INVALID, STATE_DAMAGED, STATE_UNWRITABLE, PERMISSION_DENIED, ADDRESS_IN_USE
 */
export async function openDevice(options: OpenDeviceOptions): Promise<Device> {
  const folder = await openDeviceFolder(options.folder, { hostName: hostname() })
  const { config, store, undoLogPath } = folder
  try {
    const device = await createDevice({ config, store, undoLogPath, version, logger: options.logger ?? silentLogger })
    device.whenDisposed(() => folder[Symbol.dispose]())
    return device
  } catch (error) {
    folder[Symbol.dispose]()
    throw error
  }
}

/** The TUN of the operating system we run on. */

import { openOffloadTun } from './offload.ts'
import type { Tun, TunOptions } from './tun.ts'
import { openUtun } from './utun.ts'
import { openWintun } from './wintun.ts'

/** Otherwise it is the interface's set-up that sets it. */
export const tunSetsMtu: boolean = process.platform !== 'win32'

/**
 * Makes a new interface and removes it when disposed. It has no address; macOS chooses its name.
 * @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED, CONFIG_INVALID (name)
 */
export function openSystemTun(options: TunOptions): Promise<Tun> {
  if (process.platform === 'darwin') return openUtun(options)
  return process.platform === 'win32' ? openWintun(options) : openOffloadTun(options)
}

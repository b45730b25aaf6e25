/** What a device stands on when it runs on a real machine: its network, its clock, and a TUN interface (Linux). */

import { PunchGuardError } from '../api/errors.ts'
import { systemHost } from '../net/host-network.ts'
import { NetworkInterface } from '../net/interface.ts'
import { hasIpv6, overlapsLiveRoute } from '../net/ip-command.ts'
import { openTun } from '../net/tun/linux.ts'
import { UndoLog, undoLeftovers } from '../net/undo-log.ts'
import { systemClock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import { systemRandom } from '../util/random.ts'
import type { Surroundings, TunnelInterface } from './backends.ts'

export interface MachineOptions {
  /** Name of the tunnel interface. */
  readonly interfaceName: string
  readonly mtu: number
  readonly undoLogPath: string
  readonly logger: Logger
}

/** The machine this process runs on. Takes back first what a process that crashed has left. */
export async function thisMachine(options: MachineOptions): Promise<Surroundings> {
  const { undoLogPath, interfaceName, logger } = options
  const { undone, failed } = await undoLeftovers(undoLogPath)
  if (undone > 0) logger.info('took back what the last process left', { changes: undone })
  for (const reason of failed) logger.warn('could not take back a change of the last process', { reason })
  return {
    host: systemHost({ ignoreInterfaces: [interfaceName] }),
    openInterface: (addresses) => openInterface(addresses, options),
    clock: systemClock,
    random: systemRandom,
    logger,
  }
}

/** @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED, ADDRESS_IN_USE */
async function openInterface(addresses: readonly string[], options: MachineOptions): Promise<TunnelInterface> {
  const { interfaceName, mtu, undoLogPath } = options
  const usable = addresses.filter((address) => hasIpv6() || !isIpv6(address))
  const log = await UndoLog.open(undoLogPath)
  try {
    const tun = await openTun({ name: interfaceName, mtu })
    try {
      const networkInterface = await NetworkInterface.adopt({ name: tun.name, log })
      await Promise.all(usable.map((address) => refuseTaken(address, interfaceName)))
      for (const address of usable) await networkInterface.addAddress(hostPrefix(address))
      await networkInterface.setUp()
      return tunnelInterface({ tun, networkInterface, log })
    } catch (error) {
      await tun[Symbol.asyncDispose]()
      throw error
    }
  } catch (error) {
    await log[Symbol.asyncDispose]()
    throw error
  }
}

function tunnelInterface(parts: {
  readonly tun: TunnelInterface['tun']
  readonly networkInterface: NetworkInterface
  readonly log: UndoLog
}): TunnelInterface {
  const { tun, networkInterface, log } = parts
  const routes = new Map<string, AsyncDisposable>()
  return {
    tun,
    routes: {
      add: async (cidr) => {
        if (isIpv6(cidr) && !hasIpv6()) return
        routes.set(cidr, await networkInterface.addRoute(cidr))
      },
      remove: async (cidr) => {
        const route = routes.get(cidr)
        routes.delete(cidr)
        await route?.[Symbol.asyncDispose]()
      },
    },
    [Symbol.asyncDispose]: async () => {
      await networkInterface[Symbol.asyncDispose]()
      await log[Symbol.asyncDispose]()
    },
  }
}

/** Our address must not lie in a network that this machine is on: its packets would go astray. */
async function refuseTaken(address: string, interfaceName: string): Promise<void> {
  if (isIpv6(address)) return
  const route = await overlapsLiveRoute(hostPrefix(address), { ignoreInterfaces: [interfaceName] })
  if (route === undefined) return
  const via = route.via === undefined ? '' : ` (${route.via})`
  throw new PunchGuardError(
    'ADDRESS_IN_USE',
    `the tunnel address ${address} lies in ${route.cidr}${via}, a network of this machine`,
    {
      hint: 'set other ones in config.toml: addresses = ["10.77.1.2", "fd70::1234"]',
    },
  )
}

function hostPrefix(address: string): string {
  return `${address}/${isIpv6(address) ? 128 : 32}`
}

function isIpv6(text: string): boolean {
  return text.includes(':')
}

/** What a device stands on when it runs on a real machine: its network, its clock, and the guards it offers. */

import { PunchGuardError } from '../api/errors.ts'
import type { GuardKind } from '../api/roles.ts'
import { systemHost } from '../net/host-network.ts'
import { lendable } from '../net/lendable-socket.ts'
import { liveNetworks } from '../net/system-network.ts'
import { openSystemTun, tunSetsMtu } from '../net/tun/system-tun.ts'
import { UndoLog, undoLeftovers } from '../net/undo-log.ts'
import { assertNever } from '../util/assert-never.ts'
import { systemClock } from '../util/clock.ts'
import { openTogether } from '../util/opened.ts'
import { systemRandom } from '../util/random.ts'
import { openEmbeddedGuard } from './guards/embedded.ts'
import { MachineInterface } from './machine-interface.ts'
import type { MachineGuardOptions, MachineOptions, OpenGuard, Surroundings } from './surroundings.ts'

/** Packets that wait in the interface: a worker takes many at a time. */
const queueLength = 1000

/** The machine this process runs on. Takes back first what a process that crashed has left. */
export async function thisMachine(options: MachineOptions): Promise<Surroundings> {
  const { undoLogPath, interfaceName, logger } = options
  const { undone, failed } = await undoLeftovers(undoLogPath)
  if (undone > 0) logger.info('took back what the last process left', { changes: undone })
  for (const reason of failed) logger.warn('could not take back a change of the last process', { reason })
  // A guard may have interfaces of its own for single peers: pg0, pg0-2, …
  const ourInterfaces = [interfaceName]
  const ownInterface = (name: string): void => {
    if (!ourInterfaces.includes(name)) ourInterfaces.push(name)
  }
  return {
    host: systemHost({ ignoreInterfaces: ourInterfaces }),
    liveNetworks: () => liveNetworks({ isOurs: (name) => ourInterfaces.includes(name) }),
    openGuard: (kind, asked) =>
      openTogether((opened) => openGuard(kind, { ...options, ...asked, opened, ownInterface })),
    clock: systemClock,
    random: systemRandom,
    logger,
  }
}

/**
 * The code of the others than the default is loaded when one of them is asked for: every start would wait for it.
 * @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED, ADDRESS_IN_USE
 */
async function openGuard(kind: GuardKind, options: MachineGuardOptions): Promise<OpenGuard> {
  if (kind !== 'embedded' && process.platform !== 'linux') throw linuxOnly(kind)
  switch (kind) {
    case 'embedded':
      return openEmbedded(options)
    case 'wireguard-go':
      return (await import('./guards/wireguard-go.ts')).openWireguardGo(options)
    case 'openvpn':
      return (await import('./guards/openvpn.ts')).openOpenvpnGuard(options)
    case 'kernel':
      return (await import('./guards/kernel.ts')).openKernelGuard({ ...options, clock: systemClock })
    default:
      return assertNever(kind)
  }
}

async function openEmbedded(options: MachineGuardOptions): Promise<OpenGuard> {
  const { opened, interfaceName, mtu, undoLogPath, addresses, ownInterface } = options
  const socket = opened.add(await lendable(opened.add(options.socket)))
  const log = opened.add(await UndoLog.open(undoLogPath))
  const tun = opened.add(await openSystemTun({ name: interfaceName, mtu, queueLength }))
  ownInterface(tun.name)
  const machineInterface = opened.add(
    await MachineInterface.adopt({ name: tun.name, log, ...(!tunSetsMtu && { mtu }) }),
  )
  // Its workers need longer to start than the addresses to be set.
  const guard = await openEmbeddedGuard({
    ...options,
    socket,
    tun,
    interface: machineInterface,
    clock: systemClock,
    random: systemRandom,
  })
  await machineInterface.setAddresses(addresses)
  return guard
}

function linuxOnly(kind: GuardKind): PunchGuardError {
  return new PunchGuardError('GUARD_UNAVAILABLE', `the guard ${kind} works on Linux only`, {
    hint: 'set guard = "embedded" in config.toml',
  })
}

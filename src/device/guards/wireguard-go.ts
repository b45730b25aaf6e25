/** wireguard-go on this machine: it makes the interface and takes the port over; what is the puncher's goes on beside it. */

import { openWireguardGoGuard } from '../../guard/wireguard-go/guard.ts'
import { WireguardGoProgram } from '../../guard/wireguard-go/program-shell.ts'
import { openSharedPort } from '../../net/shared-port.ts'
import { Underlay } from '../../net/underlay.ts'
import { UndoLog } from '../../net/undo-log.ts'
import { systemClock } from '../../util/clock.ts'
import type { Opened } from '../../util/opened.ts'
import { MachineInterface } from '../machine-interface.ts'
import type { MachineOptions, OpenGuard, OpenGuardOptions } from '../surroundings.ts'

/** @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED, ADDRESS_IN_USE */
export async function openWireguardGo(
  options: OpenGuardOptions & MachineOptions & { readonly opened: Opened },
): Promise<OpenGuard> {
  const { opened, interfaceName, mtu, undoLogPath, addresses, privateKey, logger } = options
  const clock = systemClock
  const { port } = opened.add(options.socket)
  const log = opened.add(await UndoLog.open(undoLogPath))
  const program = opened.add(await WireguardGoProgram.start({ interfaceName, log, clock, logger }))
  const machineInterface = opened.add(await MachineInterface.adopt({ name: interfaceName, log, mtu }))
  const underlay = opened.add(new Underlay(await openSharedPort(port)))
  // From here to the program's own socket a moment passes in which nobody has the port.
  await options.socket[Symbol.asyncDispose]()
  const guard = opened.add(await openWireguardGoGuard({ program, privateKey, port, clock, logger }))
  await machineInterface.setAddresses(addresses)
  return {
    guard,
    underlayFor: async () => underlay,
    interface: machineInterface,
    lost: program.lost,
    // The program keeps its own time.
    lastTimestamp: () => undefined,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  }
}

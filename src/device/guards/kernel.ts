/**
 * The guard of the Linux kernel: an interface of its own, made and deleted by us, on the port that the tunnel socket had.
 * The puncher goes on beside it, on the same port (net/shared-port.ts).
 */

import { release } from 'node:os'
import { KernelDevice, WireguardGoneError } from '../../guard/kernel/kernel-device.ts'
import { WireguardNetlink } from '../../guard/kernel/netlink-shell.ts'
import { PolledGuard } from '../../guard/polled-guard.ts'
import { describeErrno, systemCalls } from '../../net/ffi.ts'
import { watchNetlink } from '../../net/netlink.ts'
import { sharedPollLoop } from '../../net/poll-loop.ts'
import { openSharedPort } from '../../net/shared-port.ts'
import { Underlay } from '../../net/underlay.ts'
import { UndoLog } from '../../net/undo-log.ts'
import type { Clock } from '../../util/clock.ts'
import type { Opened } from '../../util/opened.ts'
import { MachineInterface } from '../machine-interface.ts'
import type { MachineOptions, OpenGuard, OpenGuardOptions, Surroundings } from '../surroundings.ts'

type WatchParts = Parameters<typeof watchNetlink>[0]

/** Changes of links, addresses and routes come in rows: one look after the first, ms. */
const settle = 200

/** `opened` holds what it is opened on, and is closed with it. */
export async function openKernelGuard(
  options: OpenGuardOptions & MachineOptions & Pick<Surroundings, 'clock'> & { readonly opened: Opened },
): Promise<OpenGuard> {
  const { opened, interfaceName, mtu, undoLogPath, addresses, privateKey, clock, logger } = options
  const socket = opened.add(options.socket)
  const log = opened.add(await UndoLog.open(undoLogPath))
  const netlink = await WireguardNetlink.open()
  opened.add({ [Symbol.asyncDispose]: async () => netlink[Symbol.dispose]() })
  const machineInterface = opened.add(
    await MachineInterface.create({ name: interfaceName, type: 'wireguard', mtu, log }),
  )
  const implementation = `Linux ${release()}`
  const device = new KernelDevice({ interfaceName, implementation, netlink, describe: describeErrno })
  await machineInterface.setAddresses(addresses)
  const underlay = opened.add(new Underlay(await openSharedPort(socket.port)))
  // The interface is up, so the kernel takes the port in the moment that it is told.
  await socket[Symbol.asyncDispose]()
  await device.set({ privateKey, listenPort: socket.port })
  const watch = { system: await systemCalls(), poll: await sharedPollLoop() }
  const lost = whenLost(device, { watch, clock, opened })
  const guard = opened.add(new PolledGuard({ kind: 'kernel', device, privateKey, clock, logger }))
  return {
    guard,
    underlayFor: async () => underlay,
    interface: machineInterface,
    lost,
    lastTimestamp: () => undefined,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  }
}

/** Resolves when somebody else deletes the interface. */
function whenLost(
  device: KernelDevice,
  { watch, clock, opened }: { readonly watch: WatchParts; readonly clock: Clock; readonly opened: Opened },
): Promise<string> {
  return new Promise((resolve) => {
    let timer: Disposable | undefined
    const look = (): void => {
      timer = undefined
      device.get().catch((error: unknown) => {
        if (error instanceof WireguardGoneError) resolve(`the interface ${device.interfaceName} is gone`)
      })
    }
    const watching = watchNetlink(watch, () => {
      timer ??= clock.after(settle, look)
    })
    opened.add({
      [Symbol.asyncDispose]: async () => {
        watching[Symbol.dispose]()
        timer?.[Symbol.dispose]()
      },
    })
  })
}

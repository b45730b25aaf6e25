/** The embedded guard on a socket and a TUN device: where both can be lent to workers it gets those, else the plain way. */

import { openDataPlane } from '../../guard/dataplane/choose-shell.ts'
import { EmbeddedGuard } from '../../guard/embedded.ts'
import type { Tun } from '../../net/tun/tun.ts'
import { Underlay } from '../../net/underlay.ts'
import type { Opened } from '../../util/opened.ts'
import type { TunnelInterface } from '../parts.ts'
import type { OpenGuard, OpenGuardOptions, Surroundings } from '../surroundings.ts'

/** `opened` holds what it is opened on, and is closed with it. */
export async function openEmbeddedGuard(
  options: Omit<OpenGuardOptions, 'addresses'> & {
    readonly tun: Tun
    readonly interface: TunnelInterface
    readonly opened: Opened
  } & Pick<Surroundings, 'clock' | 'random' | 'logger'>,
): Promise<OpenGuard> {
  const { socket, tun, opened, clock, random, logger, privateKey, lastTimestamp } = options
  const underlay = opened.add(new Underlay(socket))
  const dataPlane = await openDataPlane({ clock, underlay, socket, tun, logger })
  const guard = opened.add(
    new EmbeddedGuard({ underlay, tun, clock, random, privateKey, logger, lastTimestamp, dataPlane }),
  )
  return {
    guard,
    underlayFor: async () => underlay,
    interface: options.interface,
    lost: tun.lost,
    lastTimestamp: () => guard.lastTimestamp,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  }
}

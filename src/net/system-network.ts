/** The network of the operating system we run on, and what its routing table says about our addresses. */

import { overlap } from '../api/ip-prefix.ts'
import { linuxNetwork } from './ip-command.ts'
import { macosNetwork } from './macos-network.ts'
import type { LiveRoute, NetworkCommands } from './network-commands.ts'
import { type RunCommand, runCommand } from './run-command.ts'
import { windowsNetwork } from './windows-network.ts'

export const systemNetwork: NetworkCommands = networkOf(process.platform)

function networkOf(platform: NodeJS.Platform): NetworkCommands {
  if (platform === 'darwin') return macosNetwork
  return platform === 'win32' ? windowsNetwork : linuxNetwork
}

interface Asked {
  readonly run?: RunCommand
  readonly network?: NetworkCommands
}

/** The prefixes, of both families, that the routes of other interfaces than those named lead to. */
export async function liveNetworks(
  options: Asked & { readonly isOurs?: (interfaceName: string) => boolean } = {},
): Promise<readonly string[]> {
  const { isOurs = () => false, run = runCommand, network = systemNetwork } = options
  const cidrs = new Set<string>()
  for (const family of network.hasIpv6() ? ([4, 6] as const) : ([4] as const)) {
    const routes = await network.liveRoutes(family, run)
    for (const { cidr, via } of routes) if (via === undefined || !isOurs(via)) cidrs.add(cidr)
  }
  return [...cidrs]
}

/**
 * The first live route, of another interface than those named, that shares an address with the IPv4 prefix: traffic
 * of its network would go into our tunnel, or ours into it.
 */
export async function overlapsLiveRoute(
  cidr: string,
  options: Asked & { readonly ignoreInterfaces?: readonly string[] } = {},
): Promise<LiveRoute | undefined> {
  const { ignoreInterfaces = [], run = runCommand, network = systemNetwork } = options
  const routes = await network.liveRoutes(4, run)
  return routes.find(
    (route) => !(route.via !== undefined && ignoreInterfaces.includes(route.via)) && overlap(route.cidr, cidr),
  )
}

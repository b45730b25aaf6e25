/**
 * An interface of Windows, set up through `netsh`. Its words are translated, its columns and numbers are not: only those
 * are read. A Wintun adapter goes with the process that opened it, and what was set for now (`store=active`) with it:
 * after a crash there is nothing to take back. Not run with a real adapter yet.
 */

import { isIPv4, isIPv6 } from 'node:net'
import { win32 } from 'node:path'
import {
  type Command,
  explainCommand,
  hasIpv6Address,
  type InterfaceChange,
  isIpv6Prefix,
  type LinkState,
  type LiveRoute,
  type NetworkCommands,
  requirePlainName,
  shortestClaim,
  splitPrefix,
  thisProcess,
} from './network-commands.ts'
import { CommandError } from './run-command.ts'

/** By its whole path: Windows looks into the current folder first. */
const netsh = win32.join(process.env['SystemRoot'] ?? 'C:\\Windows', 'System32', 'netsh.exe')
/** RFC 8200 §5. */
const leastIpv6Mtu = 1280

export const windowsNetwork: NetworkCommands = {
  routesHaveMtu: false,
  place: () => thisProcess,
  hasIpv6: hasIpv6Address,
  findLink: async (name, run) =>
    decodeInterfaces(await run(netsh, ['interface', 'ipv4', 'show', 'interfaces']).catch(rethrowExplained), name),
  async change(name, change, run) {
    for (const [program, ...args] of windowsCommands(name, change, { hasIpv6: hasIpv6Address() }))
      await run(program, args)
  },
  liveRoutes: async (family, run) =>
    decodeShowRoute(await run(netsh, ['interface', `ipv${family}`, 'show', 'route']).catch(rethrowExplained)),
  isGone,
  explained,
}

export function windowsCommands(
  name: string,
  change: InterfaceChange,
  options: { readonly hasIpv6: boolean },
): readonly Command[] {
  const to = `interface=${requirePlainName(name)}`
  switch (change.kind) {
    case 'add-address': {
      const [address, length] = splitPrefix(change.cidr)
      const context = contextOf(change.cidr)
      const added = isIpv6Prefix(change.cidr)
        ? [to, `address=${change.cidr}`]
        : [`name=${name}`, `address=${address}`, `mask=${netmask(length)}`]
      return [
        // Nobody else is on this link: the address can be used at once.
        [netsh, ...context, 'set', 'interface', to, 'dadtransmits=0', 'store=active'],
        [netsh, ...context, 'add', 'address', ...added, 'store=active'],
      ]
    }
    case 'delete-address': {
      const from = isIpv6Prefix(change.cidr) ? to : `name=${name}`
      const address = `address=${splitPrefix(change.cidr)[0]}`
      return [[netsh, ...contextOf(change.cidr), 'delete', 'address', from, address, 'store=active']]
    }
    case 'add-route':
      return [
        [netsh, ...contextOf(change.cidr), 'add', 'route', ...onLink(change.cidr, to), 'metric=1', 'store=active'],
      ]
    case 'delete-route':
      return [[netsh, ...contextOf(change.cidr), 'delete', 'route', ...onLink(change.cidr, to), 'store=active']]
    case 'set-mtu': {
      const ipv4: Command = [netsh, ...setMtu('ipv4', to, change.mtu)]
      const ipv6: Command = [netsh, ...setMtu('ipv6', to, Math.max(leastIpv6Mtu, change.mtu))]
      return options.hasIpv6 ? [ipv4, ipv6] : [ipv4]
    }
    // Routes have no MTU; the adapter is up as long as we have it open, and goes when we close it.
    case 'change-route':
    case 'set-up':
    case 'set-down':
    case 'delete-interface':
      return []
  }
}

function contextOf(cidr: string): readonly ['interface', 'ipv4' | 'ipv6'] {
  return ['interface', isIpv6Prefix(cidr) ? 'ipv6' : 'ipv4']
}

function onLink(cidr: string, to: string): readonly string[] {
  splitPrefix(cidr)
  return [`prefix=${cidr}`, to, `nexthop=${isIpv6Prefix(cidr) ? '::' : '0.0.0.0'}`]
}

function setMtu(family: 'ipv4' | 'ipv6', to: string, mtu: number): readonly string[] {
  return ['interface', family, 'set', 'subinterface', to, `mtu=${mtu}`, 'store=active']
}

function netmask(length: number): string {
  const bits = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.')
}

/** Reads the answer to `netsh interface ipv4 show interfaces`: index, metric, MTU, state, name. */
export function decodeInterfaces(text: string, name: string): LinkState | undefined {
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(\d+)\s+\d+\s+(\d+)\s+(\S+)\s+(\S.*?)\s*$/.exec(line)
    if (match === null || match[4] !== name) continue
    return { index: Number(match[1]), mtu: Number(match[2]), up: match[3] === 'connected' }
  }
  return undefined
}

/**
 * Reads the answer to `netsh interface ipv4 show route`, or `ipv6`: published, type, metric, prefix, index, and then the
 * gateway or, for what is on the link, the name of the interface.
 */
export function decodeShowRoute(text: string): readonly LiveRoute[] {
  const routes: LiveRoute[] = []
  for (const line of text.split(/\r?\n/)) {
    const match = /\s\d+\s+([0-9a-f.:]+)\/(\d{1,3})\s+\d+\s+(\S.*?)\s*$/i.exec(line)
    if (match === null) continue
    const [, network = '', length = '', last = ''] = match
    const isMulticast = isIPv4(network) ? Number(network.split('.')[0]) >= 224 : /^ff/i.test(network)
    if (Number(length) < shortestClaim || isMulticast) continue
    const isGateway = isIPv4(last) || isIPv6(last)
    routes.push({ cidr: `${network}/${length}`, via: isGateway ? undefined : last })
  }
  return routes
}

/** In English; in other languages what is gone counts as a failure to remove it. */
function isGone(error: unknown): boolean {
  if (!(error instanceof CommandError)) return false
  return /element not found|cannot find the file specified|syntax is incorrect/i.test(error.stderr)
}

function explained(error: unknown): unknown {
  return explainCommand(error, {
    refused: /requires elevation|access is denied/i,
    permission: 'run this as administrator',
    look: 'netsh interface ipv4 show config',
  })
}

function rethrowExplained(error: unknown): never {
  throw explained(error)
}

/**
 * An interface of macOS, set up through `ifconfig` and `route`. A utun goes with the process that opened it, and its
 * addresses and routes with it: after a crash there is nothing to take back. Not run on a Mac yet.
 */

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

const ifconfig = '/sbin/ifconfig'
const route = '/sbin/route'
const netstat = '/usr/sbin/netstat'

export const macosNetwork: NetworkCommands = {
  routesHaveMtu: true,
  place: () => thisProcess,
  hasIpv6: hasIpv6Address,
  async findLink(name, run) {
    try {
      return decodeIfconfig(await run(ifconfig, ['-v', requirePlainName(name)]))
    } catch (error) {
      if (isGone(error)) return undefined
      throw explained(error)
    }
  },
  async change(name, change, run) {
    for (const [program, ...args] of macosCommands(name, change)) {
      const refusal = decodeRouteAnswer(await run(program, args))
      if (refusal !== undefined) throw new CommandError([program, ...args].join(' '), refusal)
    }
  },
  liveRoutes: async (family, run) =>
    decodeNetstat(await run(netstat, ['-rn', '-f', family === 4 ? 'inet' : 'inet6']).catch(rethrowExplained)),
  isGone,
  explained,
}

export function macosCommands(name: string, change: InterfaceChange): readonly Command[] {
  const to = requirePlainName(name)
  switch (change.kind) {
    case 'add-address': {
      const [address] = splitPrefix(change.cidr)
      // A point-to-point interface has an address at its other end too: our own does.
      return isIpv6Prefix(change.cidr)
        ? [[ifconfig, to, 'inet6', change.cidr, 'alias']]
        : [[ifconfig, to, 'inet', change.cidr, address, 'alias']]
    }
    case 'delete-address':
      return [[ifconfig, to, family(change.cidr), splitPrefix(change.cidr)[0], '-alias']]
    case 'add-route':
      return [[...routeCommand('add', to, change.cidr), ...(change.mtu === undefined ? [] : mtu(change.mtu))]]
    case 'change-route':
      // 0: as the interface's.
      return [[...routeCommand('change', to, change.cidr), ...mtu(change.mtu ?? 0)]]
    case 'delete-route':
      return [routeCommand('delete', to, change.cidr)]
    case 'set-mtu':
      return [[ifconfig, to, 'mtu', String(change.mtu)]]
    case 'set-up':
      return [[ifconfig, to, 'up']]
    case 'set-down':
      return [[ifconfig, to, 'down']]
    case 'delete-interface':
      return []
  }
}

function routeCommand(verb: string, name: string, cidr: string): Command {
  splitPrefix(cidr)
  return [route, '-n', verb, `-${family(cidr)}`, cidr, '-interface', name]
}

function mtu(value: number): readonly string[] {
  return ['-mtu', String(value)]
}

function family(cidr: string): 'inet' | 'inet6' {
  return isIpv6Prefix(cidr) ? 'inet6' : 'inet'
}

/**
 * Why `route` did nothing, `undefined` when it did: it ends with status 0 either way, and says
 * `add net 10.1.2.3: gateway utun3: File exists`.
 */
export function decodeRouteAnswer(answer: string): string | undefined {
  for (const line of answer.split('\n')) {
    const match = /^(?:add|delete|change) (?:net|host) \S+?(?:: gateway \S+?)?: (?!gateway )(\S.*)$/.exec(line.trim())
    if (match !== null) return match[1]
  }
  return undefined
}

/** Reads the answer to `ifconfig -v NAME`: `utun3: flags=8051<UP,POINTOPOINT,RUNNING> mtu 1420 index 17`. */
export function decodeIfconfig(text: string): LinkState | undefined {
  const match = /^\S+: flags=[0-9a-f]+<([^>]*)>.*? mtu (\d+)/i.exec(text)
  if (match === null) return undefined
  // Without a number, `place` alone tells ours from another's.
  const index = Number(/\bindex (\d+)/.exec(text)?.[1] ?? 1)
  return { index, mtu: Number(match[2]), up: (match[1] ?? '').split(',').includes('UP') }
}

/**
 * Reads the answer to `netstat -rn -f inet` or `inet6`: destination, gateway, flags, in older ones two counters,
 * interface. Zeros at the end of an IPv4 network are left out (`192.168.1` is 192.168.1.0/24, `10.64/10` as it reads).
 */
export function decodeNetstat(text: string): readonly LiveRoute[] {
  const routes: LiveRoute[] = []
  let column = 3
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/)
    if (fields[0] === 'Destination') column = fields.indexOf('Netif')
    const cidr = decodeDestination(fields[0] ?? '')
    if (cidr === undefined || fields.length <= column || column < 3) continue
    routes.push({ cidr, via: fields[column] })
  }
  return routes
}

function decodeDestination(text: string): string | undefined {
  const [, network = '', written] = /^([0-9a-f.:]+)(?:\/(\d{1,3}))?$/i.exec(text) ?? []
  if (network.includes(':')) {
    const length = Number(written ?? 128)
    return length < shortestClaim || length > 128 || /^ff/i.test(network) ? undefined : `${network}/${length}`
  }
  if (!/^\d{1,3}(?:\.\d{1,3}){0,3}$/.test(network)) return undefined
  const octets = network.split('.')
  const length = Number(written ?? octets.length * 8)
  const isUnicast = Number(octets[0]) < 224
  if (length < shortestClaim || length > 32 || !isUnicast) return undefined
  return `${[...octets, '0', '0', '0'].slice(0, 4).join('.')}/${length}`
}

function isGone(error: unknown): boolean {
  if (!(error instanceof CommandError)) return false
  return /does not exist|can't assign requested address|not in table|no such process|device not configured/i.test(
    error.stderr,
  )
}

function explained(error: unknown): unknown {
  return explainCommand(error, {
    refused: /operation not permitted|permission denied|must be root/i,
    permission: 'run as root: sudo punchguard …',
    look: 'ifconfig; netstat -rn',
  })
}

function rethrowExplained(error: unknown): never {
  throw explained(error)
}

/** An interface of Linux, set up through `ip`, in the words and output that iproute2 and busybox share. */

import { readFileSync, readlinkSync } from 'node:fs'
import {
  explainCommand,
  type InterfaceChange,
  type LinkState,
  type LiveRoute,
  type NetworkCommands,
  shortestClaim,
} from './network-commands.ts'
import { CommandError, type RunCommand, runCommand } from './run-command.ts'

export const linuxNetwork: NetworkCommands = {
  routesHaveMtu: true,
  place: currentPlace,
  hasIpv6,
  findLink,
  async change(name, change, run) {
    await run('ip', ipArguments(name, change))
  },
  async liveRoutes(family, run) {
    const text = await run('ip', [`-${family}`, 'route', 'show', 'table', 'all']).catch((error: unknown) => {
      throw explained(error)
    })
    return decodeRoutes(text)
  },
  isGone,
  explained,
}

function ipArguments(name: string, change: InterfaceChange): readonly string[] {
  switch (change.kind) {
    case 'add-address':
      return [familyOption(change.cidr), 'address', 'add', change.cidr, 'dev', name]
    case 'delete-address':
      return [familyOption(change.cidr), 'address', 'delete', change.cidr, 'dev', name]
    case 'add-route':
      return [familyOption(change.cidr), 'route', 'add', change.cidr, 'dev', name, ...routeMtu(change.mtu)]
    case 'change-route':
      return [familyOption(change.cidr), 'route', 'replace', change.cidr, 'dev', name, ...routeMtu(change.mtu)]
    case 'delete-route':
      return [familyOption(change.cidr), 'route', 'delete', change.cidr, 'dev', name]
    case 'set-mtu':
      return ['link', 'set', 'dev', name, 'mtu', String(change.mtu)]
    case 'set-up':
      return ['link', 'set', 'dev', name, 'up']
    case 'set-down':
      return ['link', 'set', 'dev', name, 'down']
    case 'delete-interface':
      return ['link', 'delete', 'dev', name]
  }
}

function routeMtu(mtu: number | undefined): readonly string[] {
  return mtu === undefined ? [] : ['mtu', String(mtu)]
}

/** `-4` or `-6`. */
function familyOption(cidr: string): string {
  return cidr.includes(':') ? '-6' : '-4'
}

/** Reads the answer to `ip -o link show dev NAME`: `7: pg0: <POINTOPOINT,NOARP,UP> mtu 1420 qdisc …`. */
export function decodeLink(line: string): LinkState | undefined {
  const match = /^(\d+): [^<]*<([^>]*)> mtu (\d+) /.exec(line)
  if (match === null) return undefined
  return { index: Number(match[1]), mtu: Number(match[3]), up: (match[2] ?? '').split(',').includes('UP') }
}

/** An interface as it is now, `undefined` when there is none of this name. */
export async function findLink(name: string, run: RunCommand = runCommand): Promise<LinkState | undefined> {
  try {
    return decodeLink(await run('ip', ['-o', 'link', 'show', 'dev', name]))
  } catch (error) {
    if (isGone(error)) return undefined
    throw explained(error)
  }
}

/** The boot and the network namespace we are in, as one word. */
export function currentPlace(): string {
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${readlinkSync('/proc/self/ns/net')}`
}

/** False where IPv6 is switched off: addresses of that family are refused there. */
function hasIpv6(): boolean {
  try {
    return readFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', 'utf8').trim() === '0'
  } catch {
    return false
  }
}

function isGone(error: unknown): boolean {
  if (!(error instanceof CommandError)) return false
  return /cannot find device|does not exist|not found|no such (device|process|file)|cannot assign requested address|can't find device/i.test(
    error.stderr,
  )
}

function explained(error: unknown): unknown {
  return explainCommand(error, {
    refused: /operation not permitted/i,
    permission: 'run as root, or with the capability CAP_NET_ADMIN',
    look: 'ip address; ip route',
  })
}

/** Reads the answer to `ip -4 route show table all`, or `-6`. */
export function decodeRoutes(text: string): readonly LiveRoute[] {
  const routes: LiveRoute[] = []
  for (const line of text.split('\n')) {
    const match = /^(?:unicast |local )?(\d+\.\d+\.\d+\.\d+|[0-9a-f]*:[0-9a-f:]*)(?:\/(\d+))?(?: |$)/.exec(line)
    if (match === null) continue
    const length = Number(match[2] ?? (match[1]?.includes(':') ? 128 : 32))
    if (length < shortestClaim) continue
    routes.push({ cidr: `${match[1]}/${length}`, via: / dev (\S+)/.exec(line)?.[1] })
  }
  return routes
}

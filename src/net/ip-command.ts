/** Questions to the kernel through `ip`, in the output that iproute2 and busybox share, and what its answers mean. */

import { readFileSync, readlinkSync } from 'node:fs'
import { PunchGuardError } from '../api/errors.ts'
import { overlap } from '../api/ip-prefix.ts'
import { CommandError, type RunCommand, runCommand } from './run-command.ts'

/** Which interface exactly: a name may be given again, an index not within one boot and namespace. */
export interface InterfaceIdentity {
  readonly name: string
  readonly index: number
  /** Boot and network namespace. */
  readonly place: string
}

export interface LinkState {
  readonly index: number
  readonly mtu: number
  readonly up: boolean
}

export interface LiveRoute {
  readonly cidr: string
  /** The interface, when the route has one. */
  readonly via: string | undefined
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
export function hasIpv6(): boolean {
  try {
    return readFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', 'utf8').trim() === '0'
  } catch {
    return false
  }
}

/** `-4` or `-6`. */
export function familyOption(cidr: string): string {
  return cidr.includes(':') ? '-6' : '-4'
}

/** The failure means that what was to be removed is not there. */
export function isGone(error: unknown): boolean {
  if (!(error instanceof CommandError)) return false
  return /cannot find device|does not exist|not found|no such (device|process|file)|cannot assign requested address|can't find device/i.test(
    error.stderr,
  )
}

/** The failure as a person should see it. */
export function explained(error: unknown): unknown {
  if (!(error instanceof CommandError)) return error
  if (/operation not permitted/i.test(error.stderr)) {
    return new PunchGuardError('PERMISSION_DENIED', 'the network interface may not be changed', {
      hint: 'run as root, or with the capability CAP_NET_ADMIN',
      cause: error,
    })
  }
  return new PunchGuardError('GUARD_UNAVAILABLE', error.message, {
    hint: 'look at the state of the network with: ip address; ip route',
    cause: error,
  })
}

/**
 * Routes to unicast and local addresses in the answer to `ip -4 route show table all`, or `-6`, without the default route
 * and without routes shorter than /8, which send everything somewhere and do not claim an address.
 */
export function decodeRoutes(text: string): readonly LiveRoute[] {
  const routes: LiveRoute[] = []
  for (const line of text.split('\n')) {
    const match = /^(?:unicast |local )?(\d+\.\d+\.\d+\.\d+|[0-9a-f]*:[0-9a-f:]*)(?:\/(\d+))?(?: |$)/.exec(line)
    if (match === null) continue
    const length = Number(match[2] ?? (match[1]?.includes(':') ? 128 : 32))
    if (length < 8) continue
    routes.push({ cidr: `${match[1]}/${length}`, via: / dev (\S+)/.exec(line)?.[1] })
  }
  return routes
}

/** The prefixes, of both families, that the routes of other interfaces than those named lead to. */
export async function liveNetworks(
  options: { readonly isOurs?: (interfaceName: string) => boolean; readonly run?: RunCommand } = {},
): Promise<readonly string[]> {
  const { isOurs = () => false, run = runCommand } = options
  const cidrs = new Set<string>()
  for (const family of hasIpv6() ? ['-4', '-6'] : ['-4']) {
    const text = await run('ip', [family, 'route', 'show', 'table', 'all']).catch((error: unknown) => {
      throw explained(error)
    })
    for (const { cidr, via } of decodeRoutes(text)) if (via === undefined || !isOurs(via)) cidrs.add(cidr)
  }
  return [...cidrs]
}

/**
 * The first live route, of another interface than those named, that shares an address with the IPv4 prefix: traffic
 * of its network would go into our tunnel, or ours into it.
 */
export async function overlapsLiveRoute(
  cidr: string,
  options: { readonly ignoreInterfaces?: readonly string[]; readonly run?: RunCommand } = {},
): Promise<LiveRoute | undefined> {
  const { ignoreInterfaces = [], run = runCommand } = options
  const text = await run('ip', ['-4', 'route', 'show', 'table', 'all']).catch((error: unknown) => {
    throw explained(error)
  })
  return decodeRoutes(text).find(
    (route) => !(route.via !== undefined && ignoreInterfaces.includes(route.via)) && overlap(route.cidr, cidr),
  )
}

/** Questions to the kernel through `ip`, in the output that iproute2 and busybox share, and what its answers mean. */

import { readFileSync, readlinkSync } from 'node:fs'
import { PunchGuardError } from '../api/errors.ts'
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
 * Routes to unicast and local addresses in the answer to `ip -4 route show table all`, without the default route and
 * without routes shorter than /8, which send everything somewhere and do not claim an address.
 */
export function decodeRoutes(text: string): readonly LiveRoute[] {
  const routes: LiveRoute[] = []
  for (const line of text.split('\n')) {
    const match = /^(?:unicast |local )?(\d+\.\d+\.\d+\.\d+)(?:\/(\d+))?(?: |$)/.exec(line)
    if (match === null) continue
    const length = Number(match[2] ?? 32)
    if (length < 8) continue
    routes.push({ cidr: `${match[1]}/${length}`, via: / dev (\S+)/.exec(line)?.[1] })
  }
  return routes
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

/** Whether two IPv4 prefixes have an address in common. */
export function overlap(a: string, b: string): boolean {
  const [first, second] = [prefix(a), prefix(b)]
  const size = 2 ** (32 - Math.min(first.length, second.length))
  return Math.floor(first.number / size) === Math.floor(second.number / size)
}

function prefix(cidr: string): { readonly number: number; readonly length: number } {
  const [address = '', length = '32'] = cidr.split('/')
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  return { number, length: Number(length) }
}

/**
 * What one operating system's own programs do for an interface: the seam between net/interface.ts and `ip` on Linux,
 * `ifconfig` and `route` on macOS, `netsh` on Windows.
 */

import { randomUUID } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { PunchGuardError } from '../api/errors.ts'
import { CommandError, type RunCommand } from './run-command.ts'

/** Which interface exactly: a name may be given again, an index not within one place. */
export interface InterfaceIdentity {
  readonly name: string
  readonly index: number
  /** Boot and network namespace, or the process that the interface goes with. */
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

export type InterfaceChange =
  | { readonly kind: 'add-address' | 'delete-address' | 'delete-route'; readonly cidr: string }
  /** `mtu`: of the interface unless told. `change-route`: of a route that is there. */
  | { readonly kind: 'add-route' | 'change-route'; readonly cidr: string; readonly mtu: number | undefined }
  | { readonly kind: 'set-mtu'; readonly mtu: number }
  | { readonly kind: 'set-up' | 'set-down' | 'delete-interface' }

export interface NetworkCommands {
  /** For `InterfaceIdentity`: as it is now. */
  place(): string
  /** False where IPv6 is switched off: addresses of that family are refused there. */
  hasIpv6(): boolean
  /** Whether a route can have an MTU of its own. */
  readonly routesHaveMtu: boolean
  /** An interface as it is now, `undefined` when there is none of this name. */
  findLink(name: string, run: RunCommand): Promise<LinkState | undefined>
  /** Rejects with the program's CommandError. */
  change(name: string, change: InterfaceChange, run: RunCommand): Promise<void>
  /**
   * Routes to unicast and local addresses, without the default route and without routes shorter than /8, which send
   * everything somewhere and do not claim an address.
   */
  liveRoutes(family: 4 | 6, run: RunCommand): Promise<readonly LiveRoute[]>
  /** The failure means that what was to be removed is not there. */
  isGone(error: unknown): boolean
  /** The failure as a person should see it. */
  explained(error: unknown): unknown
}

/** A program and its arguments. */
export type Command = readonly [program: string, ...args: string[]]

/** Shorter prefixes do not claim an address. */
export const shortestClaim = 8

/** `place` where an interface goes with the process that opened it: what another process has left is gone with it. */
export const thisProcess: string = `process ${process.pid} ${randomUUID()}`

export function isIpv6Prefix(cidr: string): boolean {
  return cidr.includes(':')
}

/** Some interface has an address of that family, if only the loopback. */
export function hasIpv6Address(): boolean {
  return Object.values(networkInterfaces()).some((entries) => entries?.some(({ family }) => family === 'IPv6'))
}

/** @throws for a name that a program could take for something else */
export function requirePlainName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/.test(name)) return name
  throw new Error(`'${name}' is not a plain name of an interface`)
}

/** @throws for anything but an address and a prefix length */
export function splitPrefix(cidr: string): readonly [address: string, length: number] {
  const [, address, length] = /^([0-9a-f][0-9a-f.:]*|::[0-9a-f.:]*)\/(\d{1,3})$/i.exec(cidr) ?? []
  if (address === undefined || length === undefined) throw new Error(`'${cidr}' is not a prefix`)
  return [address, Number(length)]
}

/** The failure of a program as a person should see it. */
export function explainCommand(
  error: unknown,
  words: { readonly refused: RegExp; readonly permission: string; readonly look: string },
): unknown {
  if (!(error instanceof CommandError)) return error
  if (words.refused.test(error.stderr)) {
    return new PunchGuardError('PERMISSION_DENIED', 'the network interface may not be changed', {
      hint: words.permission,
      cause: error,
    })
  }
  return new PunchGuardError('GUARD_UNAVAILABLE', error.message, {
    hint: `look at the state of the network with: ${words.look}`,
    cause: error,
  })
}

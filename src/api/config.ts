/**
 * The configuration of a device: one TOML file of nine keys, every one of them optional. What is not a matter of taste
 * or of the network a device sits in (timers, limits, ciphers) is not a key.
 */

import * as smolToml from 'smol-toml'
import * as v from 'valibot'
import { fromHex } from '../util/bytes.ts'
import { nearestName } from '../util/nearest-name.ts'
import { publicBootstrapNodes, publicStunServers } from './default-servers.ts'
import { deviceNameFromHost, deviceNameRule, isDeviceName } from './device-name.ts'
import { parseHostPort } from './endpoint.ts'
import { PunchGuardError } from './errors.ts'
import type { GuardKind } from './roles.ts'
import type { BootstrapNode, HostPort } from './servers.ts'
import { isTunnelAddress } from './tunnel-addresses.ts'

export interface Config {
  readonly name: string
  /** UDP port of the tunnel socket; 0: chosen once and kept. */
  readonly port: number
  /** Name of the tunnel interface. */
  readonly interface: string
  /** Our addresses in the tunnel; empty: derived from our key (api/tunnel-addresses.ts). */
  readonly addresses: readonly string[]
  readonly mtu: number
  readonly guard: GuardKind
  readonly bootstrap: readonly BootstrapNode[]
  readonly stun: readonly HostPort[]
  /** UDP port of the Tox node; 0: the first free one of 33445..33545. */
  readonly toxPort: number
}

/**
 * Ethernet's 1500 bytes, less 8 for PPPoE, 40 for IPv4 carried in IPv6 (DS-Lite), 28 for our IPv4 and UDP headers and 32
 * for WireGuard's: the largest packet that crosses the common access lines in one piece. It is a multiple of 16, so
 * WireGuard's padding adds nothing to a full one.
 */
export const defaultMtu = 1392

/** What may carry the packets. */
export const guardKinds: readonly GuardKind[] = ['embedded', 'kernel', 'wireguard-go', 'openvpn']

const limits = { bootstrap: 64, stun: 16, addresses: 4, tcp: 8 } as const

const port = v.pipe(
  v.number('must be a number'),
  v.integer(portRule()),
  v.minValue(1, portRule()),
  v.maxValue(65_535, portRule()),
)
const optionalPort = v.pipe(
  v.number('must be a number'),
  v.integer(portRule(0)),
  v.minValue(0, portRule(0)),
  v.maxValue(65_535, portRule(0)),
)
const host = v.pipe(
  v.string('must be text'),
  v.regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/, 'must be a host name or an IPv4 address'),
)
const mtuRule = 'must be a whole number between 1280 and 1420'

const bootstrapSchema = v.strictObject({
  host,
  udp: v.optional(port, 33_445),
  tcp: v.optional(
    v.pipe(v.array(port, 'must be a list of ports'), v.maxLength(limits.tcp, `must have at most ${limits.tcp} ports`)),
    [],
  ),
  key: v.pipe(
    v.string('must be text'),
    v.regex(/^[0-9A-Fa-f]{64}$/, 'must be a public key: 64 hexadecimal digits'),
    v.transform((text) => fromHex(text) ?? new Uint8Array(0)),
  ),
})

const schema = v.strictObject({
  name: v.optional(v.pipe(v.string('must be text'), v.check(isDeviceName, `must be ${deviceNameRule}`))),
  port: v.optional(optionalPort, 0),
  interface: v.optional(
    v.pipe(
      v.string('must be text'),
      v.regex(/^[A-Za-z][A-Za-z0-9_.-]{0,14}$/, 'must be an interface name of at most 15 characters, such as "pg0"'),
    ),
    'pg0',
  ),
  addresses: v.optional(
    v.pipe(
      v.array(
        v.pipe(
          v.string('must be text'),
          v.check(isAddress, 'must be an IPv4 or IPv6 address without a prefix length'),
          v.check(isTunnelAddress, 'must be a private address, such as 10.77.1.2, 192.168.77.2 or fd70::1234'),
        ),
        'must be a list of addresses',
      ),
      v.maxLength(limits.addresses, `must have at most ${limits.addresses} addresses`),
    ),
    [],
  ),
  mtu: v.optional(
    v.pipe(v.number('must be a number'), v.integer(mtuRule), v.minValue(1280, mtuRule), v.maxValue(1420, mtuRule)),
    defaultMtu,
  ),
  guard: v.optional(
    v.picklist(guardKinds, `must be one of ${guardKinds.map((guard) => `"${guard}"`).join(', ')}`),
    'embedded',
  ),
  bootstrap: v.optional(
    v.pipe(
      v.array(bootstrapSchema, 'must be a list of nodes'),
      v.maxLength(limits.bootstrap, `must have at most ${limits.bootstrap} nodes`),
    ),
  ),
  stun: v.optional(
    v.pipe(
      v.array(
        v.pipe(
          v.string('must be text'),
          v.check((text) => parseHostPort(text) !== undefined, 'must be "host:port"'),
          v.transform((text) => parseHostPort(text) ?? { host: '', port: 0 }),
        ),
        'must be a list of "host:port"',
      ),
      v.maxLength(limits.stun, `must have at most ${limits.stun} servers`),
    ),
  ),
  tox_port: v.optional(optionalPort, 0),
})

/** The names of all keys, in the order of the documentation. */
export const configKeys: readonly string[] = Object.keys(schema.entries)

/** @throws PunchGuardError CONFIG_INVALID, with the key, its line when known, and the nearest name of an unknown key */
export function parseConfig(text: string, options: { readonly hostName: string }): Config {
  const parsed = v.safeParse(schema, parseToml(text))
  // An unknown key first: it is most often why another one is missing.
  if (!parsed.success) throw invalidKey(parsed.issues.find(isUnknownKey) ?? parsed.issues[0], text)
  const { name, tox_port: toxPort, bootstrap, stun, ...rest } = parsed.output
  return {
    ...rest,
    name: name ?? deviceNameFromHost(options.hostName),
    bootstrap: bootstrap ?? publicBootstrapNodes,
    stun: stun ?? publicStunServers,
    toxPort,
  }
}

/** The configuration file a new device gets: every key with its meaning and its default, commented out. */
export function renderDefaultConfig(): string {
  return `# PunchGuard's configuration. Every key is optional; the values shown are the defaults.
# Changes take effect when the daemon starts again: punchguard stop, punchguard up.

# How this device is called on the others (${deviceNameRule}).
# name = "the host name"

# UDP port of the tunnel. 0: chosen once and kept. Set it when you forward a port on your router.
# port = 0

# Name of the tunnel interface.
# interface = "pg0"

# Addresses of this device in the tunnel, private ones. Empty: derived from its key, so that nobody hands them out, and
# others when a network of this device or of a peer has them.
# addresses = []

# Largest packet inside the tunnel, 1280 to 1420 bytes. ${defaultMtu} crosses Ethernet, PPPoE and DS-Lite lines unbroken.
# What a narrower path takes is found out for each peer.
# mtu = ${defaultMtu}

# What carries the packets. "embedded": WireGuard inside this program. "kernel": Linux's own WireGuard. "wireguard-go": the
# program of that name. "openvpn": OpenVPN, for a peer that has it too; the others understand each other.
# guard = "embedded"

# STUN servers, which tell this device its public address.
# stun = [${publicStunServers.map(({ host, port }) => `"${host}:${port}"`).join(', ')}]

# UDP port of the Tox node. 0: the first free one of 33445..33545.
# tox_port = 0

# Tox nodes through which devices find each other, instead of the ${publicBootstrapNodes.length} public ones this program knows.
# One [[bootstrap]] block a node, at the end of the file: host, UDP port, ports of its TCP relay (if any), public key.
# [[bootstrap]]
# host = "192.0.2.1"
# udp = 33445
# tcp = [33445, 443]
# key = "${'0'.repeat(63)}1"
`
}

/** The file with this device's name set; the rest stays as it is. `undefined`: there is no file yet. */
export function withDeviceName(text: string | undefined, name: string): string {
  const line = `name = ${JSON.stringify(name)}`
  const lines = (text ?? renderDefaultConfig()).split('\n')
  const firstBlock = lines.findIndex((candidate) => /^\s*\[/.test(candidate))
  const top = firstBlock < 0 ? lines.length : firstBlock
  for (const form of [/^\s*"?name"?\s*=/, /^\s*#\s*name\s*=/]) {
    const at = lines.findIndex((candidate, index) => index < top && form.test(candidate))
    if (at >= 0) return lines.with(at, line).join('\n')
  }
  return [line, ...lines].join('\n')
}

function parseToml(text: string): unknown {
  try {
    return smolToml.parse(text)
  } catch (error) {
    if (!(error instanceof smolToml.TomlError)) throw error
    const what = error.message.split('\n')[0]?.replace(/^Invalid TOML document: /, '') ?? 'not TOML'
    throw invalid(`line ${error.line}: ${what}`, 'correct that line, or delete it to use the default', error)
  }
}

function invalidKey(issue: v.BaseIssue<unknown>, text: string): PunchGuardError {
  const path = issue.path ?? []
  const shown = path
    .map(({ key }) => (typeof key === 'number' ? `[${key + 1}]` : `.${String(key)}`))
    .join('')
    .slice(1)
  const line = lineOf(text, path)
  const where = line === undefined ? '' : `line ${line}: `
  if (isUnknownKey(issue)) {
    const known = path.length === 1 ? configKeys : Object.keys(bootstrapSchema.entries)
    const unknown = String(path.at(-1)?.key)
    const nearest = nearestName(unknown, known)
    const hint = nearest === undefined ? `the keys are: ${known.join(', ')}` : `did you mean "${nearest}"?`
    return invalid(`${where}unknown key "${shown}"`, hint)
  }
  const missing = issue.received === 'undefined'
  const what = missing ? 'is missing' : issue.type === 'strict_object' ? 'must be a block of keys' : issue.message
  return invalid(`${where}${shown} ${what}`, 'correct the value, or delete the key to use the default')
}

function isUnknownKey(issue: v.BaseIssue<unknown>): boolean {
  return issue.type === 'strict_object' && issue.expected === 'never'
}

/** The line (from 1) on which the key of an issue is written, `undefined` when it cannot be told. */
function lineOf(text: string, path: readonly { readonly key: unknown }[]): number | undefined {
  const lines = text.split('\n')
  let from = 0
  const [top, index] = [path[0]?.key, path[1]?.key]
  if (typeof index === 'number' && lines.some((line) => isHeader(line, top))) {
    let block = -1
    from = lines.findIndex((line) => isHeader(line, top) && ++block === index)
  }
  for (const name of path.map(({ key }) => key).reverse()) {
    if (typeof name !== 'string') continue
    const at = lines.findIndex(
      (line, number) => number >= from && new RegExp(`^\\s*"?${literally(name)}"?\\s*=`).test(line),
    )
    if (at >= 0) return at + 1
    const header = lines.findIndex((line, number) => number >= from && isHeader(line, name))
    if (header >= 0) return header + 1
  }
  return undefined
}

function isHeader(line: string, name: unknown): boolean {
  return new RegExp(`^\\s*\\[\\[?\\s*"?${literally(String(name))}"?\\s*\\]\\]?`).test(line)
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

function isAddress(text: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(text)
    ? text.split('.').every((part) => Number(part) <= 255)
    : /^[0-9a-fA-F:]{2,39}$/.test(text) && text.includes(':') && URL.canParse(`http://[${text}]`)
}

function portRule(lowest: 0 | 1 = 1): string {
  return `must be a whole number between ${lowest} and 65535`
}

function invalid(what: string, hint: string, cause?: unknown): PunchGuardError {
  return new PunchGuardError('CONFIG_INVALID', `config.toml: ${what}`, cause === undefined ? { hint } : { hint, cause })
}

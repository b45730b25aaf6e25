/** The command line of `npm start` (lab/main.ts). */

import { parseArgs } from 'node:util'
import { guardKinds } from '../src/api/config.ts'
import { PunchGuardError } from '../src/api/errors.ts'
import type { GuardKind } from '../src/api/roles.ts'
import { nearestName } from '../src/util/nearest-name.ts'
import { parseSiteKind, type SiteKind, siteKindNames } from './model/kinds.ts'

export interface LabOptions {
  readonly kinds: readonly [SiteKind, SiteKind]
  /** Whose NAT: the lab's own, or the kernel's through nftables. */
  readonly nat: 'model' | 'linux'
  /** Of each device's config.toml. */
  readonly guards: readonly [GuardKind, GuardKind]
  /** Of each site's line, each way, ms. */
  readonly delay: number
  readonly jitter: number
  /** 0..1 */
  readonly loss: number
  /** Bits per second. */
  readonly rate: number
  /** Largest packet on each site's line, bytes. */
  readonly mtu: number
  /** Copied through the tunnel. */
  readonly bytes: number
  readonly json: boolean
  readonly verbose: boolean
}

export const labHelp: string = `Usage: npm start -- [OPTION ...]

Builds a small internet on this machine, lets two devices behind two NATs pair, connect, ping, copy a file and survive a
change of address, and takes everything down again. Needs Linux with iproute2 and util-linux, and user namespaces with
/dev/net/tun for an ordinary user; else it runs as root, through sudo, and says so.

  --nat-a KIND, --nat-b KIND  the NAT of each site (default eim-apdf), as
                              MAPPING/FILTERING[/PORTS] in the words of RFC 4787:
                                mapping    endpoint-independent (eim), address-dependent (adm),
                                           address-and-port-dependent (apdm)
                                filtering  endpoint-independent (eif), address-dependent (adf),
                                           address-and-port-dependent (apdf)
                                ports      preserving (default), sequential, random
                              or one of these names:
                                ${siteKindNames.slice(0, 4).join(', ')},
                                ${siteKindNames.slice(4).join(', ')}
  --nat linux                 the kernel's own NAT through nftables (eim-apdf, apdm-apdf-random) instead of the lab's
  --guard KIND                what carries the packets on both devices, or with --guard-a, --guard-b on one (default embedded):
                                ${guardKinds.join(', ')}
  --delay MS                  of each site's line, each way (default 20)
  --jitter MS                 up to so much more (default 0)
  --loss PERCENT              packets lost on each site's line, each way (default 0)
  --rate MBIT                 megabits a second of each site's line, each way (default: as fast as this machine is)
  --mtu BYTES                 largest packet on each site's line (default 1500): larger ones are cut, or lost without a
                              word when they may not be
  --copy MIB                  how much to copy through the tunnel (default 64)
  --json                      progress on standard error, one JSON object as the last line of standard output
  --verbose                   what the devices and servers log, too
  --help                      this text

Not every pair of NATs can be opened by plain punching: not when both filter by address and port and one of them maps by
destination. The lab then says so and fails.

Example, a phone network and a home router 30 ms from the rest of the world:
  npm start -- --nat-a address-and-port-dependent/address-and-port-dependent/random --nat-b eim-eif --delay 30
`

const defaults = {
  'nat-a': 'eim-apdf',
  'nat-b': 'eim-apdf',
  nat: 'model',
  delay: '20',
  mtu: '1500',
  copy: '64',
} as const

const words = {
  guard: { type: 'string' },
  'guard-a': { type: 'string' },
  'guard-b': { type: 'string' },
  'nat-a': { type: 'string' },
  'nat-b': { type: 'string' },
  nat: { type: 'string' },
  delay: { type: 'string' },
  jitter: { type: 'string' },
  loss: { type: 'string' },
  rate: { type: 'string' },
  mtu: { type: 'string' },
  copy: { type: 'string' },
  json: { type: 'boolean' },
  verbose: { type: 'boolean' },
  help: { type: 'boolean' },
} as const

/** `help` when that was asked for. @throws PunchGuardError USAGE */
export function parseLabOptions(args: readonly string[]): LabOptions | 'help' {
  const { values, tokens } = parseArgs({ args: [...args], options: words, strict: false, tokens: true })
  for (const token of tokens) {
    if (token.kind === 'positional') throw usage(`unexpected argument '${token.value}'`)
    if (token.kind === 'option' && !(token.name in words)) throw unknownOption(token.rawName)
  }
  if (values.help === true) return 'help'
  const text = (name: keyof typeof words): string | undefined => {
    const value = values[name]
    if (value === undefined || typeof value === 'string') return value
    throw usage(`--${name} needs a value`)
  }
  const nat = text('nat') ?? defaults.nat
  if (nat !== 'model' && nat !== 'linux') throw usage(`--nat is 'model' or 'linux', not '${nat}'`)
  return {
    kinds: [kindOf('nat-a', text('nat-a')), kindOf('nat-b', text('nat-b'))],
    nat,
    guards: [
      guardOf('guard-a', text('guard-a') ?? text('guard')),
      guardOf('guard-b', text('guard-b') ?? text('guard')),
    ],
    delay: numberOf('delay', text('delay') ?? defaults.delay, { maximum: 2000 }),
    jitter: numberOf('jitter', text('jitter') ?? '0', { maximum: 2000 }),
    loss: numberOf('loss', text('loss') ?? '0', { maximum: 90 }) / 100,
    rate:
      text('rate') === undefined
        ? Number.MAX_VALUE
        : numberOf('rate', text('rate'), { minimum: 0.1, maximum: 1e5 }) * 1e6,
    mtu: Math.floor(numberOf('mtu', text('mtu') ?? defaults.mtu, { minimum: 576, maximum: 1500 })),
    bytes: Math.round(numberOf('copy', text('copy') ?? defaults.copy, { minimum: 0.001, maximum: 4096 }) * 2 ** 20),
    json: values.json === true,
    verbose: values.verbose === true,
  }
}

function kindOf(name: 'nat-a' | 'nat-b', text: string = defaults[name]): SiteKind {
  const kind = parseSiteKind(text)
  if (kind !== undefined) return kind
  const nearest = nearestName(text, siteKindNames)
  const hint = nearest === undefined ? `the names are: ${siteKindNames.join(', ')}` : `did you mean '${nearest}'?`
  throw new PunchGuardError('USAGE', `--${name} '${text}' is no kind of NAT`, { hint })
}

function guardOf(name: 'guard-a' | 'guard-b', text = 'embedded'): GuardKind {
  const kind = guardKinds.find((one) => one === text)
  if (kind !== undefined) return kind
  const nearest = nearestName(text, guardKinds)
  const hint = nearest === undefined ? `the guards are: ${guardKinds.join(', ')}` : `did you mean '${nearest}'?`
  throw new PunchGuardError('USAGE', `--${name} '${text}' is no guard`, { hint })
}

function numberOf(
  name: string,
  text: string | undefined,
  { minimum = 0, maximum }: { readonly minimum?: number; readonly maximum: number },
): number {
  const value = text === undefined || text.trim() === '' ? Number.NaN : Number(text)
  if (value >= minimum && value <= maximum) return value
  throw usage(`--${name} is a number from ${minimum} to ${maximum}, not '${text ?? ''}'`)
}

function unknownOption(rawName: string): PunchGuardError {
  const nearest = nearestName(
    rawName,
    Object.keys(words).map((word) => `--${word}`),
  )
  return new PunchGuardError('USAGE', `unknown option ${rawName}`, {
    hint: nearest === undefined ? 'npm start -- --help shows the options' : `did you mean ${nearest}?`,
  })
}

function usage(message: string): PunchGuardError {
  return new PunchGuardError('USAGE', message, { hint: 'npm start -- --help shows the options' })
}

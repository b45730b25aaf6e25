/** The lab's map: who has which address. Documentation addresses outside (RFC 5737), private ones inside. */

import { describeSiteKind, type SiteKind } from './model/kinds.ts'

export const addresses = {
  stun: ['198.51.100.1', '198.51.100.2'],
  tox: ['198.51.100.11', '198.51.100.12', '198.51.100.13'],
} as const

export const stunPort = 3478
export const toxPort = 33_445

export interface SitePlan {
  readonly name: 'a' | 'b'
  /** First and, after the move, second public address. */
  readonly publicAddresses: readonly [string, string]
  /** The device's address behind the NAT. */
  readonly lanAddress: string
}

export const siteA: SitePlan = {
  name: 'a',
  publicAddresses: ['203.0.113.10', '203.0.113.110'],
  lanAddress: '192.168.1.10',
}

export const siteB: SitePlan = {
  name: 'b',
  publicAddresses: ['203.0.113.20', '203.0.113.120'],
  lanAddress: '192.168.2.10',
}

export interface Drawing {
  readonly kinds: readonly [SiteKind, SiteKind]
  /** Of each site's line, in words. */
  readonly line: string
  readonly router: string
}

/** The map for people. */
export function draw({ kinds, line, router }: Drawing): string {
  const [a, b] = [siteColumn(siteA, kinds[0]), siteColumn(siteB, kinds[1])]
  const row = (left: string, right: string): string => `     ${left.padEnd(40)}${right}`
  return [
    '',
    row('   STUN  198.51.100.1, .2', '   Tox nodes  198.51.100.11, .12, .13'),
    row('   |', '   |'),
    `   --+--+${'-'.repeat(36)}+--+--------------------------  the lab's internet`,
    row('|', '|'),
    row(`| ${line}`, `| ${line}`),
    row(a.router, b.router),
    row('|', '|'),
    row(a.device, b.device),
    '',
    `   site a: ${describeSiteKind(kinds[0])}`,
    `   site b: ${describeSiteKind(kinds[1])}`,
    `   routers: ${router}`,
    '',
  ].join('\n')
}

function siteColumn(plan: SitePlan, kind: SiteKind): { readonly router: string; readonly device: string } {
  const [publicAddress] = plan.publicAddresses
  if (kind.kind === 'none') return { router: '|', device: `device ${plan.name}  ${publicAddress}` }
  return { router: `NAT  ${publicAddress}`, device: `device ${plan.name}  ${plan.lanAddress}` }
}

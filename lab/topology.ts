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
  const sites = [siteA, siteB].map((plan, index) => {
    const kind = kinds[index] ?? { kind: 'none' }
    return { plan, kind, address: kind.kind === 'none' ? plan.publicAddresses[0] : plan.lanAddress }
  })
  const [a, b] = sites
  if (a === undefined || b === undefined) return ''
  const box = (text: string): string => text.padEnd(24)
  return `
      198.51.100.1, .2  two STUN addresses          three Tox nodes  198.51.100.11, .12, .13
                     |                                     |
   ---------+--------+-------------------------------------+---------+---------  the lab's internet
            | ${box(line)}                              | ${line}
     ${box(`[${a.kind.kind === 'none' ? 'line' : 'NAT'} ${a.plan.publicAddresses[0]}]`)}                        ${`[${b.kind.kind === 'none' ? 'line' : 'NAT'} ${b.plan.publicAddresses[0]}]`}
            |                                                        |
     ${box(`device a  ${a.address}`)}                        device b  ${b.address}

   site a: ${describeSiteKind(a.kind)}
   site b: ${describeSiteKind(b.kind)}
   routers: ${router}
`
}

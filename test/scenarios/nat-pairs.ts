/** The pairs of NAT kinds, and which of them a direct path can be opened through with plain ICE over UDP. */

import { type SiteKindName, siteKindNames } from '../../lab/model/kinds.ts'

/** Gives every peer another port: nobody can be told where to send to. */
const changing: readonly SiteKindName[] = ['adm-apdf-random', 'apdm-apdf-random', 'apdm-apdf-sequential']
/** Lets in only what was sent to, port and all. */
const strict: readonly SiteKindName[] = ['eim-apdf', 'eim-apdf-random', ...changing]

export function passable(a: SiteKindName, b: SiteKindName): boolean {
  return !((changing.includes(a) && strict.includes(b)) || (changing.includes(b) && strict.includes(a)))
}

/** All pairs, each once: 36 of 8 kinds. */
export const natPairs: readonly (readonly [SiteKindName, SiteKindName])[] = siteKindNames.flatMap((a, at) =>
  siteKindNames.slice(at).map((b) => [a, b] as const),
)

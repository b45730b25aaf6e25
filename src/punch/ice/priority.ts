/** Priorities of candidates and of pairs (RFC 8445 §5.1.2, §6.1.2.3). */

import type { CandidateKind } from '../../api/roles.ts'
import { componentId, typePreferences } from './constants.ts'

/** The first of a device's addresses; later ones get less. */
export const highestLocalPreference = 65_535

/** 2^24 · type preference + 2^8 · local preference + (256 - component): 32 bits. */
export function candidatePriority(kind: CandidateKind, localPreference: number = highestLocalPreference): number {
  return typePreferences[kind] * 2 ** 24 + localPreference * 2 ** 8 + (256 - componentId)
}

/** 2^32 · min(G, D) + 2 · max(G, D) + (G > D): G is the controlling agent's candidate's, D the controlled one's. */
export function pairPriority(priorities: { readonly controlling: number; readonly controlled: number }): bigint {
  const g = BigInt(priorities.controlling)
  const d = BigInt(priorities.controlled)
  const [smaller, larger] = g < d ? [g, d] : [d, g]
  return 2n ** 32n * smaller + 2n * larger + (g > d ? 1n : 0n)
}

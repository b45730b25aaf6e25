/**
 * When the controlling side nominates (RFC 8445 §8.1.1 leaves the criterion to us): the best valid pair, as soon as no
 * better one can be expected to answer any more.
 */

import { maximumPatience, minimumPatience } from './constants.ts'
import type { CandidatePair } from './pair.ts'

/** `pairs`, best first. `undefined` while no pair is valid; a time in the past when nothing better is in sight. */
export function nominationDueAt(
  pairs: readonly CandidatePair[],
): { readonly pair: CandidatePair; readonly at: number } | undefined {
  const best = pairs.findIndex((pair) => pair.state.kind === 'succeeded')
  const pair = pairs[best]
  if (pair === undefined || pair.state.kind !== 'succeeded') return undefined
  // A better path is a shorter one: it answers within the round trip of this one, if its check got through at all.
  const patience = Math.min(maximumPatience, Math.max(minimumPatience, pair.state.roundTrip))
  const latest = pair.state.validAt + maximumPatience
  let at = Number.NEGATIVE_INFINITY
  for (const better of pairs.slice(0, best)) {
    if (better.state.kind === 'waiting') at = latest
    if (better.state.kind === 'in-progress') at = Math.max(at, Math.min(latest, better.state.firstSentAt + patience))
  }
  return { pair, at }
}

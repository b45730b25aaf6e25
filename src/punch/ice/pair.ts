/**
 * A candidate pair (RFC 8445 §6.1.2.6). There is one socket, so the local end of every pair is the same and a pair is
 * known by its remote endpoint; the state frozen is left out (docs/ice.md).
 */

import type { Endpoint } from '../../api/endpoint.ts'
import type { PunchCandidate } from '../../api/roles.ts'
import { maximumCheckInterval, minimumCheckInterval, quickCheckFor } from './constants.ts'

export type PairState =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'in-progress'; readonly firstSentAt: number; readonly sentAt: number }
  /** In the valid list. */
  | {
      readonly kind: 'succeeded'
      readonly validAt: number
      readonly roundTrip: number
      /** Our address as the peer saw it. */
      readonly mapped: Endpoint
    }
  /** The peer refused the check in words. Silence never fails a pair. */
  | { readonly kind: 'failed'; readonly code: number }

export interface CandidatePair {
  remote: PunchCandidate
  priority: bigint
  state: PairState
  /** The controlling peer asked for this pair with USE-CANDIDATE. */
  nominated: boolean
}

/**
 * How long after a send the same pair is checked again: RTO of RFC 8445 §14.3 without its 500 ms floor, for the first
 * two seconds; then a tenth of the pair's age.
 */
export function checkInterval(options: {
  readonly pairs: number
  readonly pacing: number
  readonly age: number
}): number {
  const rto = Math.max(minimumCheckInterval, options.pacing * options.pairs)
  return options.age < quickCheckFor ? rto : Math.max(rto, Math.min(maximumCheckInterval, options.age / 10))
}

/** When the pair's next ordinary check is due; `undefined` when it needs none. */
export function nextCheckAt(
  pair: CandidatePair,
  options: { readonly pairs: number; readonly pacing: number },
): number | undefined {
  switch (pair.state.kind) {
    case 'waiting':
      return Number.NEGATIVE_INFINITY
    case 'in-progress': {
      const { firstSentAt, sentAt } = pair.state
      return sentAt + checkInterval({ ...options, age: sentAt - firstSentAt })
    }
    case 'succeeded':
    case 'failed':
      return undefined
  }
}

/**
 * A node that has answered us, as long as any of our lists holds it. One record for all lists, so that an answer counts
 * for all of them.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import type { DhtPublicKey } from '../crypto.ts'

/** A node that has not answered for this long is not handed out and is the first to be replaced (Tox specification). */
export const goodFor = 122_000

/** A node that has not answered for this long is forgotten (Tox specification). */
export const knownFor = 182_000

/** Our choice: after this many unanswered requests a node is not handed out, although it answered a minute ago. */
const unansweredLimit = 4

export interface KnownNode {
  /** The key in hex. */
  readonly name: string
  readonly publicKey: DhtPublicKey
  /** Where the last answer came from. */
  endpoint: Endpoint
  lastAnswer: number
  /** When it was last asked anything. */
  lastAsked: number
  /** Requests, at least a second apart, since the last answer. */
  unanswered: number
  /** How many lists hold it. */
  holders: number
}

export function isGood(node: KnownNode, now: number): boolean {
  return now - node.lastAnswer < goodFor && node.unanswered < unansweredLimit
}

/** How many requests it has owed an answer to for a second or longer. */
export function overdueAnswers(node: KnownNode, now: number): number {
  if (node.unanswered === 0) return 0
  return now - node.lastAsked >= 1000 ? node.unanswered : node.unanswered - 1
}

/** Notes that the node was sent a request. */
export function noteAsked(node: KnownNode, now: number): void {
  if (node.unanswered === 0 || now - node.lastAsked >= 1000) node.unanswered += 1
  node.lastAsked = now
}

/** When to ask again: a minute after the last request, sooner while it does not answer. */
export function nextCheck(node: KnownNode, lastAsked: number): number {
  const minute = 60_000
  if (node.unanswered === 0 || node.unanswered > unansweredLimit) return lastAsked + minute
  return lastAsked + Math.min(minute, 2500 * 2 ** node.unanswered)
}

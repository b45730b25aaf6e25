/** What to tell a person when no path was found: what was tried, and the one thing that most likely helps. */

import type { OpeningStats } from './opening.ts'

export interface Failure {
  readonly message: string
  readonly hint: string
}

export function describeFailure(stats: OpeningStats, options: { readonly stunServers: number }): Failure {
  const hosts = stats.localCandidates - stats.reflexiveCandidates
  const tried = [
    `${count(stats.checksSent, 'check')} sent to ${count(stats.pairs, 'candidate')} of the peer`,
    `${stats.validPairs} answered`,
    `${count(stats.requestsAnswered, 'check')} of the peer received`,
    `${count(hosts, 'address', 'addresses')} and ${stats.reflexiveCandidates} seen by STUN servers offered`,
  ]
  return { message: tried.join(', '), hint: hintFor(stats, options.stunServers) }
}

function hintFor(stats: OpeningStats, stunServers: number): string {
  if (!stats.peerDescribed) return 'the peer sent no candidates: check that it runs and that the signal network is up'
  if (stats.stunAnswers === 0 && stunServers > 0) {
    return 'no STUN server answered: UDP may be blocked in this network'
  }
  if (stats.requestsAnswered > 0) return 'the peer is heard but does not answer: a firewall there may drop UDP'
  return 'both NATs may choose their ports anew for every destination: forward a UDP port on one of the two routers'
}

function count(number: number, one: string, many: string = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`
}

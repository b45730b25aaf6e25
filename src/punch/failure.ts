/** What to tell a person when no path was found: what was tried, and the one thing that most likely helps. */

import type { OpeningStats } from './opening.ts'

export interface Failure {
  readonly message: string
  readonly hint: string
}

export function describeFailure(stats: OpeningStats, options: { readonly stunServers: number }): Failure {
  const hosts = stats.localCandidates - stats.reflexiveCandidates
  const tried = [
    `${count(stats.checksSent, 'check')} to ${count(stats.pairs, 'candidate')} of the peer`,
    `${count(stats.validPairs, 'answer')}`,
    `${count(stats.requestsAnswered, 'check')} of the peer answered`,
    `offered ${count(hosts, 'address', 'addresses')} and ${stats.reflexiveCandidates} seen by STUN servers`,
  ]
  return { message: `No path to the peer: ${tried.join(', ')}`, hint: hintFor(stats, options.stunServers) }
}

function hintFor(stats: OpeningStats, stunServers: number): string {
  if (!stats.peerDescribed) return 'The peer sent no candidates: check that it runs and that the signal network is up.'
  if (stats.reflexiveCandidates === 0 && stunServers > 0) {
    return 'No STUN server answered: UDP may be blocked in this network.'
  }
  if (stats.requestsAnswered > 0) return 'The peer is heard but does not answer: a firewall there may drop UDP.'
  return 'Both NATs may choose their ports anew for every destination: forward a UDP port on one of the two routers.'
}

function count(number: number, one: string, many: string = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`
}

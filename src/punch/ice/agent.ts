/**
 * A full ICE agent (RFC 8445) with trickle (RFC 8838) for one data stream of one component over one socket: checks,
 * roles, nomination. Pure: time and randomness come in, datagrams and the selected pair go out as effects. It never
 * fails by itself: it checks until it is dropped. What is simplified is listed in docs/ice.md.
 */

import { type Endpoint, sameEndpoint } from '../../api/endpoint.ts'
import type { CandidateKind, PunchCandidate } from '../../api/roles.ts'
import { assertNever } from '../../util/assert-never.ts'
import type { Random } from '../../util/random.ts'
import { Counters } from '../counters.ts'
import { stunErrors } from '../stun/constants.ts'
import type { ReceivedStunMessage } from '../stun/message.ts'
import { pairKind, peerReflexiveCandidate, usableCandidate } from './candidate.ts'
import { CheckList } from './check-list.ts'
import {
  encodeCheck,
  encodeCheckSuccess,
  encodeRoleConflict,
  examineRequest,
  examineResponse,
  type IceRole,
} from './connectivity-check.ts'
import {
  minimumCheckInterval,
  minimumPacing,
  nominationTimeout,
  standardPacing,
  youngFor,
  youngPacing,
} from './constants.ts'
import type { Association, IceCredentials } from './credentials.ts'
import { nominationDueAt } from './nomination.ts'
import type { CandidatePair } from './pair.ts'
import { CheckTransactions } from './transactions.ts'

/** The pair both sides will use, and how to talk on it from now on. */
export interface Selection {
  readonly kind: CandidateKind
  readonly remote: Endpoint
  /** Our address as the peer sees it. */
  readonly mapped: Endpoint
  /** ms */
  readonly roundTrip: number
  readonly association: Association
  /** The role after repaired conflicts. */
  readonly controlling: boolean
}

export type AgentEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint }
  | { readonly kind: 'selected'; readonly selection: Selection }

export interface AgentStats {
  readonly controlling: boolean
  readonly localCandidates: number
  readonly pairs: number
  readonly validPairs: number
  readonly checksSent: number
  readonly requestsAnswered: number
  readonly roleSwitches: number
  readonly dropped: Readonly<Record<string, number>>
}

type AgentState =
  | { readonly kind: 'running' }
  | { readonly kind: 'nominating'; readonly pair: CandidatePair; readonly since: number; readonly sentAt: number }
  | { readonly kind: 'selected' }

interface SentCheck {
  readonly sentAt: number
  readonly pair: CandidatePair
  readonly role: IceRole
  readonly useCandidate: boolean
}

export class IceAgent {
  readonly #local: IceCredentials
  readonly #random: Random
  readonly #list: CheckList
  readonly #transactions: CheckTransactions<SentCheck>
  readonly #dropped: Counters = new Counters()
  readonly #ours: PunchCandidate[] = []
  #remote: IceCredentials | undefined
  #role: IceRole
  #state: AgentState = { kind: 'running' }
  /** When the peer's credentials came: the punch is young from here. */
  #startedAt = 0
  #lastCheckAt = Number.NEGATIVE_INFINITY
  #checksSent = 0
  #requestsAnswered = 0
  #roleSwitches = 0

  constructor(options: {
    readonly credentials: IceCredentials
    readonly controlling: boolean
    readonly random: Random
  }) {
    this.#local = options.credentials
    this.#random = options.random
    this.#role = { controlling: options.controlling, tieBreaker: randomTieBreaker(options.random) }
    this.#list = new CheckList(options.controlling)
    this.#transactions = new CheckTransactions(options.random)
  }

  /** A candidate of ours: it names what we find, it makes no pair of its own (there is one socket). */
  addLocalCandidate(candidate: PunchCandidate): void {
    this.#ours.push(candidate)
  }

  /** The peer's credentials. Other ones than before are the peer's restart: its candidates and pairs start anew. */
  setRemote(remote: IceCredentials, now: number): readonly AgentEffect[] {
    if (this.#state.kind === 'selected' || this.#remote?.ufrag === remote.ufrag) return []
    if (this.#remote !== undefined) {
      this.#list.clear()
      this.#transactions.clear()
      this.#state = { kind: 'running' }
    }
    this.#remote = remote
    this.#startedAt = now
    return this.tick(now)
  }

  /** Pairs a candidate the peer signalled. */
  addRemoteCandidate(candidate: PunchCandidate, now: number): readonly AgentEffect[] {
    const usable = usableCandidate(candidate, this.#ours)
    if (usable === undefined) this.#dropped.add('unusable-candidate')
    else if (this.#list.add(usable) === undefined) this.#dropped.add('too-many-candidates')
    return this.tick(now)
  }

  /** Whether a response with this transaction id answers a check of ours. */
  claims(transactionId: Uint8Array): boolean {
    return this.#transactions.find(transactionId) !== undefined
  }

  /** A STUN message that names us or answers us. */
  receive(message: ReceivedStunMessage, from: Endpoint, now: number): readonly AgentEffect[] {
    switch (message.messageClass) {
      case 'request':
        return [...this.#receiveRequest(message, from), ...this.tick(now)]
      case 'success':
      case 'error':
        return [...this.#receiveResponse(message, from, now), ...this.tick(now)]
      case 'indication':
        return []
      default:
        return assertNever(message.messageClass)
    }
  }

  /** Sends what is due at `now`: one check of each kind at most. */
  tick(now: number): readonly AgentEffect[] {
    if (this.#remote === undefined) return []
    return [...this.#tickNomination(now), ...this.#tickChecks(now)]
  }

  /** When `tick` has something to do. */
  get deadline(): number | undefined {
    if (this.#remote === undefined || this.#state.kind === 'selected') return undefined
    const pacing = this.#pacing
    const deadlines: number[] = []
    const ordinary = this.#list.dueAt(pacing)
    if (ordinary !== undefined) deadlines.push(Math.max(ordinary, this.#lastCheckAt + pacing))
    if (this.#list.hasTriggered) deadlines.push(this.#lastCheckAt + minimumPacing)
    if (this.#state.kind === 'nominating') deadlines.push(this.#state.sentAt + minimumCheckInterval)
    else if (this.#role.controlling) {
      const nomination = nominationDueAt(this.#list.pairs)
      if (nomination !== undefined) deadlines.push(nomination.at)
    }
    return deadlines.length === 0 ? undefined : Math.min(...deadlines)
  }

  stats(): AgentStats {
    const { pairs } = this.#list
    return {
      controlling: this.#role.controlling,
      localCandidates: this.#ours.length,
      pairs: pairs.length,
      validPairs: pairs.filter((pair) => pair.state.kind === 'succeeded').length,
      checksSent: this.#checksSent,
      requestsAnswered: this.#requestsAnswered,
      roleSwitches: this.#roleSwitches,
      dropped: this.#dropped.toObject(),
    }
  }

  /** RFC 8445 §14.2: Ta. */
  get #pacing(): number {
    return this.#lastCheckAt - this.#startedAt < youngFor ? youngPacing : standardPacing
  }

  // RFC 8445 §7.3, the server's part of a check.
  #receiveRequest(request: ReceivedStunMessage, from: Endpoint): readonly AgentEffect[] {
    const examined = examineRequest(request, this.#local)
    if (examined.kind !== 'valid') {
      this.#dropped.add(examined.reason)
      return examined.kind === 'refused' ? [{ kind: 'send', bytes: examined.answer, to: from }] : []
    }
    if (examined.role.controlling === this.#role.controlling && this.#state.kind !== 'selected') {
      // §7.3.1.1: the larger tie-breaker controls.
      const controls = this.#role.tieBreaker >= examined.role.tieBreaker
      if (this.#role.controlling === controls) {
        return [{ kind: 'send', bytes: encodeRoleConflict(request, this.#local), to: from }]
      }
      this.#switchRole(this.#role.tieBreaker)
    }
    this.#requestsAnswered++
    const answer: AgentEffect = { kind: 'send', bytes: encodeCheckSuccess(request, from, this.#local), to: from }
    if (this.#state.kind === 'selected') return [answer]
    if (this.#remote !== undefined && this.#remote.ufrag !== examined.remoteUfrag) {
      // The peer restarted and its new description is still under way: it has our answer, we wait for its password.
      this.#dropped.add('other-generation')
      return [answer]
    }
    const pair = this.#list.add(this.#list.find(from)?.remote ?? peerReflexiveCandidate(from, examined.priority))
    if (pair === undefined) {
      this.#dropped.add('too-many-candidates')
      return [answer]
    }
    if (examined.useCandidate && !this.#role.controlling) pair.nominated = true
    if (pair.state.kind !== 'succeeded') this.#list.trigger(pair)
    return [answer, ...this.#selectNominated(pair)]
  }

  // RFC 8445 §7.2.5, the client's part.
  #receiveResponse(response: ReceivedStunMessage, from: Endpoint, now: number): readonly AgentEffect[] {
    const check = this.#transactions.find(response.transactionId)
    if (check === undefined || this.#remote === undefined || this.#state.kind === 'selected') {
      this.#dropped.add('unmatched')
      return []
    }
    const examined = examineResponse(response, this.#remote)
    if (examined.kind === 'dropped') {
      this.#dropped.add(examined.reason)
      return []
    }
    if (!sameEndpoint(from, check.pair.remote.endpoint)) {
      // §7.2.5.2.1: an answer from elsewhere shows no path in the direction we would send.
      this.#dropped.add('asymmetric')
      return []
    }
    this.#transactions.close(response.transactionId)
    const { pair } = check
    if (examined.kind === 'error') {
      if (examined.code === stunErrors['Role Conflict']) {
        // §7.2.5.1: a switch already made by a crossing request is not undone. The new tie-breaker must differ.
        if (check.role.controlling === this.#role.controlling) this.#switchRole(randomTieBreaker(this.#random))
        this.#list.trigger(pair)
      } else if (pair.state.kind === 'in-progress') {
        pair.state = { kind: 'failed', code: examined.code }
      }
      return []
    }
    if (pair.state.kind !== 'succeeded') {
      pair.state = { kind: 'succeeded', validAt: now, roundTrip: now - check.sentAt, mapped: examined.mapped }
    }
    const nominated =
      this.#state.kind === 'nominating' && this.#state.pair === pair && check.useCandidate && this.#role.controlling
    return nominated ? this.#select(pair) : this.#selectNominated(pair)
  }

  /** The controlled side: a pair is selected once the peer nominated it and our own check succeeded (§7.3.1.5). */
  #selectNominated(pair: CandidatePair): readonly AgentEffect[] {
    return pair.nominated && !this.#role.controlling ? this.#select(pair) : []
  }

  #select(pair: CandidatePair): readonly AgentEffect[] {
    if (pair.state.kind !== 'succeeded' || this.#remote === undefined) return []
    const { mapped, roundTrip } = pair.state
    this.#state = { kind: 'selected' }
    const selection: Selection = {
      kind: pairKind(pair.remote.kind, mapped, this.#ours),
      remote: pair.remote.endpoint,
      mapped,
      roundTrip,
      association: { local: this.#local, remote: this.#remote },
      controlling: this.#role.controlling,
    }
    return [{ kind: 'selected', selection }]
  }

  #switchRole(tieBreaker: bigint): void {
    const controlling = !this.#role.controlling
    this.#roleSwitches++
    this.#role = { controlling, tieBreaker }
    this.#list.setControlling(controlling)
    if (this.#state.kind === 'nominating') this.#state = { kind: 'running' }
  }

  // RFC 8445 §8.1.1, regular nomination.
  #tickNomination(now: number): readonly AgentEffect[] {
    switch (this.#state.kind) {
      case 'selected':
        return []
      case 'nominating': {
        const { pair, since, sentAt } = this.#state
        if (now - since >= nominationTimeout) {
          pair.state = { kind: 'waiting' }
          this.#state = { kind: 'running' }
          return []
        }
        if (now < sentAt + minimumCheckInterval) return []
        this.#state = { kind: 'nominating', pair, since, sentAt: now }
        return this.#sendCheck(pair, { now, useCandidate: true })
      }
      case 'running': {
        if (!this.#role.controlling) return []
        const nomination = nominationDueAt(this.#list.pairs)
        if (nomination === undefined || now < nomination.at) return []
        this.#state = { kind: 'nominating', pair: nomination.pair, since: now, sentAt: now }
        return this.#sendCheck(nomination.pair, { now, useCandidate: true })
      }
      default:
        return assertNever(this.#state)
    }
  }

  #tickChecks(now: number): readonly AgentEffect[] {
    if (this.#state.kind === 'selected') return []
    if (this.#list.hasTriggered && now >= this.#lastCheckAt + minimumPacing) {
      const pair = this.#list.takeTriggered()
      // A pair that succeeded while it was queued needs no check any more.
      if (pair !== undefined && pair.state.kind === 'waiting') return this.#sendCheck(pair, { now })
    }
    const pacing = this.#pacing
    if (now < this.#lastCheckAt + pacing) return []
    const pair = this.#list.takeDue(now, pacing)
    return pair === undefined ? [] : this.#sendCheck(pair, { now })
  }

  #sendCheck(
    pair: CandidatePair,
    options: { readonly now: number; readonly useCandidate?: boolean },
  ): readonly AgentEffect[] {
    if (this.#remote === undefined) return []
    const { now, useCandidate = false } = options
    if (pair.state.kind === 'waiting') pair.state = { kind: 'in-progress', firstSentAt: now, sentAt: now }
    else if (pair.state.kind === 'in-progress') pair.state = { ...pair.state, sentAt: now }
    const role = this.#role
    const transactionId = this.#transactions.open({ sentAt: now, pair, role, useCandidate })
    const association = { local: this.#local, remote: this.#remote }
    const bytes = encodeCheck({ transactionId, association, role, useCandidate })
    this.#lastCheckAt = now
    this.#checksSent++
    return [{ kind: 'send', bytes, to: pair.remote.endpoint }]
  }
}

function randomTieBreaker(random: Random): bigint {
  const bytes = random.bytes(8)
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0)
}

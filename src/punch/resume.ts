/**
 * Finds a peer where it was when a path last worked, without signalling: both sides send checks under credentials
 * derived from a secret of their last meeting until one is answered. Pure. There is no nomination: whoever has an
 * answer has proven both directions and is done.
 */

import { type Endpoint, sameEndpoint } from '../api/endpoint.ts'
import type { Random } from '../util/random.ts'
import { Counters } from './counters.ts'
import { encodeCheck, encodeCheckSuccess, examineRequest, examineResponse } from './ice/connectivity-check.ts'
import type { Association } from './ice/credentials.ts'
import { CheckTransactions } from './ice/transactions.ts'
import type { ReceivedStunMessage } from './stun/message.ts'

export type ResumeEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint }
  | { readonly kind: 'found'; readonly remote: Endpoint; readonly mapped: Endpoint; readonly roundTrip: number }

// Our choice, ms

const quickInterval = 100
const quickFor = 2000
const slowInterval = 500
/** The cached endpoint and the latest places an authentic request came from (the peer's NAT may have rebound). */
const maximumTargets = 4

interface Target {
  readonly endpoint: Endpoint
  sentAt: number
}

export class ResumeProbe {
  readonly #association: Association
  readonly #controlling: boolean
  readonly #transactions: CheckTransactions<{ readonly sentAt: number; readonly to: Endpoint }>
  readonly #dropped: Counters = new Counters()
  readonly #startedAt: number
  readonly #targets: Target[]
  #found = false
  #probesSent = 0

  /** The first probe leaves with the first `tick`. */
  constructor(options: {
    readonly association: Association
    readonly controlling: boolean
    readonly remote: Endpoint
    readonly random: Random
    readonly now: number
  }) {
    this.#association = options.association
    this.#controlling = options.controlling
    this.#startedAt = options.now
    this.#transactions = new CheckTransactions(options.random)
    this.#targets = [{ endpoint: options.remote, sentAt: Number.NEGATIVE_INFINITY }]
  }

  get probesSent(): number {
    return this.#probesSent
  }

  get dropped(): Readonly<Record<string, number>> {
    return this.#dropped.toObject()
  }

  get deadline(): number | undefined {
    if (this.#found) return undefined
    return Math.min(...this.#targets.map(({ sentAt }) => sentAt + this.#interval(sentAt)))
  }

  claims(transactionId: Uint8Array): boolean {
    return this.#transactions.find(transactionId) !== undefined
  }

  tick(now: number): readonly ResumeEffect[] {
    if (this.#found) return []
    return this.#targets
      .filter(({ sentAt }) => now >= sentAt + this.#interval(sentAt))
      .map((target) => this.#sendProbe(target, now))
  }

  receive(message: ReceivedStunMessage, from: Endpoint, now: number): readonly ResumeEffect[] {
    if (message.messageClass === 'request') return this.#receiveRequest(message, from, now)
    return message.messageClass === 'indication' ? [] : this.#receiveResponse(message, from, now)
  }

  #receiveRequest(request: ReceivedStunMessage, from: Endpoint, now: number): readonly ResumeEffect[] {
    const examined = examineRequest(request, this.#association.local)
    if (examined.kind === 'refused') return [{ kind: 'send', bytes: examined.answer, to: from }]
    if (examined.kind === 'dropped') return this.#drop(examined.reason)
    if (examined.remoteUfrag !== this.#association.remote.ufrag) return this.#drop('username')
    const answer: ResumeEffect = {
      kind: 'send',
      bytes: encodeCheckSuccess(request, from, this.#association.local),
      to: from,
    }
    if (this.#found) return [answer]
    // A triggered check: our earlier probes may have met a filter that lets us through now.
    return [answer, this.#sendProbe(this.#target(from), now)]
  }

  #receiveResponse(response: ReceivedStunMessage, from: Endpoint, now: number): readonly ResumeEffect[] {
    const probe = this.#transactions.find(response.transactionId)
    if (probe === undefined || this.#found) return this.#drop('unmatched')
    const examined = examineResponse(response, this.#association.remote)
    if (examined.kind === 'dropped') return this.#drop(examined.reason)
    if (examined.kind === 'error') return this.#drop('refused')
    if (!sameEndpoint(from, probe.to)) return this.#drop('asymmetric')
    this.#found = true
    return [{ kind: 'found', remote: from, mapped: examined.mapped, roundTrip: now - probe.sentAt }]
  }

  #target(endpoint: Endpoint): Target {
    const known = this.#targets.find((target) => sameEndpoint(target.endpoint, endpoint))
    if (known !== undefined) return known
    // The cached endpoint stays; of the others the oldest makes room.
    if (this.#targets.length === maximumTargets) this.#targets.splice(1, 1)
    const target = { endpoint, sentAt: Number.NEGATIVE_INFINITY }
    this.#targets.push(target)
    return target
  }

  #interval(sentAt: number): number {
    return sentAt - this.#startedAt < quickFor ? quickInterval : slowInterval
  }

  #sendProbe(target: Target, now: number): ResumeEffect {
    target.sentAt = now
    this.#probesSent++
    const transactionId = this.#transactions.open({ sentAt: now, to: target.endpoint })
    const role = { controlling: this.#controlling, tieBreaker: 0n }
    const bytes = encodeCheck({ transactionId, association: this.#association, role })
    return { kind: 'send', bytes, to: target.endpoint }
  }

  #drop(reason: string): readonly ResumeEffect[] {
    this.#dropped.add(reason)
    return []
  }
}

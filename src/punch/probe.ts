/**
 * Keeps one path under watch with authenticated STUN Binding requests under its ICE credentials: is the peer there
 * (ice/consent.ts), where is it, how does it see us, how far is it, how wide is the way (path-mtu.ts). Pure. It answers every authentic request of the
 * peer's, follows the peer to a new endpoint once that answers, and lets a restarted peer resume the path.
 */

import { type Endpoint, formatEndpoint, sameEndpoint } from '../api/endpoint.ts'
import type { Random } from '../util/random.ts'
import { Counters } from './counters.ts'
import {
  encodeCheck,
  encodeCheckSuccess,
  examineRequest,
  examineResponse,
  type IceRole,
  usernameOf,
} from './ice/connectivity-check.ts'
import { Consent, type ConsentAction } from './ice/consent.ts'
import type { Association } from './ice/credentials.ts'
import { CheckTransactions } from './ice/transactions.ts'
import { PathMtu } from './path-mtu.ts'
import type { ReceivedStunMessage } from './stun/message.ts'

export type ProbeEffect =
  /** `whole`: must not be cut on the way. */
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint; readonly whole?: true }
  | { readonly kind: 'moved'; readonly remote: Endpoint }
  /** The path's MTU changed. */
  | { readonly kind: 'resized' }
  | { readonly kind: 'lost'; readonly reason: string }

export interface ProbeOptions {
  readonly association: Association
  readonly controlling: boolean
  readonly remote: Endpoint
  readonly mapped: Endpoint | undefined
  /** ms */
  readonly roundTrip: number | undefined
  /** The largest IP packet that it is worth to ask for, bytes; nothing is asked when `undefined`. */
  readonly largestPacket?: number | undefined
  readonly random: Random
  readonly now: number
}

export interface ProbeStats {
  readonly probesSent: number
  /** Those that asked for the path's MTU. */
  readonly mtuProbesSent: number
  readonly requestsAnswered: number
  readonly moves: number
  readonly dropped: Readonly<Record<string, number>>
}

interface SentProbe {
  readonly sentAt: number
  readonly to: Endpoint
  readonly association: Association
  /** Of the IP packet, for one that asks for the path's MTU. */
  readonly size?: number
}

/** The peer was heard from elsewhere; whether it can be reached there, and not here any more, is being asked. */
interface Move {
  readonly to: Endpoint
  readonly association: Association
  /** The peer said so itself (USE-CANDIDATE), or it restarted: the old endpoint need not fall silent first. */
  readonly wanted: boolean
  readonly since: number
  readonly sentAt: number
  /** When the new endpoint answered. */
  readonly answeredAt: number | undefined
}

// Our choice, ms

/** As quick probes go. */
const moveProbeInterval = 200
/** A new endpoint that does not answer for so long is forgotten. */
const moveLimit = 1600
/** How long the old endpoint may still answer when the new one has: packets overtake one another. */
const settleTime = 200

/** RFC 6298's gain for the smoothed round trip. */
const smoothing = 1 / 8

/** IPv4 and UDP. */
const headerSize = 28

export class PathProbe {
  readonly #role: IceRole
  readonly #consent: Consent
  readonly #transactions: CheckTransactions<SentProbe>
  readonly #dropped: Counters = new Counters()
  readonly #pathMtu: PathMtu | undefined
  /** What a restarted peer may speak under, besides the path's own association. */
  readonly #resumable: Set<Association> = new Set()
  #association: Association
  #remote: Endpoint
  #mapped: Endpoint | undefined
  #roundTrip: number | undefined
  #move: Move | undefined
  #mtu: number | undefined
  #probesSent = 0
  #mtuProbesSent = 0
  #requestsAnswered = 0
  #moves = 0

  constructor(options: ProbeOptions) {
    this.#association = options.association
    this.#remote = options.remote
    this.#mapped = options.mapped
    this.#roundTrip = options.roundTrip
    // Roles are settled by now; the tie-breaker has no more say.
    this.#role = { controlling: options.controlling, tieBreaker: 0n }
    this.#consent = new Consent({ controlling: options.controlling, now: options.now })
    this.#transactions = new CheckTransactions(options.random)
    const { largestPacket: largest, now } = options
    this.#pathMtu = largest === undefined ? undefined : new PathMtu({ largest, now })
  }

  get remote(): Endpoint {
    return this.#remote
  }

  get mapped(): Endpoint | undefined {
    return this.#mapped
  }

  /** Smoothed, ms. */
  get roundTrip(): number | undefined {
    return this.#roundTrip
  }

  /** Largest IP packet known to pass, bytes. */
  get mtu(): number | undefined {
    return this.#mtu
  }

  get deadline(): number | undefined {
    const deadlines: number[] = []
    if (this.#move !== undefined) deadlines.push(moveDeadline(this.#move))
    if (this.#consent.deadline !== undefined) deadlines.push(this.#consent.deadline)
    if (this.#pathMtu !== undefined && !this.#consent.expired) deadlines.push(this.#pathMtu.deadline)
    return deadlines.length === 0 ? undefined : Math.min(...deadlines)
  }

  /** Whether a request that names this ufrag of ours is for this path. */
  answersTo(ufrag: string): boolean {
    return [this.#association, ...this.#resumable].some(({ local }) => local.ufrag === ufrag)
  }

  claims(transactionId: Uint8Array): boolean {
    return this.#transactions.find(transactionId) !== undefined
  }

  /** Lets the peer speak under this association too, from wherever it comes, until revoked. */
  accept(association: Association): Disposable {
    this.#resumable.add(association)
    return { [Symbol.dispose]: () => void this.#resumable.delete(association) }
  }

  /** Something looks wrong: probe now and quickly. */
  check(now: number): readonly ProbeEffect[] {
    this.#pathMtu?.check(now)
    return this.#act(this.#consent.check(now), now)
  }

  tick(now: number): readonly ProbeEffect[] {
    return [...this.#tickMove(now), ...this.#act(this.#consent.tick(now), now), ...this.#tickMtu(now)]
  }

  receive(message: ReceivedStunMessage, from: Endpoint, now: number): readonly ProbeEffect[] {
    if (message.messageClass === 'request') return this.#receiveRequest(message, from, now)
    return message.messageClass === 'indication' ? [] : this.#receiveResponse(message, from, now)
  }

  stats(): ProbeStats {
    return {
      probesSent: this.#probesSent,
      mtuProbesSent: this.#mtuProbesSent,
      requestsAnswered: this.#requestsAnswered,
      moves: this.#moves,
      dropped: this.#dropped.toObject(),
    }
  }

  #receiveRequest(request: ReceivedStunMessage, from: Endpoint, now: number): readonly ProbeEffect[] {
    const named = usernameOf(request)
    const association = [this.#association, ...this.#resumable].find(
      ({ local, remote }) => local.ufrag === named?.local && remote.ufrag === named.remote,
    )
    if (association === undefined) return this.#drop('username')
    const examined = examineRequest(request, association.local)
    if (examined.kind === 'refused') return [{ kind: 'send', bytes: examined.answer, to: from }]
    if (examined.kind === 'dropped') return this.#drop(examined.reason)
    this.#requestsAnswered++
    const bytes = encodeCheckSuccess(request, from, association.local)
    const answer: ProbeEffect = { kind: 'send', bytes, to: from }
    const restarted = association !== this.#association
    if (!restarted && sameEndpoint(from, this.#remote)) {
      this.#consent.heard(now)
      return [answer]
    }
    return [answer, ...this.#considerMove({ to: from, association, wanted: restarted || examined.useCandidate }, now)]
  }

  #receiveResponse(response: ReceivedStunMessage, from: Endpoint, now: number): readonly ProbeEffect[] {
    const probe = this.#transactions.find(response.transactionId)
    if (probe === undefined) return this.#drop('unmatched')
    const examined = examineResponse(response, probe.association.remote)
    if (examined.kind === 'dropped') return this.#drop(examined.reason)
    if (!sameEndpoint(from, probe.to)) return this.#drop('asymmetric')
    this.#transactions.close(response.transactionId)
    if (examined.kind === 'error') return this.#drop('refused')
    const current = probe.association === this.#association && sameEndpoint(from, this.#remote)
    if (current) {
      if (probe.size === undefined) {
        const sample = now - probe.sentAt
        this.#roundTrip =
          this.#roundTrip === undefined ? sample : this.#roundTrip + smoothing * (sample - this.#roundTrip)
        this.#pathMtu?.alive(probe.sentAt)
      } else this.#pathMtu?.answered({ size: probe.size, sentAt: probe.sentAt }, now)
      this.#mapped = examined.mapped
      this.#consent.answered(now)
      // Asked after the peer was heard elsewhere, the old endpoint still answers: nothing has moved.
      if (this.#move !== undefined && !this.#move.wanted && probe.sentAt >= this.#move.since) this.#move = undefined
      return this.#tellMtu()
    }
    const move = this.#move
    if (move === undefined || move.association !== probe.association || !sameEndpoint(from, move.to)) {
      return this.#drop('superseded')
    }
    this.#move = { ...move, answeredAt: move.answeredAt ?? now }
    if (!move.wanted && now < move.since + settleTime) return []
    return this.#commitMove(move, { now, roundTrip: now - probe.sentAt, mapped: examined.mapped })
  }

  /** RFC 8445 has no such thing: a restart would do it. WireGuard roams without asking; we ask both ends first. */
  #considerMove(found: Pick<Move, 'to' | 'association' | 'wanted'>, now: number): readonly ProbeEffect[] {
    if (this.#consent.expired) return []
    const going = this.#move
    if (going !== undefined && sameEndpoint(going.to, found.to) && going.association === found.association) {
      if (found.wanted && !going.wanted) this.#move = { ...going, wanted: true }
      return []
    }
    // A forged source cannot displace a move the peer wants: it does not answer there.
    if (going?.wanted === true && !found.wanted) return []
    this.#move = { ...found, since: now, sentAt: now, answeredAt: undefined }
    const asked = this.#sendProbe({ to: found.to, association: found.association }, now)
    return found.wanted ? asked : [...asked, ...this.#askOldEndpoint(now)]
  }

  /** The old endpoint is asked at the same moment, also when quick probes are under way already. */
  #askOldEndpoint(now: number): readonly ProbeEffect[] {
    const checked = this.check(now)
    return checked.length > 0 ? checked : this.#sendProbe({ to: this.#remote, association: this.#association }, now)
  }

  #tickMove(now: number): readonly ProbeEffect[] {
    const move = this.#move
    if (move === undefined || now < moveDeadline(move)) return []
    if (move.answeredAt !== undefined) return this.#commitMove(move, { now })
    if (now >= move.since + moveLimit || this.#consent.expired) {
      this.#move = undefined
      return []
    }
    this.#move = { ...move, sentAt: now }
    return this.#sendProbe({ to: move.to, association: move.association }, now)
  }

  #commitMove(
    move: Move,
    found: { readonly now: number; readonly roundTrip?: number; readonly mapped?: Endpoint },
  ): readonly ProbeEffect[] {
    this.#move = undefined
    this.#association = move.association
    if (found.roundTrip !== undefined) this.#roundTrip = found.roundTrip
    if (found.mapped !== undefined) this.#mapped = found.mapped
    this.#consent.answered(found.now)
    if (sameEndpoint(this.#remote, move.to)) return []
    this.#remote = move.to
    this.#moves++
    this.#pathMtu?.restart(found.now)
    return [{ kind: 'moved', remote: move.to }, ...this.#tellMtu()]
  }

  #tickMtu(now: number): readonly ProbeEffect[] {
    if (this.#pathMtu === undefined || this.#consent.expired) return []
    const size = this.#pathMtu.tick(now, this.#roundTrip)
    if (size === undefined) return this.#tellMtu()
    const association = this.#association
    const transactionId = this.#transactions.open({ to: this.#remote, association, sentAt: now, size })
    const bytes = encodeCheck({ transactionId, association, role: this.#role, size: size - headerSize })
    this.#mtuProbesSent++
    return [
      { kind: 'send', bytes, to: this.#remote, whole: true },
      ...this.#sendProbe({ to: this.#remote, association }, now),
      ...this.#tellMtu(),
    ]
  }

  #tellMtu(): readonly ProbeEffect[] {
    const mtu = this.#pathMtu?.mtu
    if (mtu === this.#mtu) return []
    this.#mtu = mtu
    return [{ kind: 'resized' }]
  }

  #act(action: ConsentAction, now: number): readonly ProbeEffect[] {
    switch (action.kind) {
      case 'none':
        return []
      case 'probe':
        return this.#sendProbe({ to: this.#remote, association: this.#association }, now)
      case 'expired': {
        const seconds = (action.silence / 1000).toFixed(1)
        return [{ kind: 'lost', reason: `no answer from ${formatEndpoint(this.#remote)} for ${seconds} s` }]
      }
    }
  }

  #sendProbe(target: Pick<SentProbe, 'to' | 'association'>, now: number): readonly ProbeEffect[] {
    const transactionId = this.#transactions.open({ ...target, sentAt: now })
    this.#probesSent++
    const bytes = encodeCheck({ transactionId, association: target.association, role: this.#role })
    return [{ kind: 'send', bytes, to: target.to }]
  }

  #drop(reason: string): readonly ProbeEffect[] {
    this.#dropped.add(reason)
    return []
  }
}

function moveDeadline(move: Move): number {
  if (move.answeredAt !== undefined) return Math.max(move.since + settleTime, move.answeredAt)
  return Math.min(move.sentAt + moveProbeInterval, move.since + moveLimit)
}

/**
 * One peer of a WireGuard that works elsewhere, in the kernel or in wireguard-go, as a pure machine: when to read its
 * counters, what to order, and what the counters mean. Both write down a handshake only when the peer has shown that it
 * holds the keys (whitepaper §5.4.5), so a handshake newer than the path is what `established` says.
 *
 * The shell does the effects in their order, one after the other. Neither program can be told to begin a handshake, but
 * both do for a peer that is new and has a persistent keepalive: that is what `handshake` orders.
 */

import { type Endpoint, sameEndpoint } from '../api/endpoint.ts'
import type { GuardPeerStats } from '../api/roles.ts'
import { assertNever } from '../util/assert-never.ts'

/** What can be read of such a peer. */
export interface PeerCounters {
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Wall time, ms; `undefined` when never. */
  readonly lastHandshake: number | undefined
  readonly endpoint: Endpoint | undefined
}

export type PolledPeerEffect =
  /** Read the counters when everything before is done, and hand them to `observe`, or say `missed`. */
  | { readonly kind: 'look'; readonly revision: number }
  /** The peer is there now. Add it if it is not known; keys it has stay. */
  | { readonly kind: 'point'; readonly remote: Endpoint }
  /** Remove the peer if it is known, and add it anew, there, with a persistent keepalive that never comes. */
  | { readonly kind: 'handshake'; readonly remote: Endpoint }
  | { readonly kind: 'remove' }
  /** To be told to whoever listens (api/roles.ts). */
  | { readonly kind: 'established' }
  | { readonly kind: 'unanswered' }

export interface PollMoment {
  /** Monotonic ms. */
  readonly now: number
  /** ms. */
  readonly wallTime: number
}

/** Turns the persistent keepalive on, which makes a handshake begin, and is too long to keep anything alive: seconds. */
export const handshakeKeepalive = 65_535

/** A settled peer is read so often, ms: at rest, while anything flows, and when it seems silent. */
const intervals = { rest: 1000, flow: 500, doubt: 250 } as const
/** With no answer to what was sent for this long, the path is reported as doubtful, once for each second of sending, ms. */
const unansweredAfter = 1000
/** When between two looks the first packet was sent is not known: its answer has this time at least, ms. */
const answerTime = 500
/** A keepalive asks for no answer: a transport message around nothing (whitepaper §5.4.6), bytes. */
const keepaliveSize = 32
/** Two initiations to one peer are never closer: responders drop what follows within 50 ms. */
const initiationSpacing = 100
/**
 * Beginning again makes an answer to the handshake before useless, and a program forgets its own handshake to answer the
 * peer's: two ends that begin again at the same times never complete one. So one end has precedence. `retry`: the path
 * was checked a moment ago, so answers are quick. `crossed`: after a handshake of the peer came instead of an answer. With
 * precedence that is enough for a peer that can do both (our own guard) to complete; without it is left to the other
 * end. Delays in ms, and in round trips, whichever is more.
 */
const manners = {
  withPrecedence: { retry: [500, 1000, 2000], retryTrips: 1.5, crossed: 150, crossedTrips: 1.5 },
  without: { retry: [800, 1600, 3000], retryTrips: 2, crossed: 1000, crossedTrips: 4 },
} as const
/** A handshake may outrun the news of the path it came on by so much, ms: WireGuard's REKEY_TIMEOUT. */
const earlyHandshake = 5000

/** How often a peer that is waited for is read, by how long that lasts already, ms. */
const awaitingIntervals: readonly { readonly until: number; readonly interval: number }[] = [
  { until: 1000, interval: 20 },
  { until: 10_000, interval: 100 },
]

type State =
  /** No path: the peer is not in the program, so that no handshake is answered before the keys are agreed. */
  | { readonly kind: 'idle' }
  /** A path came while a tunnel may run: what there was before it must be read first. */
  | { readonly kind: 'checking'; readonly remote: Endpoint }
  | {
      readonly kind: 'awaiting'
      readonly remote: Endpoint
      readonly since: number
      /** The last handshake before; another one is the news. */
      readonly before: number | undefined
      readonly attempt: Attempt | undefined
    }
  | { readonly kind: 'settled'; readonly remote: Endpoint }

interface Attempt {
  readonly sentAt: number
  /** When the next is sent, if any. */
  readonly retryAt: number | undefined
  /** The delays after that. */
  readonly delays: readonly number[]
  /** Whatever arrives before it completes is a handshake that the peer has begun. */
  readonly mayCross: boolean
}

/** What was sent may be lost. */
interface Doubt {
  /** Nothing has arrived for so long. */
  readonly since: number
  /** A look has shown what was sent. */
  readonly seenAt: number
  /** Something was sent since doubt was last reported. */
  readonly isOpen: boolean
}

const none: PeerCounters = { receivedBytes: 0, sentBytes: 0, lastHandshake: undefined, endpoint: undefined }

export class PolledPeer {
  readonly #manners: (typeof manners)['withPrecedence' | 'without']
  #state: State = { kind: 'idle' }
  /** Counts the orders after which counters read before mean nothing. */
  #revision = 0
  #isLooking = false
  /** 0 where it is not known. */
  #roundTrip = 0
  /** Since the last handshake was begun. */
  #keyIsNew = false
  #nextLookAt: number | undefined
  #counters: PeerCounters = none
  /** Of the peer's earlier lives in the program. */
  #past = { receivedBytes: 0, sentBytes: 0 }
  #lastHandshakeAt: number | undefined
  #lastReceivedAt: number | undefined
  #lookedAt: number | undefined
  #flows = false
  #doubt: Doubt | undefined

  /** `hasPrecedence`: exactly one end. */
  constructor(options: { readonly hasPrecedence: boolean }) {
    this.#manners = manners[options.hasPrecedence ? 'withPrecedence' : 'without']
  }

  /** When `tick` has something to do, monotonic ms. */
  get deadline(): number | undefined {
    const retryAt = this.#state.kind === 'awaiting' ? this.#state.attempt?.retryAt : undefined
    const lookAt = this.#isLooking ? undefined : this.#nextLookAt
    if (retryAt === undefined || lookAt === undefined) return retryAt ?? lookAt
    return Math.min(retryAt, lookAt)
  }

  stats(): GuardPeerStats {
    return {
      receivedBytes: this.#past.receivedBytes + this.#counters.receivedBytes,
      sentBytes: this.#past.sentBytes + this.#counters.sentBytes,
      lastHandshakeAt: this.#lastHandshakeAt,
      lastReceivedAt: this.#lastReceivedAt,
      endpoint: this.#counters.endpoint,
      dropped: {},
    }
  }

  /**
   * A new way to the peer, or none. `initiate` begins a handshake at once; otherwise one is answered. `roundTrip`: as the
   * path knows it, ms.
   */
  use(
    remote: Endpoint | undefined,
    options: { readonly initiate: boolean; readonly roundTrip?: number | undefined; readonly now: number },
  ): readonly PolledPeerEffect[] {
    const { initiate, roundTrip = 0, now } = options
    this.#roundTrip = roundTrip
    const state = this.#state
    if (remote === undefined) {
      if (state.kind === 'idle') return []
      this.#supersede()
      this.#forget()
      this.#state = { kind: 'idle' }
      this.#nextLookAt = undefined
      return [{ kind: 'remove' }]
    }
    if (initiate) return this.#isUnderWay(remote) ? [] : this.#initiate(remote, now)
    if (state.kind !== 'idle') {
      this.#state = { kind: 'checking', remote }
      return this.#look()
    }
    this.#await(remote, { before: undefined, attempt: undefined, now })
    return [{ kind: 'point', remote }]
  }

  /** The pre-shared key is another one: a handshake that was begun before is in vain. */
  rekey(): void {
    this.#keyIsNew = true
  }

  /** The peer is now elsewhere on the same path. */
  move(remote: Endpoint): readonly PolledPeerEffect[] {
    if (this.#state.kind === 'idle') return []
    this.#state = { ...this.#state, remote }
    return [{ kind: 'point', remote }]
  }

  /** What `look` found; `undefined`: the peer is not there. */
  observe(
    counters: PeerCounters | undefined,
    options: { readonly revision: number; readonly moment: PollMoment },
  ): readonly PolledPeerEffect[] {
    const { revision, moment } = options
    if (revision !== this.#revision) return []
    const effects: PolledPeerEffect[] = []
    if (counters === undefined) {
      // Somebody else removed it.
      this.#forget()
      if (this.#state.kind === 'awaiting' || this.#state.kind === 'settled')
        effects.push({ kind: 'point', remote: this.#state.remote })
    } else {
      this.#compare(counters, moment, effects)
      this.#counters = counters
    }
    this.#interpret(moment, effects)
    this.#scheduleLook(moment.now)
    return effects
  }

  /** The counters could not be read. */
  missed(options: { readonly revision: number; readonly now: number }): readonly PolledPeerEffect[] {
    const { revision, now } = options
    if (revision !== this.#revision) return []
    const effects: PolledPeerEffect[] = []
    if (this.#state.kind === 'checking') {
      const { remote } = this.#state
      this.#await(remote, { before: this.#counters.lastHandshake, attempt: undefined, now })
      effects.push({ kind: 'point', remote })
    }
    this.#isLooking = false
    this.#nextLookAt = now + intervals.rest
    return effects
  }

  tick(now: number): readonly PolledPeerEffect[] {
    const effects: PolledPeerEffect[] = []
    const state = this.#state
    const dueAt = state.kind === 'awaiting' ? state.attempt?.retryAt : undefined
    if (state.kind === 'awaiting' && dueAt !== undefined && dueAt <= now) {
      const [next, ...delays] = state.attempt?.delays ?? []
      const retryAt = next === undefined ? undefined : now + this.#retryAfter(next)
      const attempt = { sentAt: now, retryAt, delays, mayCross: true }
      effects.push(...this.#handshake(state.remote, attempt, state.since))
    }
    if (!this.#isLooking && this.#nextLookAt !== undefined && this.#nextLookAt <= now) effects.push(...this.#look())
    return effects
  }

  /** A handshake there has begun, and will begin again by itself. */
  #isUnderWay(remote: Endpoint): boolean {
    const state = this.#state
    if (this.#keyIsNew || state.kind !== 'awaiting' || !sameEndpoint(state.remote, remote)) return false
    return state.attempt?.retryAt !== undefined
  }

  #initiate(remote: Endpoint, now: number): readonly PolledPeerEffect[] {
    const before = this.#state.kind === 'awaiting' ? this.#state.attempt?.sentAt : undefined
    const { retry } = this.#manners
    const [first, ...delays] = retry
    if (before !== undefined && now - before < initiationSpacing) {
      const retryAt = before + initiationSpacing
      const attempt = { sentAt: before, retryAt, delays: retry, mayCross: false }
      this.#await(remote, { before: this.#counters.lastHandshake, attempt, now })
      return [{ kind: 'point', remote }]
    }
    return this.#handshake(remote, { sentAt: now, retryAt: now + this.#retryAfter(first), delays, mayCross: true }, now)
  }

  #handshake(remote: Endpoint, attempt: Attempt, since: number): readonly PolledPeerEffect[] {
    this.#forget()
    this.#keyIsNew = false
    this.#await(remote, { before: undefined, attempt, now: attempt.sentAt, since })
    return [{ kind: 'handshake', remote }]
  }

  #await(
    remote: Endpoint,
    options: {
      readonly before: number | undefined
      readonly attempt: Attempt | undefined
      readonly now: number
      readonly since?: number
    },
  ): void {
    const { before, attempt, now, since = now } = options
    this.#supersede()
    this.#state = { kind: 'awaiting', remote, since, before, attempt }
    this.#scheduleLook(now)
  }

  #look(): readonly PolledPeerEffect[] {
    this.#supersede()
    this.#isLooking = true
    return [{ kind: 'look', revision: this.#revision }]
  }

  /** A look that is under way tells of what was before. */
  #supersede(): void {
    this.#revision++
    this.#isLooking = false
  }

  /** The program begins to count anew. */
  #forget(): void {
    this.#past = {
      receivedBytes: this.#past.receivedBytes + this.#counters.receivedBytes,
      sentBytes: this.#past.sentBytes + this.#counters.sentBytes,
    }
    this.#counters = none
    this.#doubt = undefined
  }

  /** Keeps what the difference to the counters before tells. */
  #compare(counters: PeerCounters, moment: PollMoment, effects: PolledPeerEffect[]): void {
    const { now, wallTime } = moment
    const before = this.#counters
    if (counters.lastHandshake !== undefined && counters.lastHandshake !== before.lastHandshake) {
      this.#lastHandshakeAt = now - Math.max(0, wallTime - counters.lastHandshake)
    }
    const sent = counters.sentBytes - before.sentBytes
    const hasReceived = counters.receivedBytes !== before.receivedBytes
    const hasAsked = sent > 0 && sent !== keepaliveSize
    const lookedAt = this.#lookedAt ?? now
    this.#lookedAt = now
    this.#flows = hasReceived || hasAsked
    if (hasReceived) {
      this.#lastReceivedAt = now
      this.#doubt = undefined
      return
    }
    if (hasAsked) this.#doubt = { ...(this.#doubt ?? { since: lookedAt, seenAt: now }), isOpen: true }
    const doubt = this.#doubt
    if (this.#state.kind !== 'settled' || doubt?.isOpen !== true) return
    if (now - doubt.since < unansweredAfter || now - doubt.seenAt < answerTime) return
    this.#doubt = { since: now, seenAt: now, isOpen: false }
    effects.push({ kind: 'unanswered' })
  }

  #interpret({ now, wallTime }: PollMoment, effects: PolledPeerEffect[]): void {
    const state = this.#state
    const { lastHandshake, endpoint } = this.#counters
    switch (state.kind) {
      case 'idle':
      case 'settled':
        return
      case 'checking': {
        const { remote } = state
        const isNew = lastHandshake !== undefined && wallTime - lastHandshake < earlyHandshake
        effects.push({ kind: 'point', remote })
        if (isNew && endpoint !== undefined && sameEndpoint(endpoint, remote)) this.#settle(remote, effects)
        else this.#await(remote, { before: lastHandshake, attempt: undefined, now })
        return
      }
      case 'awaiting':
        if (lastHandshake !== undefined && lastHandshake !== state.before) this.#settle(state.remote, effects)
        else if (state.attempt?.mayCross === true && this.#counters.receivedBytes > 0) {
          this.#state = { ...state, attempt: this.#crossed(state.attempt, now) }
        }
        return
      default:
        assertNever(state)
    }
  }

  #crossed(attempt: Attempt, now: number): Attempt {
    const { crossed, crossedTrips } = this.#manners
    const pause = Math.max(crossed, crossedTrips * this.#roundTrip)
    return { ...attempt, retryAt: Math.max(now + pause, attempt.sentAt + initiationSpacing), mayCross: false }
  }

  #retryAfter(delay: number): number {
    return Math.max(delay, this.#manners.retryTrips * this.#roundTrip)
  }

  #settle(remote: Endpoint, effects: PolledPeerEffect[]): void {
    this.#state = { kind: 'settled', remote }
    this.#doubt = undefined
    effects.push({ kind: 'established' })
  }

  #scheduleLook(now: number): void {
    this.#isLooking = false
    this.#nextLookAt = now + this.#interval(now)
  }

  #interval(now: number): number {
    if (this.#state.kind === 'awaiting') {
      const waited = now - this.#state.since
      return awaitingIntervals.find(({ until }) => waited < until)?.interval ?? intervals.rest
    }
    if (this.#doubt?.isOpen === true) return intervals.doubt
    return this.#flows ? intervals.flow : intervals.rest
  }
}

/**
 * Finds the largest IP packet that passes a path unbroken, in our direction: Packetization Layer Path MTU Discovery for
 * datagrams (RFC 8899). Pure: it says of which size a probe is due and is told of answers. A probe goes together with a
 * plain check, and only if that was answered does the probe's silence say anything about its size.
 * Left out: ICMP messages (RFC 8899 §4.6: anybody can forge them, and they are often filtered).
 */

import { assertNever } from '../util/assert-never.ts'

// From the specification (RFC 8899 §5.1)

/** MAX_PROBES: so many lost ones of a size mean that it does not pass. */
const maximumProbes = 3
/** PROBE_TIMER: at least 1 s, and longer than an answer takes; ms. */
const minimumProbeTimer = 1000
/** PMTU_RAISE_TIMER: after this larger sizes are tried again, ms. */
const raiseInterval = 600_000
/** BASE_PLPMTU, as the size of an IP packet; below it nothing is searched. */
export const basePacketSize = 1280

// Our choice

/** CONFIRMATION_TIMER: how long a size is believed in without asking again, ms. */
const confirmationInterval = 60_000
/** Sizes of access lines and of tunnels on the way: few, so that the search is short. Multiples of 4, as STUN is. */
const commonSizes = [basePacketSize, 1340, 1400, 1420, 1452, 1480] as const

/** Of one size, repeated when it is lost. */
interface Attempt {
  readonly size: number
  /** `undefined`: not yet. */
  readonly sentAt: number | undefined
  readonly dueAt: number
  /** Those that count. */
  readonly lost: number
  /** The plain check that went with the last one was answered. */
  readonly isAlive: boolean
}

/** RFC 8899 §5.2. `mtu` is what is told: what was found last, until something else is. */
type State =
  /** Base: does the base size pass? */
  | { readonly kind: 'base'; readonly mtu: number | undefined; readonly attempt: Attempt; readonly leapTo: number }
  /** Searching. `leaping`: the first probe after the base goes for the most likely size, once. */
  | {
      readonly kind: 'searching'
      readonly mtu: number | undefined
      readonly confirmed: number
      readonly attempt: Attempt
      readonly leaping: boolean
    }
  /** Search Complete. */
  | {
      readonly kind: 'complete'
      readonly mtu: number
      readonly confirmAt: number
      readonly raiseAt: number
      readonly isDoubted: boolean
    }
  /** Search Complete, and asking whether the size still passes. `isDoubted`: something else looked wrong, too. */
  | {
      readonly kind: 'confirming'
      readonly mtu: number
      readonly attempt: Attempt
      readonly raiseAt: number
      readonly isDoubted: boolean
    }
  /** Error: not even the base size passes. */
  | { readonly kind: 'error'; readonly retryAt: number }

export class PathMtu {
  readonly #sizes: readonly number[]
  readonly #largest: number
  #state: State
  /** Answers to probes from before say nothing any more: the path is another, or has shrunk. */
  #since: number

  /** `largest`: the largest IP packet that anybody wants to send, bytes. */
  constructor(options: { readonly largest: number; readonly now: number }) {
    this.#largest = Math.max(basePacketSize, options.largest - (options.largest % 4))
    this.#sizes = [...commonSizes.filter((size) => size < this.#largest), this.#largest]
    this.#since = options.now
    this.#state = {
      kind: 'base',
      mtu: undefined,
      attempt: attemptOf(basePacketSize, options.now),
      leapTo: this.#largest,
    }
  }

  /** The largest IP packet known to pass, bytes; `undefined` until something was found out, or when even 1280 is cut. */
  get mtu(): number | undefined {
    return this.#state.kind === 'error' ? undefined : this.#state.mtu
  }

  get deadline(): number {
    switch (this.#state.kind) {
      case 'base':
      case 'searching':
      case 'confirming':
        return this.#state.attempt.dueAt
      case 'complete':
        return this.#state.confirmAt
      case 'error':
        return this.#state.retryAt
      default:
        return assertNever(this.#state)
    }
  }

  /** The size of the IP packet to be sent now as a probe, together with a plain check; `roundTrip` in ms. */
  tick(now: number, roundTrip: number | undefined): number | undefined {
    if (now < this.deadline) return undefined
    let state = this.#due(now)
    if ('attempt' in state && state.attempt.sentAt !== undefined && state.attempt.isAlive)
      state = this.#lose(state, now)
    this.#commit(state, now)
    if (!('attempt' in state)) return undefined
    const dueAt = now + Math.max(minimumProbeTimer, 2 * (roundTrip ?? 0))
    this.#state = { ...state, attempt: { ...state.attempt, sentAt: now, dueAt, isAlive: false } }
    return state.attempt.size
  }

  /** A probe was answered, late ones included. */
  answered(probe: { readonly size: number; readonly sentAt: number }, now: number): void {
    if (probe.sentAt < this.#since) return
    const { size } = probe
    const state = this.#state
    switch (state.kind) {
      case 'base':
        this.#state = this.#leap(state, { confirmed: size, now })
        break
      case 'error':
        this.#state = this.#found(size, now)
        break
      case 'searching':
        if (size >= state.attempt.size) this.#state = this.#found(size, now)
        else if (size > state.confirmed) this.#state = { ...state, confirmed: size }
        break
      case 'complete':
        if (size > state.mtu) this.#state = this.#found(size, now)
        break
      case 'confirming':
        if (size < state.attempt.size) break
        if (size > state.attempt.size || now >= state.raiseAt) this.#state = this.#found(size, now)
        else this.#state = completeAt(size, { now, raiseAt: state.raiseAt })
        break
      default:
        assertNever(state)
    }
  }

  /** A plain check that was sent then has been answered. */
  alive(sentAt: number): void {
    const state = this.#state
    if (!('attempt' in state) || state.attempt.sentAt === undefined || sentAt < state.attempt.sentAt) return
    this.#state = { ...state, attempt: { ...state.attempt, isAlive: true } }
  }

  /** Something looks wrong: does the size found still pass? The first silence is believed, until there is an answer. */
  check(now: number): void {
    const state = this.#state
    if (state.kind === 'complete') this.#state = { ...state, confirmAt: now, isDoubted: true }
    else if (state.kind === 'confirming') this.#state = { ...state, isDoubted: true }
    else if (state.kind === 'error') this.#state = { ...state, retryAt: now }
    else if (state.kind === 'searching' && !state.leaping) {
      // The search goes on when that is known.
      const mtu = state.confirmed
      this.#state = { kind: 'confirming', mtu, attempt: attemptOf(mtu, now), raiseAt: now, isDoubted: true }
    }
  }

  /** The path is another one now; most likely as wide as the one before. */
  restart(now: number): void {
    const { mtu } = this
    this.#since = now
    const leapTo = mtu === undefined || mtu === basePacketSize ? this.#largest : mtu
    this.#state = { kind: 'base', mtu, attempt: attemptOf(basePacketSize, now), leapTo }
  }

  /** What there is to do at the deadline, before anything is sent. */
  #due(now: number): State {
    const state = this.#state
    if (state.kind === 'complete') {
      const { mtu, raiseAt, isDoubted } = state
      return { kind: 'confirming', mtu, raiseAt, isDoubted, attempt: attemptOf(mtu, now) }
    }
    if (state.kind === 'error') {
      return { kind: 'base', mtu: undefined, attempt: attemptOf(basePacketSize, now), leapTo: this.#largest }
    }
    return state
  }

  #lose(state: Extract<State, { readonly attempt: Attempt }>, now: number): State {
    const attempt = { ...state.attempt, lost: state.attempt.lost + 1 }
    if (state.kind === 'searching' && state.leaping) return this.#found(state.confirmed, now)
    if (attempt.lost < maximumProbes) {
      // Two signs are enough to be careful until the matter is settled.
      if (state.kind === 'confirming' && state.isDoubted) return { ...state, attempt, mtu: basePacketSize }
      return { ...state, attempt }
    }
    switch (state.kind) {
      case 'base':
        return { kind: 'error', retryAt: now + confirmationInterval }
      case 'searching':
        return completeAt(state.confirmed, { now, raiseAt: now + raiseInterval })
      case 'confirming': {
        // RFC 8899 §4.3: a black hole. Back to the base size until something larger is confirmed.
        if (attempt.size === basePacketSize) return { kind: 'error', retryAt: now + confirmationInterval }
        const mtu = basePacketSize
        return { kind: 'base', mtu, attempt: attemptOf(mtu, now), leapTo: this.#largest }
      }
      default:
        return assertNever(state)
    }
  }

  #commit(state: State, now: number): void {
    const shrunk = this.#state.kind === 'confirming' && (state.kind === 'base' || state.kind === 'error')
    if (shrunk) this.#since = now
    this.#state = state
  }

  /** After the base size: straight to the size that is most likely the one. */
  #leap(
    { mtu, leapTo }: Extract<State, { readonly kind: 'base' }>,
    { confirmed, now }: { readonly confirmed: number; readonly now: number },
  ): State {
    if (leapTo <= confirmed) return this.#found(confirmed, now)
    return { kind: 'searching', mtu, confirmed, attempt: attemptOf(leapTo, now), leaping: true }
  }

  /** This size passes: on to the next one. */
  #found(size: number, now: number): State {
    const next = this.#sizes.find((larger) => larger > size)
    if (next === undefined) return completeAt(size, { now, raiseAt: now + raiseInterval })
    return { kind: 'searching', mtu: size, confirmed: size, attempt: attemptOf(next, now), leaping: false }
  }
}

function completeAt(mtu: number, { now, raiseAt }: { readonly now: number; readonly raiseAt: number }): State {
  return { kind: 'complete', mtu, confirmAt: now + confirmationInterval, raiseAt, isDoubted: false }
}

function attemptOf(size: number, now: number): Attempt {
  return { size, sentAt: undefined, dueAt: now, lost: 0, isAlive: false }
}

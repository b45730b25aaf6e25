/**
 * When to ask whether the peer is still there, and when to believe that it is not: consent freshness (RFC 7675) with
 * numbers of our own. Times only, no messages. The first side probes, the other watches; either way a dead path is
 * known within 5 s of the last sign of life.
 */

import { assertNever } from '../../util/assert-never.ts'

// Our choice, ms. RFC 7675 §5.1 has 5 s and 30 s: a person at a dead tunnel does not wait so long.

/** The controlling side asks when it had no answer for so long. Also keeps NAT mappings (they live 30 s or more). */
const controllingIdle = 3000
/** The controlled side asks only when it heard nothing for so long: one lost probe of the other side fits in. */
const controlledIdle = 3300
/** An unanswered probe is followed by more. */
const quickInterval = 200
/** So many quick probes without a sign of life end the path: 3 + 1.6 s and 3.3 + 1.6 s in all. */
const silenceLimit = 1600
/** If the peer is heard but does not answer, our direction may be dead or just lossy: twice the time to tell. */
const oneWayLimit = 3200

type ConsentState =
  | { readonly kind: 'fresh'; readonly probeAt: number }
  | { readonly kind: 'probing'; readonly since: number; readonly sentAt: number }
  | { readonly kind: 'expired' }

export type ConsentAction =
  | { readonly kind: 'none' }
  | { readonly kind: 'probe' }
  /** Said once. `silence`: ms since the last sign of life; since the last answer, for a peer that is only heard. */
  | { readonly kind: 'expired'; readonly silence: number }

export class Consent {
  readonly #controlling: boolean
  #state: ConsentState
  #answeredAt: number
  #heardAt: number

  /** The path has just been proven in both directions. */
  constructor(options: { readonly controlling: boolean; readonly now: number }) {
    this.#controlling = options.controlling
    this.#answeredAt = options.now
    this.#heardAt = options.now
    this.#state = this.#fresh(options.now)
  }

  get expired(): boolean {
    return this.#state.kind === 'expired'
  }

  get deadline(): number | undefined {
    switch (this.#state.kind) {
      case 'fresh':
        return this.#state.probeAt
      case 'probing':
        return Math.min(this.#state.sentAt + quickInterval, this.#expiresAt(this.#state.since))
      case 'expired':
        return undefined
      default:
        return assertNever(this.#state)
    }
  }

  /** A valid answer to a probe: both directions work. */
  answered(now: number): void {
    if (this.#state.kind === 'expired') return
    this.#answeredAt = now
    this.#heardAt = now
    this.#state = this.#fresh(now)
  }

  /** A valid request: the peer is there and reaches us. */
  heard(now: number): void {
    this.#heardAt = now
    if (this.#state.kind === 'fresh' && !this.#controlling) this.#state = this.#fresh(now)
  }

  /** Ask now and quickly; does nothing while that is going on. */
  check(now: number): ConsentAction {
    if (this.#state.kind !== 'fresh') return { kind: 'none' }
    this.#state = { kind: 'probing', since: now, sentAt: now }
    return { kind: 'probe' }
  }

  tick(now: number): ConsentAction {
    switch (this.#state.kind) {
      case 'fresh':
        return now < this.#state.probeAt ? { kind: 'none' } : this.check(now)
      case 'probing':
        if (now > this.#state.sentAt + 2 * quickInterval) {
          // We slept, not the peer: its answers may still lie in the socket, behind this timer.
          const overslept = now - (this.#state.sentAt + quickInterval)
          this.#state = { ...this.#state, since: this.#state.since + overslept, sentAt: now }
          return { kind: 'probe' }
        }
        if (now >= this.#expiresAt(this.#state.since)) {
          const isHeard = this.#heardAt > this.#state.since
          this.#state = { kind: 'expired' }
          return {
            kind: 'expired',
            silence: now - (isHeard ? this.#answeredAt : Math.max(this.#answeredAt, this.#heardAt)),
          }
        }
        if (now < this.#state.sentAt + quickInterval) return { kind: 'none' }
        this.#state = { ...this.#state, sentAt: now }
        return { kind: 'probe' }
      case 'expired':
        return { kind: 'none' }
      default:
        return assertNever(this.#state)
    }
  }

  #expiresAt(since: number): number {
    return since + (this.#heardAt > since ? oneWayLimit : silenceLimit)
  }

  #fresh(now: number): ConsentState {
    return { kind: 'fresh', probeAt: now + (this.#controlling ? controllingIdle : controlledIdle) }
  }
}

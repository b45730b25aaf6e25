/**
 * Hands each STUN message on the shared socket to the one it is for: requests by the ufrag they name, responses by
 * their transaction id. Keeps one timer for all. What nobody here asked for or answers to is dropped and counted.
 */

import type { Endpoint } from '../api/endpoint.ts'
import type { Clock } from '../util/clock.ts'
import { DeadlineTimer } from '../util/deadline-timer.ts'
import { Counters } from './counters.ts'
import { usernameOf } from './ice/connectivity-check.ts'
import { decodeMessage, type ReceivedStunMessage } from './stun/message.ts'

/** The part of the shared socket that punching needs. */
export interface StunSocket {
  readonly port: number
  send(bytes: Uint8Array, to: Endpoint): void
  /** The same, but rather lost than cut on the way; absent where that cannot be had. */
  readonly sendWhole?: ((bytes: Uint8Array, to: Endpoint) => void) | undefined
  /** `bytes` are valid during the call only. */
  route(kind: 'stun', receiver: (bytes: Uint8Array, from: Endpoint) => void): Disposable
}

/** One punch, one path or one resumption, around its machine. */
export interface StunParty {
  /** Monotonic ms; `undefined` when there is nothing to wait for. */
  readonly deadline: number | undefined
  tick(now: number): void
  /** Whether a request that names this ufrag is for this party. */
  answersTo(ufrag: string): boolean
  /** Whether a response with this transaction id is for this party. */
  claims(transactionId: Uint8Array): boolean
  receive(message: ReceivedStunMessage, from: Endpoint, now: number): void
}

export interface DemultiplexerStats {
  readonly received: number
  readonly parties: number
  readonly dropped: Readonly<Record<string, number>>
}

export class StunDemultiplexer implements Disposable {
  readonly #clock: Clock
  readonly #timer: DeadlineTimer
  readonly #route: Disposable
  readonly #dropped: Counters = new Counters()
  #parties: readonly StunParty[] = []
  #received = 0

  constructor(socket: StunSocket, clock: Clock) {
    this.#clock = clock
    this.#timer = new DeadlineTimer(clock, () => this.#wake())
    this.#route = socket.route('stun', (bytes, from) => this.#receive(bytes, from))
  }

  /** Serves a party until disposed. Of two that answer to the same ufrag the later one is asked. */
  add(party: StunParty): Disposable {
    this.#parties = [party, ...this.#parties]
    this.arm()
    return {
      [Symbol.dispose]: () => {
        this.#parties = this.#parties.filter((one) => one !== party)
        this.arm()
      },
    }
  }

  /** Sets the timer anew: to be called when a party's deadline changed outside `receive` and `tick`. */
  arm(): void {
    const deadlines: number[] = []
    for (const { deadline } of this.#parties) if (deadline !== undefined) deadlines.push(deadline)
    this.#timer.set(deadlines.length === 0 ? undefined : Math.min(...deadlines))
  }

  stats(): DemultiplexerStats {
    return { received: this.#received, parties: this.#parties.length, dropped: this.#dropped.toObject() }
  }

  [Symbol.dispose](): void {
    this.#route[Symbol.dispose]()
    this.#timer[Symbol.dispose]()
    this.#parties = []
  }

  #receive(bytes: Uint8Array, from: Endpoint): void {
    this.#received++
    const message = decodeMessage(bytes)
    const party = message?.fingerprint === 'wrong' ? undefined : message && this.#find(message)
    if (message === undefined || party === undefined) {
      this.#dropped.add(message === undefined ? 'malformed' : dropReason(message))
      return
    }
    party.receive(message, from, this.#clock.now())
    this.arm()
  }

  #find(message: ReceivedStunMessage): StunParty | undefined {
    switch (message.messageClass) {
      case 'request': {
        const ufrag = usernameOf(message)?.local
        return ufrag === undefined ? undefined : this.#parties.find((party) => party.answersTo(ufrag))
      }
      case 'success':
      case 'error':
        return this.#parties.find((party) => party.claims(message.transactionId))
      case 'indication':
        return undefined
    }
  }

  #wake(): void {
    const now = this.#clock.now()
    for (const party of this.#parties) {
      if (party.deadline !== undefined && party.deadline <= now) party.tick(now)
    }
    this.arm()
  }
}

function dropReason(message: ReceivedStunMessage): string {
  if (message.fingerprint === 'wrong') return 'fingerprint'
  return message.messageClass === 'request' ? 'username' : 'unmatched'
}

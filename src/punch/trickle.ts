/**
 * The two ends of the exchange of candidates (RFC 8838) over a channel that may lose messages, be joined late, or
 * bring those of an earlier run: what is said, how often, and what of the peer's is believed. Pure.
 */

import type { PunchCandidate, PunchMessage } from '../api/roles.ts'
import { Counters } from './counters.ts'
import { areCredentials, type IceCredentials } from './ice/credentials.ts'

/**
 * The first repetition, ms; the wait doubles up to the longest. It only mends lost messages: a peer that starts later is
 * told everything at once.
 */
const firstRepetition = 4000
const longestRepetition = 16_000

/** Everything we have said in this generation, to be said again while nothing came of it. */
export class Announcement {
  readonly #messages: PunchMessage[] = []
  #wait: number = firstRepetition
  #deadline: number

  constructor(now: number) {
    this.#deadline = now + firstRepetition
  }

  get deadline(): number {
    return this.#deadline
  }

  /** Remembers what is sent now. */
  add(message: PunchMessage): void {
    this.#messages.push(message)
  }

  /** All of it, for a peer that has just appeared. */
  repeat(): readonly PunchMessage[] {
    return [...this.#messages]
  }

  /** All of it, when nothing happened for long. */
  tick(now: number): readonly PunchMessage[] {
    if (now < this.#deadline) return []
    this.#wait = Math.min(longestRepetition, this.#wait * 2)
    this.#deadline = now + this.#wait
    return this.repeat()
  }
}

export type TrickleEvent =
  /** A new run of the peer: what it said before is void. */
  | { readonly kind: 'description'; readonly credentials: IceCredentials }
  | { readonly kind: 'candidate'; readonly candidate: PunchCandidate }

type PeerState =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'described'; readonly generation: number; readonly ufrag: string; readonly complete: boolean }

/** Candidates that may come before the description they belong to. */
const maximumEarlyCandidates = 32

/** What the peer says, in the order of its generations: the latest one counts. */
export class PeerTrickle {
  readonly #dropped: Counters = new Counters()
  #peer: PeerState = { kind: 'unknown' }
  #early: Extract<PunchMessage, { readonly kind: 'candidate' }>[] = []

  /** Whether the peer has said that no more candidates follow. Nothing waits for it. */
  get complete(): boolean {
    return this.#peer.kind === 'described' && this.#peer.complete
  }

  /** Messages that were not believed, by reason. */
  get dropped(): Readonly<Record<string, number>> {
    return this.#dropped.toObject()
  }

  receive(message: PunchMessage): readonly TrickleEvent[] {
    const known = this.#peer.kind === 'described' ? this.#peer.generation : Number.NEGATIVE_INFINITY
    if (!Number.isSafeInteger(message.generation)) return this.#drop('malformed')
    if (message.generation < known) return this.#drop('older-generation')
    switch (message.kind) {
      case 'description':
        return this.#receiveDescription(message)
      case 'candidate':
        if (message.generation === known) return [{ kind: 'candidate', candidate: message.candidate }]
        if (this.#early.length === maximumEarlyCandidates) return this.#drop('too-many-candidates')
        this.#early.push(message)
        return []
      case 'end-of-candidates':
        if (this.#peer.kind === 'described' && message.generation === known) {
          this.#peer = { ...this.#peer, complete: true }
        }
        return []
    }
  }

  #receiveDescription(message: Extract<PunchMessage, { readonly kind: 'description' }>): readonly TrickleEvent[] {
    const { generation, ufrag, password } = message
    if (!areCredentials({ ufrag, password })) return this.#drop('malformed')
    if (this.#peer.kind === 'described' && this.#peer.generation === generation && this.#peer.ufrag === ufrag) return []
    const early = this.#early.filter((one) => one.generation === generation)
    this.#early = this.#early.filter((one) => one.generation > generation)
    this.#peer = { kind: 'described', generation, ufrag, complete: false }
    return [
      { kind: 'description', credentials: { ufrag, password } },
      ...early.map(({ candidate }): TrickleEvent => ({ kind: 'candidate', candidate })),
    ]
  }

  #drop(reason: string): readonly TrickleEvent[] {
    this.#dropped.add(reason)
    return []
  }
}

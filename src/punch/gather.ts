/**
 * Gathering of server-reflexive candidates (RFC 8445 §5.1.1.2): asks several STUN servers at once from the punching
 * socket. Pure. It gives nothing up while no server has answered: the network may only just be coming up.
 */

import { type Endpoint, sameEndpoint } from '../api/endpoint.ts'
import { toHex } from '../util/bytes.ts'
import type { Random } from '../util/random.ts'
import { Counters } from './counters.ts'
import { findAttribute } from './stun/attributes.ts'
import { stunMethods } from './stun/constants.ts'
import { encodeMessage, type ReceivedStunMessage, unknownRequiredTypes } from './stun/message.ts'
import { Retransmission } from './stun/transaction.ts'

export type GatherEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint }
  | { readonly kind: 'mapped'; readonly server: Endpoint; readonly endpoint: Endpoint }
  /** Every server answered, or one did and the others had their time. Later answers are still told. */
  | { readonly kind: 'finished' }

/**
 * RFC 8489 §6.2.1 has 500 ms for RTO where nothing is known; a person waits here, and a needless repetition costs
 * 28 bytes. Sends at 0, 150, 450, 1050, 2250 ms; failed at 3450 ms.
 */
const retransmission = { rto: 150, rc: 5, rm: 8 } as const
/** For servers that have not answered when another has. */
const gatherTime = 500
/** A round in which no server answered is followed by the next after this. */
const pauseBetweenRounds = 5000

type ServerState =
  | { readonly kind: 'asking'; readonly transactionId: Uint8Array; readonly retransmission: Retransmission }
  | { readonly kind: 'pausing'; readonly until: number }
  | { readonly kind: 'answered' }

interface AskedServer {
  readonly endpoint: Endpoint
  state: ServerState
}

export class Gatherer {
  readonly #random: Random
  readonly #expected: number
  readonly #servers: AskedServer[] = []
  readonly #dropped: Counters = new Counters()
  readonly #startedAt: number
  #finished = false

  /** `expected`: how many servers there are to ask; each is asked as soon as its address is known. */
  constructor(options: { readonly expected: number; readonly random: Random; readonly now: number }) {
    this.#expected = options.expected
    this.#random = options.random
    this.#startedAt = options.now
  }

  get dropped(): Readonly<Record<string, number>> {
    return this.#dropped.toObject()
  }

  get answered(): number {
    return this.#servers.filter(({ state }) => state.kind === 'answered').length
  }

  get deadline(): number | undefined {
    const deadlines: number[] = []
    if (!this.#finished && this.#expected === 0) deadlines.push(this.#startedAt)
    for (const { state } of this.#servers) {
      if (state.kind === 'asking') deadlines.push(state.retransmission.deadline)
      if (state.kind === 'pausing' && !this.#finished) deadlines.push(state.until)
    }
    if (!this.#finished && this.answered > 0) deadlines.push(this.#startedAt + gatherTime)
    return deadlines.length === 0 ? undefined : Math.min(...deadlines)
  }

  /** Asks one more server, now. */
  ask(endpoint: Endpoint, now: number): readonly GatherEffect[] {
    if (this.#servers.some((server) => sameEndpoint(server.endpoint, endpoint))) return []
    this.#servers.push({ endpoint, state: { kind: 'pausing', until: now } })
    return this.tick(now)
  }

  claims(transactionId: Uint8Array): boolean {
    return this.#find(transactionId) !== undefined
  }

  tick(now: number): readonly GatherEffect[] {
    const effects: GatherEffect[] = []
    for (const server of this.#servers) {
      const { state } = server
      if (state.kind === 'pausing' && now >= state.until && !this.#finished) {
        const transactionId = this.#random.bytes(12)
        server.state = { kind: 'asking', transactionId, retransmission: new Retransmission(now, retransmission) }
        effects.push(request(transactionId, server.endpoint))
      }
      if (state.kind !== 'asking') continue
      const due = state.retransmission.tick(now)
      if (due === 'send') effects.push(request(state.transactionId, server.endpoint))
      if (due === 'fail') server.state = { kind: 'pausing', until: now + pauseBetweenRounds }
    }
    return [...effects, ...this.#finish(now)]
  }

  receive(response: ReceivedStunMessage, from: Endpoint, now: number): readonly GatherEffect[] {
    const server = this.#find(response.transactionId)
    if (server === undefined || !sameEndpoint(server.endpoint, from)) return this.#drop('unmatched')
    if (response.messageClass !== 'success' || unknownRequiredTypes(response).length > 0) return this.#drop('refused')
    const endpoint =
      findAttribute(response.attributes, 'xor-mapped-address')?.endpoint ??
      findAttribute(response.attributes, 'mapped-address')?.endpoint
    if (endpoint === undefined || endpoint.port === 0) return this.#drop('incomplete')
    server.state = { kind: 'answered' }
    return [{ kind: 'mapped', server: from, endpoint }, ...this.#finish(now)]
  }

  #finish(now: number): readonly GatherEffect[] {
    const { answered } = this
    const all = answered === this.#expected
    if (this.#finished || !(all || (answered > 0 && now >= this.#startedAt + gatherTime))) return []
    this.#finished = true
    return [{ kind: 'finished' }]
  }

  #find(transactionId: Uint8Array): AskedServer | undefined {
    const id = toHex(transactionId)
    return this.#servers.find(({ state }) => state.kind === 'asking' && toHex(state.transactionId) === id)
  }

  #drop(reason: string): readonly GatherEffect[] {
    this.#dropped.add(reason)
    return []
  }
}

function request(transactionId: Uint8Array, to: Endpoint): GatherEffect {
  const message = { messageClass: 'request', method: stunMethods.Binding, transactionId, attributes: [] } as const
  return { kind: 'send', bytes: encodeMessage(message), to }
}

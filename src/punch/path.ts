/** A path in use (api/roles.ts): the shell around its probe. */

import type { Endpoint } from '../api/endpoint.ts'
import { formatEndpoint } from '../api/endpoint.ts'
import type { SecretKey } from '../api/keys.ts'
import type { Path, PathKind, PathStatus } from '../api/roles.ts'
import type { Clock } from '../util/clock.ts'
import { Listeners } from '../util/listeners.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { StunDemultiplexer, StunParty, StunSocket } from './demultiplexer.ts'
import { resumeAssociation } from './ice/credentials.ts'
import { PathProbe, type ProbeEffect, type ProbeOptions, type ProbeStats } from './probe.ts'
import type { ReceivedStunMessage } from './stun/message.ts'

/** What everything on the shared socket works with. */
export interface PunchTools {
  readonly socket: StunSocket
  readonly demultiplexer: StunDemultiplexer
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** The largest IP packet that anybody wants to send, bytes. */
  readonly largestPacket: number | undefined
}

export class IcePath implements Path {
  readonly lost: Promise<string>
  readonly #tools: PunchTools
  readonly #kind: PathKind
  readonly #controlling: boolean
  readonly #probe: PathProbe
  readonly #moves: Listeners<Endpoint> = new Listeners()
  readonly #registration: Disposable
  #lose: (reason: string) => void = () => {}

  constructor(
    tools: PunchTools,
    options: { readonly kind: PathKind } & Omit<ProbeOptions, 'random' | 'now' | 'largestPacket'>,
  ) {
    this.#tools = tools
    this.#kind = options.kind
    this.#controlling = options.controlling
    const { socket, random, clock, largestPacket } = tools
    // Where a packet cannot be kept from being cut, an answer would say nothing.
    const probed = socket.sendWhole === undefined ? {} : { largestPacket }
    this.#probe = new PathProbe({ ...options, ...probed, random, now: clock.now() })
    this.lost = new Promise((resolve) => {
      this.#lose = resolve
    })
    const probe = this.#probe
    const party: StunParty = {
      get deadline() {
        return probe.deadline
      },
      tick: (now) => this.#run(probe.tick(now)),
      answersTo: (ufrag) => probe.answersTo(ufrag),
      claims: (transactionId) => probe.claims(transactionId),
      receive: (message: ReceivedStunMessage, from, now) => this.#run(probe.receive(message, from, now)),
    }
    this.#registration = tools.demultiplexer.add(party)
  }

  status(): PathStatus {
    const { remote, mapped, roundTrip, mtu } = this.#probe
    return { kind: this.#kind, remote, mapped, roundTrip, mtu }
  }

  /** Our role after repaired conflicts: the controlling side is the one that probes an idle path. */
  get controlling(): boolean {
    return this.#controlling
  }

  subscribe(listener: (remote: Endpoint) => void): Disposable {
    return this.#moves.add(listener)
  }

  check(): void {
    this.#run(this.#probe.check(this.#tools.clock.now()))
    this.#tools.demultiplexer.arm()
  }

  /**
   * Lets the peer come back on this path after it restarted and forgot its credentials: its `Puncher.resume` with the
   * same secret and the other role is answered, and the path goes on under the credentials derived from the secret,
   * at the endpoint the peer now has. Until disposed; a secret that changes is accepted anew and the old one disposed.
   */
  acceptResume(options: { readonly secret: SecretKey; readonly controlling: boolean }): Disposable {
    return this.#probe.accept(resumeAssociation(options))
  }

  stats(): ProbeStats {
    return this.#probe.stats()
  }

  /** The peer is no longer probed or answered. `lost` stays open: the path was given up, not lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#registration[Symbol.dispose]()
  }

  #run(effects: readonly ProbeEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'send':
          if (effect.whole === true) this.#tools.socket.sendWhole?.(effect.bytes, effect.to)
          else this.#tools.socket.send(effect.bytes, effect.to)
          break
        case 'resized':
          this.#tools.logger.info('what passes the path unbroken was found out', { mtu: this.#probe.mtu })
          this.#moves.emit(this.#probe.remote)
          break
        case 'moved':
          this.#tools.logger.info('the path moved', { remote: formatEndpoint(effect.remote) })
          this.#moves.emit(effect.remote)
          break
        case 'lost':
          this.#tools.logger.info('the path was lost', { reason: effect.reason })
          this.#lose(effect.reason)
          break
      }
    }
  }
}

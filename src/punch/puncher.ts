/**
 * The puncher of a device (api/roles.ts): ICE on the shared socket, for any number of peers at once. Opens paths with
 * the help of an exchange of candidates, and resumes earlier ones without.
 */

import { formatEndpoint } from '../api/endpoint.ts'
import { PunchGuardError } from '../api/errors.ts'
import type { HostNetwork } from '../api/network.ts'
import type { Puncher, PunchOptions, ResumeOptions } from '../api/roles.ts'
import type { Clock } from '../util/clock.ts'
import { type Logger, silentLogger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import { type DemultiplexerStats, StunDemultiplexer, type StunSocket } from './demultiplexer.ts'
import { describeFailure, type Failure } from './failure.ts'
import { resumeAssociation } from './ice/credentials.ts'
import { Opening, type StunServer } from './opening.ts'
import { IcePath, type PunchTools } from './path.ts'
import { type ResumeEffect, ResumeProbe } from './resume.ts'

export interface IcePuncherOptions {
  /** The socket that will also carry the tunnel. It is not closed with the puncher. */
  readonly underlay: StunSocket
  readonly host: HostNetwork
  /** Asked all at once; the answer of one is enough. */
  readonly stunServers: readonly StunServer[]
  readonly clock: Clock
  readonly random: Random
  readonly logger?: Logger
  /** The largest IP packet that anybody wants to send, bytes: up to there a path's MTU is looked for. Absent: it is not. */
  readonly largestPacket?: number
}

export class IcePuncher implements Puncher {
  readonly #options: IcePuncherOptions
  readonly #tools: PunchTools
  /** Ends what is under way when the puncher is disposed. */
  readonly #closers: Set<(reason: unknown) => void> = new Set()
  #generation = 0

  constructor(options: IcePuncherOptions) {
    this.#options = options
    const { underlay: socket, clock, random, logger = silentLogger, largestPacket } = options
    this.#tools = { socket, clock, random, logger, largestPacket, demultiplexer: new StunDemultiplexer(socket, clock) }
  }

  /**
   * See `Puncher.open`. A time-out of the signal (`AbortSignal.timeout`, or a PunchGuardError TIMEOUT or PUNCH_NO_PATH as
   * its reason) becomes PUNCH_NO_PATH with what was tried; any other reason is thrown as it is.
   */
  open(punch: PunchOptions): Promise<IcePath> {
    const { host, stunServers } = this.#options
    return this.#run(punch.signal, (succeed) => {
      const opening: Opening = new Opening(this.#tools, {
        host,
        stunServers,
        punch,
        generation: this.#nextGeneration(),
        onSelected: ({ kind, remote, mapped, roundTrip, association, controlling }) =>
          succeed(() => new IcePath(this.#tools, { kind, remote, mapped, roundTrip, association, controlling })),
      })
      return {
        stop: () => opening[Symbol.dispose](),
        explain: () => describeFailure(opening.stats(), { stunServers: stunServers.length }),
      }
    })
  }

  /** See `Puncher.resume`. Failures as in `open`. */
  resume(options: ResumeOptions): Promise<IcePath> {
    const { random, clock, socket, demultiplexer } = this.#tools
    const { controlling, remote } = options
    return this.#run(options.signal, (succeed) => {
      const association = resumeAssociation(options)
      const probe = new ResumeProbe({ association, controlling, remote, random, now: clock.now() })
      const run = (effects: readonly ResumeEffect[]): void => {
        for (const effect of effects) {
          if (effect.kind === 'send') socket.send(effect.bytes, effect.to)
          else succeed(() => new IcePath(this.#tools, { ...effect, kind: 'cached', association, controlling }))
        }
      }
      const registration = demultiplexer.add({
        get deadline() {
          return probe.deadline
        },
        tick: (now) => run(probe.tick(now)),
        answersTo: (ufrag) => ufrag === association.local.ufrag,
        claims: (transactionId) => probe.claims(transactionId),
        receive: (message, from, now) => run(probe.receive(message, from, now)),
      })
      run(probe.tick(clock.now()))
      demultiplexer.arm()
      return {
        stop: () => registration[Symbol.dispose](),
        explain: () => ({
          message: `no answer from ${formatEndpoint(remote)}, where the peer was before, to ${probe.probesSent} probes`,
          hint: 'the peer is off, or has another address now: it is found again through the signal network',
        }),
      }
    })
  }

  stats(): DemultiplexerStats {
    return this.#tools.demultiplexer.stats()
  }

  /** Ends what is under way. Paths that were given out fall silent. */
  async [Symbol.asyncDispose](): Promise<void> {
    const hint = 'it is closed when the device stops'
    for (const close of [...this.#closers]) {
      close(new PunchGuardError('PUNCH_NO_PATH', 'the puncher was closed', { hint }))
    }
    this.#tools.demultiplexer[Symbol.dispose]()
  }

  /**
   * One attempt: `start` begins it and is given what to call with the path. It ends with the path, the abort of
   * `signal` or the puncher.
   */
  #run(
    signal: AbortSignal,
    start: (succeed: (createPath: () => IcePath) => void) => {
      readonly stop: () => void
      readonly explain: () => Failure
    },
  ): Promise<IcePath> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason)
        return
      }
      let ended = false
      let attempt: ReturnType<typeof start> | undefined
      const end = (): void => {
        ended = true
        attempt?.stop()
        signal.removeEventListener('abort', abort)
        this.#closers.delete(close)
      }
      const close = (reason: unknown): void => {
        end()
        reject(reason)
      }
      const abort = (): void => {
        close(attempt === undefined ? signal.reason : failureOf(signal.reason, attempt.explain))
      }
      attempt = start((createPath) => {
        end()
        resolve(createPath())
      })
      // A network without delay may have answered already.
      if (ended) {
        attempt.stop()
        return
      }
      signal.addEventListener('abort', abort, { once: true })
      this.#closers.add(close)
    })
  }

  /**
   * Larger than any before, also of this device's earlier lives, so that a peer can tell what is old: seconds of wall
   * time, or the next number when there are two in a second.
   */
  #nextGeneration(): number {
    this.#generation = Math.max(this.#generation + 1, Math.floor(this.#tools.clock.wallTime() / 1000))
    return this.#generation
  }
}

/** What an abort is reported as: the caller's own reason, unless that is only that time is up. */
function failureOf(reason: unknown, explain: () => Failure): unknown {
  const ours = reason instanceof PunchGuardError && (reason.code === 'TIMEOUT' || reason.code === 'PUNCH_NO_PATH')
  if (!ours && !(reason instanceof Error && reason.name === 'TimeoutError')) return reason
  const { message, hint } = explain()
  const text = `${ours ? reason.message : 'no path to the peer'}: ${message}`
  return new PunchGuardError('PUNCH_NO_PATH', text, { hint, cause: reason })
}

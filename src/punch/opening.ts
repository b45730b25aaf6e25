/**
 * One `Puncher.open`: ties the agent, the gathering and the exchange with the peer together until a pair is selected.
 * The shell around three machines; it decides nothing about checks.
 */

import { type Endpoint, formatEndpoint, sameEndpoint } from '../api/endpoint.ts'
import { errorMessage } from '../api/errors.ts'
import type { HostNetwork } from '../api/network.ts'
import type { PunchCandidate, PunchMessage, PunchOptions } from '../api/roles.ts'
import { delay } from '../util/clock.ts'
import { runInBackground } from '../util/run-in-background.ts'
import type { StunParty } from './demultiplexer.ts'
import { type GatherEffect, Gatherer } from './gather.ts'
import { type AgentEffect, type AgentStats, IceAgent, type Selection } from './ice/agent.ts'
import { hostCandidate, serverReflexiveCandidate } from './ice/candidate.ts'
import { randomCredentials } from './ice/credentials.ts'
import type { PunchTools } from './path.ts'
import type { ReceivedStunMessage } from './stun/message.ts'
import { Announcement, PeerTrickle } from './trickle.ts'

export interface StunServer {
  /** A name or an address. */
  readonly host: string
  readonly port: number
}

export interface OpeningOptions {
  readonly host: HostNetwork
  readonly stunServers: readonly StunServer[]
  readonly generation: number
  readonly punch: PunchOptions
  readonly onSelected: (selection: Selection) => void
}

/** Enough for any device; a machine full of bridges does not make the peer check them all. */
const maximumHostCandidates = 12
/** A name that does not resolve is tried again after this, ms. */
const resolveInterval = 3000

/** What happened so far, for the person who waits. */
export interface OpeningStats extends AgentStats {
  readonly reflexiveCandidates: number
  readonly stunAnswers: number
  readonly peerDescribed: boolean
  readonly peerDropped: Readonly<Record<string, number>>
}

export class Opening implements Disposable {
  readonly #tools: PunchTools
  readonly #options: OpeningOptions
  readonly #agent: IceAgent
  readonly #announcement: Announcement
  readonly #peer: PeerTrickle = new PeerTrickle()
  readonly #ufrag: string
  readonly #ours: PunchCandidate[] = []
  readonly #resources: Disposable[] = []
  readonly #ended: AbortController = new AbortController()
  #gatherer: Gatherer | undefined
  #peerDescribed = false

  constructor(tools: PunchTools, options: OpeningOptions) {
    const now = tools.clock.now()
    const credentials = randomCredentials(tools.random)
    this.#tools = tools
    this.#options = options
    this.#ufrag = credentials.ufrag
    this.#agent = new IceAgent({ credentials, controlling: options.punch.controlling, random: tools.random })
    this.#announcement = new Announcement(now)
    this.#resources.push(
      tools.demultiplexer.add(this.#party()),
      options.punch.exchange.subscribe((message) => this.#receiveFromPeer(message)),
      options.host.watch(() => this.#gather()),
    )
    this.#say({ kind: 'description', generation: options.generation, ...credentials })
    this.#gather()
  }

  stats(): OpeningStats {
    return {
      ...this.#agent.stats(),
      reflexiveCandidates: this.#ours.filter(({ kind }) => kind === 'server-reflexive').length,
      stunAnswers: this.#gatherer?.answered ?? 0,
      peerDescribed: this.#peerDescribed,
      peerDropped: this.#peer.dropped,
    }
  }

  [Symbol.dispose](): void {
    this.#ended.abort()
    for (const resource of this.#resources) resource[Symbol.dispose]()
  }

  #party(): StunParty {
    const deadline = (): number | undefined => {
      const deadlines = [this.#agent.deadline, this.#gatherer?.deadline, this.#announcement.deadline]
      return Math.min(...deadlines.filter((one) => one !== undefined))
    }
    return {
      get deadline() {
        return deadline()
      },
      tick: (now) => this.#tick(now),
      answersTo: (ufrag) => ufrag === this.#ufrag,
      claims: (transactionId) => this.#agent.claims(transactionId) || this.#gatherer?.claims(transactionId) === true,
      receive: (message, from, now) => this.#receive(message, from, now),
    }
  }

  #tick(now: number): void {
    for (const message of this.#announcement.tick(now)) this.#options.punch.exchange.send(message)
    this.#runGatherer(this.#gatherer?.tick(now) ?? [])
    this.#runAgent(this.#agent.tick(now))
  }

  #receive(message: ReceivedStunMessage, from: Endpoint, now: number): void {
    if (this.#gatherer?.claims(message.transactionId) === true && message.messageClass !== 'request') {
      this.#runGatherer(this.#gatherer.receive(message, from, now))
    } else {
      this.#runAgent(this.#agent.receive(message, from, now))
    }
  }

  #receiveFromPeer(message: PunchMessage): void {
    const now = this.#tools.clock.now()
    for (const event of this.#peer.receive(message)) {
      if (event.kind === 'candidate') {
        this.#runAgent(this.#agent.addRemoteCandidate(event.candidate, now))
        continue
      }
      this.#peerDescribed = true
      // The peer has just begun, maybe after we spoke: it is told everything again, once for each of its runs.
      for (const own of this.#announcement.repeat()) this.#options.punch.exchange.send(own)
      this.#runAgent(this.#agent.setRemote(event.credentials, now))
    }
    this.#tools.demultiplexer.arm()
  }

  /** Host candidates now, server-reflexive ones when the servers answer. Again whenever the host's network changes. */
  #gather(): void {
    const { host, stunServers } = this.#options
    const addresses = host.localAddresses().slice(0, maximumHostCandidates)
    for (const [index, address] of addresses.entries()) {
      this.#offer(hostCandidate({ address, port: this.#tools.socket.port }, index))
    }
    const gatherer = new Gatherer({
      expected: stunServers.length,
      random: this.#tools.random,
      now: this.#tools.clock.now(),
    })
    this.#gatherer = gatherer
    for (const server of stunServers) {
      runInBackground(this.#ask(server, gatherer), (error) => {
        if (this.#ended.signal.aborted) return
        this.#tools.logger.warn('a STUN server could not be asked', { server: server.host, error: errorMessage(error) })
      })
    }
    this.#tools.demultiplexer.arm()
  }

  /** Names are tried until they resolve: at the start of a day the network is often up before its name servers. */
  async #ask(server: StunServer, gatherer: Gatherer): Promise<void> {
    const { clock, demultiplexer } = this.#tools
    while (this.#gatherer === gatherer) {
      const address = await this.#options.host.resolve(server.host)
      if (this.#ended.signal.aborted || this.#gatherer !== gatherer) return
      if (address !== undefined) {
        this.#runGatherer(gatherer.ask({ address, port: server.port }, clock.now()))
        demultiplexer.arm()
        return
      }
      await delay(clock, resolveInterval, this.#ended.signal)
    }
  }

  #runGatherer(effects: readonly GatherEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'send':
          this.#tools.socket.send(effect.bytes, effect.to)
          break
        case 'mapped': {
          const index = this.#ours.filter(({ kind }) => kind === 'server-reflexive').length
          this.#offer(serverReflexiveCandidate(effect.endpoint, effect.server, index))
          break
        }
        case 'finished':
          this.#say({ kind: 'end-of-candidates', generation: this.#options.generation })
          break
      }
    }
  }

  #runAgent(effects: readonly AgentEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'send':
          this.#tools.socket.send(effect.bytes, effect.to)
          break
        case 'selected':
          this.#tools.logger.info('a pair was selected', {
            kind: effect.selection.kind,
            remote: formatEndpoint(effect.selection.remote),
            roundTrip: Math.round(effect.selection.roundTrip),
          })
          this.#options.onSelected(effect.selection)
          break
      }
    }
  }

  /** A server-reflexive candidate equal to a host candidate says nothing new (RFC 8445 §5.1.3). */
  #offer(candidate: PunchCandidate): void {
    if (this.#ours.some(({ endpoint }) => sameEndpoint(endpoint, candidate.endpoint))) return
    this.#ours.push(candidate)
    this.#agent.addLocalCandidate(candidate)
    this.#say({ kind: 'candidate', generation: this.#options.generation, candidate })
  }

  #say(message: PunchMessage): void {
    this.#announcement.add(message)
    this.#options.punch.exchange.send(message)
  }
}

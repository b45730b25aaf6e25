/** A closed Tox network of our own nodes on the simulated internet, and devices on it; for tests in virtual time. */

import { SecretKey } from '../../src/api/keys.ts'
import type { SignalChannel, SignalEvent } from '../../src/api/roles.ts'
import type { BootstrapNode } from '../../src/api/servers.ts'
import { ToxNetwork } from '../../src/signal/tox/tox-network-shell.ts'
import { ToxNode } from '../../src/signal/tox/tox-node-shell.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { SeededRandom } from '../network/seeded-random.ts'
import {
  type SimulatedHost,
  SimulatedInternet,
  type SimulatedSite,
  type SimulatedSiteOptions,
} from '../network/simulated-internet.ts'
import { VirtualClock } from '../network/virtual-clock.ts'

/** One way from a host to the middle of the internet, ms: 60 ms from host to host and back. */
const delay = 15

export class ToxDevice {
  readonly network: ToxNetwork
  /** When this device was started, virtual ms. */
  readonly startedAt: number
  readonly #world: ToxWorld

  constructor(world: ToxWorld, network: ToxNetwork) {
    this.#world = world
    this.network = network
    this.startedAt = world.clock.now()
  }

  /** A channel to the other device that writes down what it says. */
  open(address: string, introduction?: string): ToxLine {
    const channel = this.network.open(address, introduction === undefined ? {} : { introduction })
    return new ToxLine(channel, () => this.#world.clock.now())
  }

  get publicKey(): string {
    return this.network.address.slice(0, 64)
  }
}

export class ToxLine {
  readonly channel: SignalChannel
  readonly events: (SignalEvent & { readonly at: number })[] = []

  constructor(channel: SignalChannel, now: () => number) {
    this.channel = channel
    channel.subscribe((event) => this.events.push({ ...event, at: now() }))
  }

  get texts(): readonly string[] {
    return this.events.flatMap((event) => (event.kind === 'text' ? [event.text] : []))
  }

  count(kind: SignalEvent['kind']): number {
    return this.events.filter((event) => event.kind === kind).length
  }
}

export class ToxWorld implements AsyncDisposable {
  readonly clock: VirtualClock = new VirtualClock()
  readonly random: SeededRandom
  readonly internet: SimulatedInternet
  readonly nodes: ToxNode[] = []
  bootstrap: readonly BootstrapNode[] = []
  readonly #open: AsyncDisposable[] = []

  private constructor(seed: string) {
    this.random = new SeededRandom(seed)
    this.internet = new SimulatedInternet({ clock: this.clock, seed })
  }

  /** So many public nodes that know each other. */
  static async create(options: { readonly seed: string; readonly nodes: number }): Promise<ToxWorld> {
    const world = new ToxWorld(options.seed)
    for (let i = 0; i < options.nodes; i++) await world.#addNode(`203.0.113.${i + 1}`)
    await world.clock.advance(5_000)
    return world
  }

  /** A site whose line has a few milliseconds of jitter and loses one packet in a hundred. */
  site(site: Partial<SimulatedSiteOptions> & Pick<SimulatedSiteOptions, 'kind'>): SimulatedSite {
    return this.internet.site({ hosts: 1, link: { delay, jitter: 8, loss: 0.01 }, ...site })
  }

  async device(host: SimulatedHost, identity: { readonly seed: string }): Promise<ToxDevice> {
    const keys = new SeededRandom(identity.seed)
    const network = await ToxNetwork.open({
      host,
      clock: this.clock,
      random: this.random.fork(identity.seed),
      logger: silentLogger,
      secretKey: new SecretKey(keys.bytes(32)),
      nospam: keys.bytes(4),
      bootstrap: this.bootstrap,
    })
    this.#open.push(network)
    return new ToxDevice(this, network)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of this.#open.reverse()) await part[Symbol.asyncDispose]()
  }

  async #addNode(address: string): Promise<void> {
    const node = await ToxNode.open({
      host: this.internet.publicHost(address, { link: { delay } }),
      clock: this.clock,
      random: this.random.fork(address),
      secretKey: new SecretKey(this.random.bytes(32)),
      bootstrap: this.bootstrap,
      port: 33_445,
    })
    this.#open.push(node)
    this.nodes.push(node)
    this.bootstrap = [...this.bootstrap, { host: address, udp: 33_445, tcp: [], key: node.publicKey }]
  }
}

export function firstHost(site: SimulatedSite): SimulatedHost {
  const [host] = site.hosts
  if (host === undefined) throw new Error('This site has no host')
  return host
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

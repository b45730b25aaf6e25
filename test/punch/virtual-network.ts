/** A small internet for punch tests: hosts, NATs by RFC 4787, delay, loss, reordering, duplicates. Compact on purpose. */

import { type Endpoint, formatEndpoint } from '../../src/api/endpoint.ts'
import type { HostNetwork } from '../../src/api/network.ts'
import type { PunchExchange, PunchMessage } from '../../src/api/roles.ts'
import type { StunSocket } from '../../src/punch/demultiplexer.ts'
import { answerBindingRequest } from '../../src/punch/stun/server.ts'
import { Listeners } from '../../src/util/listeners.ts'
import { type HandClock, seededRandom } from './hand-clock.ts'

/** RFC 4787 §4.1 and §5. */
export type Dependence = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'

export interface NatBehaviour {
  readonly mapping: Dependence
  readonly filtering: Dependence
}

export interface Weather {
  /** One way, ms. */
  readonly delay: number
  /** 0..1 */
  readonly loss?: number
  readonly duplicates?: number
  /** Random extra delay, ms: packets overtake one another. */
  readonly jitter?: number
}

type Receiver = (bytes: Uint8Array, from: Endpoint) => void

function part(of: Endpoint, dependence: Dependence): string {
  if (dependence === 'endpoint-independent') return ''
  return dependence === 'address-dependent' ? of.address : formatEndpoint(of)
}

/** One inside host, one outside address. Mappings never time out; they change when told. */
class Nat {
  readonly #behaviour: NatBehaviour
  /** By inside port and the part of the destination the mapping depends on. */
  readonly #mappings: Map<string, { readonly insidePort: number; readonly port: number }> = new Map()
  readonly #sentTo: Set<string> = new Set()
  #nextPort: number

  constructor(behaviour: NatBehaviour, firstPort: number) {
    this.#behaviour = behaviour
    this.#nextPort = firstPort
  }

  outbound(insidePort: number, to: Endpoint): number {
    const key = `${insidePort} ${part(to, this.#behaviour.mapping)}`
    let mapping = this.#mappings.get(key)
    if (mapping === undefined) {
      mapping = { insidePort, port: this.#nextPort }
      this.#nextPort += 7
      this.#mappings.set(key, mapping)
    }
    this.#sentTo.add(`${mapping.port} ${part(to, this.#behaviour.filtering)}`)
    return mapping.port
  }

  /** The inside port, `undefined` when filtered. */
  inbound(port: number, from: Endpoint): number | undefined {
    if (!this.#sentTo.has(`${port} ${part(from, this.#behaviour.filtering)}`)) return undefined
    return [...this.#mappings.values()].find((mapping) => mapping.port === port)?.insidePort
  }

  /** Forgets everything; the next packet makes a new mapping. */
  rebind(): void {
    this.#mappings.clear()
    this.#sentTo.clear()
  }
}

export class VirtualHost implements StunSocket {
  readonly port: number = 41_641
  readonly address: string
  /** What left this host, decoded by nobody. */
  sent = 0
  /** Nothing passes any more, in either direction. */
  unplugged = false
  readonly host: HostNetwork
  readonly outsideAddress: string
  readonly nat: Nat | undefined
  readonly #network: VirtualNetwork
  #receiver: Receiver | undefined
  #changed: () => void = () => {}

  constructor(
    network: VirtualNetwork,
    options: { readonly index: number; readonly behaviour?: NatBehaviour | undefined },
  ) {
    const { index, behaviour } = options
    this.#network = network
    this.outsideAddress = `203.0.113.${index}`
    this.nat = behaviour && new Nat(behaviour, 20_000 + 1000 * index)
    this.address = behaviour === undefined ? this.outsideAddress : `192.168.${index}.10`
    this.host = {
      bindUdp: () => Promise.reject(new Error('not in this network')),
      localAddresses: () => [this.address],
      resolve: async (name) => (name === 'unknown.example' ? undefined : name),
      watch: (listener) => {
        this.#changed = listener
        return { [Symbol.dispose]: () => this.#unwatch() }
      },
    }
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    this.sent++
    if (this.unplugged) return
    const port = this.nat === undefined ? this.port : this.nat.outbound(this.port, to)
    this.#network.carry(bytes.slice(), { from: { address: this.outsideAddress, port }, to })
  }

  route(_kind: 'stun', receiver: Receiver): Disposable {
    this.#receiver = receiver
    return { [Symbol.dispose]: () => this.#unroute() }
  }

  /** A datagram at our outside address. */
  arrive(bytes: Uint8Array, way: { readonly from: Endpoint; readonly to: Endpoint }): void {
    const port = this.nat === undefined ? way.to.port : this.nat.inbound(way.to.port, way.from)
    if (port === this.port && !this.unplugged) this.#receiver?.(bytes, way.from)
  }

  networkChanged(): void {
    this.#changed()
  }

  #unwatch(): void {
    this.#changed = () => {}
  }

  #unroute(): void {
    this.#receiver = undefined
  }
}

export const stunServer: Endpoint = { address: '198.51.100.1', port: 3478 }
export const secondStunServer: Endpoint = { address: '198.51.100.2', port: 3478 }

export class VirtualNetwork {
  readonly clock: HandClock
  weather: Weather
  /** Datagrams that were put on the wire. */
  carried = 0
  /** Called with every datagram; false drops it. */
  pass: (bytes: Uint8Array, way: { readonly from: Endpoint; readonly to: Endpoint }) => boolean = () => true
  readonly #hosts: Map<string, VirtualHost> = new Map()
  readonly #random: ReturnType<typeof seededRandom>

  constructor(clock: HandClock, options: { readonly seed?: number; readonly weather?: Weather } = {}) {
    this.clock = clock
    this.weather = options.weather ?? { delay: 20 }
    this.#random = seededRandom(options.seed ?? 1)
  }

  addHost(behaviour?: NatBehaviour): VirtualHost {
    const host = new VirtualHost(this, { index: this.#hosts.size + 1, behaviour })
    this.#hosts.set(host.outsideAddress, host)
    return host
  }

  carry(bytes: Uint8Array, way: { readonly from: Endpoint; readonly to: Endpoint }): void {
    this.carried++
    if (!this.pass(bytes, way)) return
    const { delay, loss = 0, duplicates = 0, jitter = 0 } = this.weather
    const copies = this.#random.number() < duplicates ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      if (this.#random.number() < loss) continue
      this.clock.after(delay + this.#random.number() * jitter, () => this.#deliver(bytes, way))
    }
  }

  #deliver(bytes: Uint8Array, way: { readonly from: Endpoint; readonly to: Endpoint }): void {
    const { from, to } = way
    if (to.address.startsWith('198.51.100.')) {
      const answer = answerBindingRequest(bytes, from)
      if (answer !== undefined) this.carry(answer, { from: to, to: from })
      return
    }
    this.#hosts.get(to.address)?.arrive(bytes, way)
  }
}

/** One end of a signal channel. What comes while nobody listens is lost. */
export class VirtualExchange implements PunchExchange {
  readonly heard: PunchMessage[] = []
  peer: VirtualExchange | undefined
  /** Loses the messages it is true for. */
  loses: (message: PunchMessage) => boolean = () => false
  sent = 0
  readonly #clock: HandClock
  readonly #delay: number
  readonly #listeners: Listeners<PunchMessage> = new Listeners()

  constructor(clock: HandClock, delay: number) {
    this.#clock = clock
    this.#delay = delay
  }

  send(message: PunchMessage): void {
    this.sent++
    if (this.loses(message)) return
    this.#clock.after(this.#delay, () => this.peer?.deliver(message))
  }

  deliver(message: PunchMessage): void {
    this.heard.push(message)
    this.#listeners.emit(message)
  }

  subscribe(listener: (message: PunchMessage) => void): Disposable {
    return this.#listeners.add(listener)
  }
}

export function exchangePair(clock: HandClock, delay: number): readonly [VirtualExchange, VirtualExchange] {
  const pair = [new VirtualExchange(clock, delay), new VirtualExchange(clock, delay)] as const
  pair[0].peer = pair[1]
  pair[1].peer = pair[0]
  return pair
}

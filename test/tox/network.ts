/**
 * A small internet in virtual time for the Tox machines: nodes behind endpoints in a map, seeded delay and loss, and NATs
 * with address-and-port-dependent filtering whose mapping a test can change. No timers, no sockets.
 */

import { createHash } from 'node:crypto'
import { type Endpoint, formatEndpoint } from '../../src/api/endpoint.ts'
import { createKeyPair, type DhtPublicKey, type KeyPair, type LongTermPublicKey } from '../../src/signal/tox/crypto.ts'
import { type DhtEffect, DhtNode } from '../../src/signal/tox/dht/dht-node.ts'
import { AnnounceStore } from '../../src/signal/tox/onion/announce-store.ts'
import { OnionClient, type OnionEffect } from '../../src/signal/tox/onion/onion-client.ts'
import { OnionRelay } from '../../src/signal/tox/onion/onion-relay.ts'
import type { NodeContact } from '../../src/signal/tox/packed-node.ts'
import {
  decodeAnnounceRequest,
  decodeAnnounceRequestPlain,
  encodeAnnounceResponse,
  encodeAnnounceResponsePlain,
} from '../../src/signal/tox/packets/announce.ts'
import { encodeOnionResponse } from '../../src/signal/tox/packets/onion-layers.ts'
import { PeerBox } from '../../src/signal/tox/peer-box.ts'
import { type Nospam, nospamOf } from '../../src/signal/tox/tox-id.ts'
import { equalBytes } from '../../src/util/bytes.ts'
import type { Random } from '../../src/util/random.ts'

/** The same bytes for the same seed. */
export function seededRandom(seed: string): Random {
  let count = 0
  return {
    bytes(length) {
      const bytes = new Uint8Array(length)
      for (let at = 0; at < length; at += 64) {
        const block = createHash('sha512').update(`${seed} ${count}`).digest()
        bytes.set(block.subarray(0, Math.min(64, length - at)), at)
        count += 1
      }
      return bytes
    },
  }
}

/** A quick generator in [0, 1) for loss and delay. */
function seededNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export interface HostOptions {
  /** Behind a NAT: only who was sent something from the present mapping may send here. */
  readonly nat?: boolean
  /** An address from a private range, reachable by all on this test network. */
  readonly address?: string
  /** Packets this host drops instead of carrying them, 0..1, as a bad onion hop would. */
  readonly dropsOnion?: number
  /** A restart: the same long-term key and nospam as before. */
  readonly restartOf?: Host
  /** With a long-term key, friends and announces. */
  readonly client?: boolean
}

export type Event = { readonly at: number } & Exclude<
  DhtEffect | OnionEffect,
  { kind: 'send' | 'route' | 'routed-dht-key' }
>

export class Host {
  readonly dht: DhtNode
  readonly relay: OnionRelay
  readonly store: AnnounceStore
  readonly onion: OnionClient | undefined
  readonly keyPair: KeyPair<LongTermPublicKey>
  readonly nospam: Nospam
  readonly nat: boolean
  readonly dropsOnion: number
  endpoint: Endpoint
  /** Endpoints that may send to us through the NAT. */
  opened: Set<string> = new Set()
  alive = true
  readonly events: Event[] = []
  readonly #box: PeerBox
  /** Whose data key it makes up when it is asked for it. */
  victim: Host | undefined
  lies = 0
  packetsSent = 0
  bytesSent = 0

  constructor(endpoint: Endpoint, options: HostOptions, random: Random) {
    const dhtKeyPair = createKeyPair<DhtPublicKey>(random)
    const box = new PeerBox({ secretKey: dhtKeyPair.secretKey })
    this.#box = box
    this.endpoint = endpoint
    this.nat = options.nat ?? false
    this.dropsOnion = options.dropsOnion ?? 0
    this.keyPair = options.restartOf?.keyPair ?? createKeyPair<LongTermPublicKey>(random)
    this.nospam = options.restartOf?.nospam ?? nospamOf(random.bytes(4))!
    this.dht = new DhtNode({ keyPair: dhtKeyPair, box, random })
    this.relay = new OnionRelay({ box, random })
    this.store = new AnnounceStore({ publicKey: dhtKeyPair.publicKey, box, random, dht: this.dht })
    const { keyPair, nospam, dht } = this
    if (options.client) this.onion = new OnionClient({ keyPair, dhtKeyPair, dhtBox: box, nospam, random, dht })
  }

  /** The answer of a storing node that claims to hold its victim under another data key. */
  lie(bytes: Uint8Array, from: Endpoint, now: number): DhtEffect[] | undefined {
    const request = decodeAnnounceRequest(bytes)
    const opened = request && this.#box.open(request.sender, request, now)
    const plain = opened && decodeAnnounceRequestPlain(opened)
    if (this.victim === undefined || plain === undefined || request === undefined) return undefined
    if (!equalBytes(plain.searched, this.victim.keyPair.publicKey) || equalBytes(plain.searched, request.sender)) return
    const nonce = new Uint8Array(24).fill(++this.lies)
    const answer = encodeAnnounceResponsePlain({ flag: 1, id: this.dht.publicKey, nodes: [] })
    const boxed = this.#box.seal(request.sender, nonce, answer)
    if (boxed === undefined) return undefined
    const reply = encodeAnnounceResponse({ sendback: plain.sendback, nonce, boxed })
    return [{ kind: 'send', bytes: encodeOnionResponse({ hops: 3, returnPath: request.returnPath, reply }), to: from }]
  }

  get contact(): NodeContact {
    return { publicKey: this.dht.publicKey, endpoint: this.endpoint }
  }

  get deadline(): number {
    return Math.min(this.dht.deadline ?? Number.POSITIVE_INFINITY, this.onion?.deadline ?? Number.POSITIVE_INFINITY)
  }
}

interface Flight {
  readonly at: number
  readonly order: number
  readonly from: Endpoint
  readonly to: Endpoint
  readonly bytes: Uint8Array
}

export interface NetworkOptions {
  readonly seed: number
  /** One way, ms, in each direction: from..from + spread. */
  readonly delay?: number
  readonly spread?: number
  readonly loss?: number
}

export class Network {
  now = 0
  /** Wall time at now = 0, ms. */
  readonly wallStart: number = 1_800_000_000_000
  readonly hosts: Host[] = []
  readonly #options: NetworkOptions
  readonly #chance: () => number
  readonly #flights: Flight[] = []
  readonly #byEndpoint: Map<string, Host> = new Map()
  #order = 0
  #addresses = 0
  loss: number
  /** Sees every datagram as it is sent. */
  tap: ((bytes: Uint8Array, from: Endpoint, to: Endpoint) => void) | undefined

  constructor(options: NetworkOptions) {
    this.#options = options
    this.#chance = seededNumbers(options.seed)
    this.loss = options.loss ?? 0
  }

  add(options: HostOptions = {}): Host {
    const endpoint = options.address === undefined ? this.#fresh() : { address: options.address, port: 33_445 }
    const host = new Host(endpoint, options, seededRandom(`${this.#options.seed} ${this.hosts.length}`))
    this.hosts.push(host)
    this.#byEndpoint.set(formatEndpoint(endpoint), host)
    return host
  }

  /** Gives the host another public endpoint, as when its NAT forgets the mapping: nothing sent to the old one arrives. */
  rebind(host: Host): void {
    this.#byEndpoint.delete(formatEndpoint(host.endpoint))
    host.endpoint = this.#fresh()
    host.opened = new Set()
    this.#byEndpoint.set(formatEndpoint(host.endpoint), host)
  }

  /** Sends raw bytes, as anybody could. */
  inject(bytes: Uint8Array, from: Endpoint, to: Host): void {
    this.carry(to, (now) => this.#dispatch(to, bytes, from, now))
  }

  /** Runs until `until` (ms) or until `done` is true. Says whether `done` came true. */
  run(until: number, done: () => boolean = () => false): boolean {
    for (;;) {
      if (done()) return true
      const flight = this.#flights[0]
      let at = flight?.at ?? Number.POSITIVE_INFINITY
      let waking: Host | undefined
      for (const host of this.hosts) {
        if (host.alive && host.deadline < at) {
          at = host.deadline
          waking = host
        }
      }
      if (at > until) {
        this.now = Math.max(this.now, until)
        return done()
      }
      this.now = Math.max(this.now, at)
      if (waking !== undefined) this.tick(waking)
      else if (flight !== undefined) this.#deliver(flight)
    }
  }

  /** A machine must have done what was due: a deadline that stays in the past would be a busy loop. */
  tick(host: Host): void {
    for (let round = 0; round < 3; round += 1) {
      this.carry(host, (now) => [...host.dht.tick(now), ...(host.onion?.tick(now, this.wallStart + now) ?? [])])
      if (host.deadline > this.now) return
    }
    throw new Error(`After three ticks at ${this.now} the deadline is still ${host.deadline}`)
  }

  #deliver(flight: Flight): void {
    this.#flights.shift()
    const host = this.#byEndpoint.get(formatEndpoint(flight.to))
    if (host === undefined || !host.alive) return
    if (host.nat && !host.opened.has(formatEndpoint(flight.from))) return
    if ((flight.bytes[0] ?? 0) >= 0x80 && this.#chance() < host.dropsOnion) return
    this.carry(host, (now) => this.#dispatch(host, flight.bytes, flight.from, now))
  }

  #dispatch(host: Host, bytes: Uint8Array, from: Endpoint, now: number): readonly (DhtEffect | OnionEffect)[] {
    const kind = bytes[0] ?? 0
    if (DhtNode.handles(kind)) return host.dht.receive(bytes, from, now)
    if (OnionRelay.handles(kind)) return host.relay.receive(bytes, from, now)
    if (AnnounceStore.handles(kind)) return host.lie(bytes, from, now) ?? host.store.receive(bytes, from, now)
    if (OnionClient.handles(kind)) return host.onion?.receive(bytes, from, now) ?? []
    return []
  }

  /** Lets a host do something and carries out the effects. */
  carry(host: Host, work: (now: number) => readonly (DhtEffect | OnionEffect)[]): void {
    const effects = [...work(this.now)]
    for (let effect = effects.shift(); effect !== undefined; effect = effects.shift()) {
      if (effect.kind === 'send') this.#send(host, effect.bytes, effect.to)
      else if (effect.kind === 'route') effects.unshift(...host.dht.sendRouted(effect.dhtKey, effect.plain, this.now))
      else if (effect.kind === 'routed-dht-key') {
        effects.unshift(...(host.onion?.receiveRouted(effect.sender, effect.payload, this.now) ?? []))
      } else {
        host.events.push({ at: this.now, ...effect })
        if (host.events.length > 5000) host.events.shift()
        if (effect.kind === 'friend-dht-key') host.dht.search(effect.dhtKey, { named: effect.nodes, now: this.now })
      }
    }
  }

  #send(host: Host, bytes: Uint8Array, to: Endpoint): void {
    host.packetsSent += 1
    host.bytesSent += bytes.length + 28
    host.opened.add(formatEndpoint(to))
    this.tap?.(bytes, host.endpoint, to)
    if (this.#chance() < this.loss) return
    const delay = (this.#options.delay ?? 10) + this.#chance() * (this.#options.spread ?? 0)
    const flight = { at: this.now + delay, order: this.#order, from: host.endpoint, to, bytes }
    this.#order += 1
    let index = this.#flights.length
    while (index > 0 && (this.#flights[index - 1]?.at ?? 0) > flight.at) index -= 1
    this.#flights.splice(index, 0, flight)
  }

  #fresh(): Endpoint {
    this.#addresses += 1
    const address = `203.${Math.floor(this.#addresses / 65_536)}.${Math.floor(this.#addresses / 256) % 256}.${this.#addresses % 256}`
    return { address, port: 33_445 }
  }
}

/** `count` public nodes that know of one another only by bootstrapping from the first. */
export function publicNodes(network: Network, count: number, options: HostOptions = {}): Host[] {
  const hosts = Array.from({ length: count }, () => network.add(options))
  const contacts = hosts.map((host) => host.contact)
  for (const host of hosts) host.dht.bootstrap(contacts, network.now)
  return hosts
}

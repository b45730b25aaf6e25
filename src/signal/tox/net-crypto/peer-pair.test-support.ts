/** For tests: machines with net_crypto on a small network in virtual time that loses, copies, reorders and rebinds. */

import { createHash } from 'node:crypto'
import type { Endpoint } from '../../../api/endpoint.ts'
import { formatEndpoint } from '../../../api/endpoint.ts'
import type { Random } from '../../../util/random.ts'
import { createKeyPair, type DhtPublicKey, type KeyPair, type LongTermPublicKey } from '../crypto.ts'
import { PeerBox } from '../peer-box.ts'
import { NetCrypto, type NetCryptoEffect } from './net-crypto.ts'

/** A repeatable stream of bytes. */
export class TestRandom implements Random {
  readonly #seed: string
  #count = 0

  constructor(seed: string) {
    this.#seed = seed
  }

  bytes(length: number): Uint8Array {
    const all = new Uint8Array(length)
    for (let at = 0; at < length; at += 32) {
      const block = createHash('sha256')
        .update(`${this.#seed} ${this.#count++}`)
        .digest()
      all.set(block.subarray(0, Math.min(32, length - at)), at)
    }
    return all
  }

  /** Uniform over [0, 1). */
  unit(): number {
    return new DataView(this.bytes(4).buffer).getUint32(0) / 2 ** 32
  }
}

type FriendEffect = Exclude<NetCryptoEffect, { readonly kind: 'send' }>

export class TestPeer {
  readonly keyPair: KeyPair<LongTermPublicKey>
  readonly dht: KeyPair<DhtPublicKey>
  readonly crypto: NetCrypto
  readonly events: FriendEffect[] = []
  readonly sent: Uint8Array[] = []
  address: Endpoint
  readonly #network: TestNetwork

  constructor(options: {
    readonly network: TestNetwork
    readonly address: Endpoint
    readonly random: Random
    readonly keyPair?: KeyPair<LongTermPublicKey>
  }) {
    const { random } = options
    this.#network = options.network
    this.address = options.address
    this.keyPair = options.keyPair ?? createKeyPair<LongTermPublicKey>(random)
    this.dht = createKeyPair<DhtPublicKey>(random)
    this.crypto = new NetCrypto({
      keyPair: this.keyPair,
      dhtKey: this.dht.publicKey,
      dhtBox: new PeerBox({ secretKey: this.dht.secretKey }),
      random,
    })
  }

  /** Carries effects out; gives back whether there were any to carry out. */
  run(effects: readonly NetCryptoEffect[] | undefined): boolean {
    for (const effect of effects ?? []) {
      if (effect.kind !== 'send') {
        this.events.push(effect)
        continue
      }
      this.sent.push(effect.bytes)
      this.#network.carry(effect.bytes, { from: this.address, to: effect.to })
    }
    return effects !== undefined
  }

  connectTo(peer: TestPeer): void {
    const target = { dhtKey: peer.dht.publicKey, endpoint: peer.address }
    this.run(this.crypto.connect(peer.keyPair.publicKey, target, this.#network.now))
  }

  send(peer: TestPeer, packet: Uint8Array): boolean {
    return this.run(this.crypto.send(peer.keyPair.publicKey, packet, this.#network.now))
  }

  count(kind: FriendEffect['kind']): number {
    return this.events.filter((event) => event.kind === kind).length
  }

  /** The packets delivered so far. */
  get packets(): Uint8Array[] {
    return this.events.flatMap((event) => (event.kind === 'packet' ? [event.packet] : []))
  }
}

interface Flight {
  readonly at: number
  readonly bytes: Uint8Array
  readonly from: Endpoint
  readonly to: Endpoint
}

export class TestNetwork {
  now = 1_000
  loss = 0
  copies = 0
  /** One way, ms: at least, and how much more at random. */
  delay = 20
  jitter = 0
  readonly random: TestRandom
  readonly peers: TestPeer[] = []
  #flights: Flight[] = []

  constructor(seed: string) {
    this.random = new TestRandom(seed)
  }

  peer(port: number, keyPair?: KeyPair<LongTermPublicKey>): TestPeer {
    const random = new TestRandom(`${port} ${this.random.unit()}`)
    const address = { address: '203.0.113.1', port }
    const peer = new TestPeer({ network: this, address, random, ...(keyPair && { keyPair }) })
    this.peers.push(peer)
    return peer
  }

  carry(bytes: Uint8Array, way: { readonly from: Endpoint; readonly to: Endpoint }): void {
    const flights = 1 + Number(this.random.unit() < this.copies)
    for (let i = 0; i < flights; i++) {
      if (this.random.unit() < this.loss) continue
      this.#flights.push({ at: this.now + this.delay + this.random.unit() * this.jitter, bytes, ...way })
    }
  }

  /** Runs for so long, or until the condition holds; gives back whether it holds. */
  run(duration: number, until: () => boolean = () => false): boolean {
    const end = this.now + duration
    while (!until()) {
      const flight = this.#flights.reduce<Flight | undefined>(
        (a, b) => (a === undefined || b.at < a.at ? b : a),
        undefined,
      )
      const deadlines = this.peers.flatMap((peer) => peer.crypto.deadline ?? [])
      const at = Math.max(this.now, Math.min(flight?.at ?? Number.POSITIVE_INFINITY, ...deadlines))
      if (at > end) {
        this.now = end
        return until()
      }
      this.now = at
      if (flight !== undefined && flight.at <= at) this.#deliver(flight)
      else for (const peer of this.peers) peer.run(peer.crypto.tick(at))
    }
    return true
  }

  #deliver(flight: Flight): void {
    this.#flights = this.#flights.filter((other) => other !== flight)
    const to = formatEndpoint(flight.to)
    const peer = this.peers.find((candidate) => formatEndpoint(candidate.address) === to)
    peer?.run(peer.crypto.receive(flight.bytes, flight.from, this.now))
  }
}

/** Two peers that know each other as friends. */
export function befriendedPair(network: TestNetwork): readonly [TestPeer, TestPeer] {
  const pair = [network.peer(1), network.peer(2)] as const
  pair[0].crypto.addFriend(pair[1].keyPair.publicKey)
  pair[1].crypto.addFriend(pair[0].keyPair.publicKey)
  return pair
}

/** The same with a confirmed session. */
export function connectedPair(network: TestNetwork): readonly [TestPeer, TestPeer] {
  const [a, b] = befriendedPair(network)
  a.connectTo(b)
  if (!network.run(5_000, () => a.count('confirmed') + b.count('confirmed') === 2)) throw new Error('not connected')
  return [a, b]
}

/** A custom lossless packet that holds a number. */
export function numbered(number: number): Uint8Array {
  return Uint8Array.of(160, number >> 8, number & 255)
}

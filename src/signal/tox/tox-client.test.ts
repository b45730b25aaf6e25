import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Endpoint, formatEndpoint } from '../../api/endpoint.ts'
import { createKeyPair, type DhtPublicKey, type LongTermPublicKey, toxCryptoReady } from './crypto.ts'
import { TestRandom } from './net-crypto/peer-pair.test-support.ts'
import { ServingNode } from './serving-node.ts'
import { ToxClient } from './tox-client.ts'
import { nospamOf } from './tox-id.ts'

await toxCryptoReady

interface Member {
  readonly endpoint: Endpoint
  receive(bytes: Uint8Array, from: Endpoint, now: number): readonly { readonly kind: string }[]
  tick(now: number): readonly { readonly kind: string }[]
  deadline(): number | undefined
}

interface Flight {
  readonly at: number
  readonly bytes: Uint8Array
  readonly from: Endpoint
  readonly to: Endpoint
}

/** Two nodes, and two clients that are friends, on a network whose delays are fractions of a millisecond. */
class ClientNetwork {
  now: number
  cut = false
  /** The most often that machines were asked at one and the same moment. */
  mostAtOnce = 0
  readonly clients: readonly ToxClient[]
  readonly friends: readonly LongTermPublicKey[]
  readonly #random: TestRandom
  readonly #members: readonly Member[]
  #flights: readonly Flight[] = []

  constructor(options: { readonly seed: string; readonly now: number }) {
    this.now = options.now
    this.#random = new TestRandom(options.seed)
    const keyPairs = [1, 2].map(() => createKeyPair<LongTermPublicKey>(this.#random))
    const nospam = nospamOf(new Uint8Array(4)) ?? assert.fail()
    const nodeKeys = [1, 2].map(() => createKeyPair<DhtPublicKey>(this.#random))
    const contacts = nodeKeys.map(({ publicKey }, i) => ({ publicKey, endpoint: endpointOf(i) }))
    const nodes = nodeKeys.map((keyPair) => new ServingNode({ keyPair, random: this.#random }))
    this.friends = keyPairs.map(({ publicKey }) => publicKey)
    this.clients = keyPairs.map((keyPair) => {
      return new ToxClient({ keyPair, nospam, random: this.#random, localEndpoints: () => [] })
    })
    for (const machine of [...nodes, ...this.clients]) machine.bootstrap(contacts, this.now)
    for (const [i, client] of this.clients.entries()) {
      assert.ok(client.addFriend(this.friends[1 - i] ?? assert.fail(), { now: this.now }))
    }
    this.#members = [
      ...nodes.map((node, i) => ({
        endpoint: endpointOf(i),
        receive: (bytes: Uint8Array, from: Endpoint, now: number) => node.receive(bytes, from, now) ?? [],
        tick: (now: number) => node.tick(now),
        deadline: () => node.deadline,
      })),
      ...this.clients.map((client, i) => ({
        endpoint: endpointOf(i + 2),
        receive: (bytes: Uint8Array, from: Endpoint, now: number) => client.receive(bytes, from, now),
        tick: (now: number) => client.tick(now, now + 1_800_000_000_000),
        deadline: () => client.deadline,
      })),
    ]
  }

  get online(): boolean {
    return this.clients.every((client, i) => client.isOnline(this.friends[1 - i] ?? assert.fail()))
  }

  run(duration: number, until: () => boolean = () => false): void {
    const end = this.now + duration
    let atOnce = 0
    while (!until()) {
      const flight = this.#flights.reduce<Flight | undefined>(
        (a, b) => (a === undefined || b.at < a.at ? b : a),
        undefined,
      )
      const deadlines = this.#members.map((member) => member.deadline() ?? Number.POSITIVE_INFINITY)
      const at = Math.max(this.now, Math.min(flight?.at ?? Number.POSITIVE_INFINITY, ...deadlines))
      if (at > end) break
      atOnce = at > this.now || flight?.at === at ? 0 : atOnce + 1
      this.mostAtOnce = Math.max(this.mostAtOnce, atOnce)
      assert.ok(atOnce < 100, `asked ${atOnce} times at ${at}`)
      this.now = at
      if (flight !== undefined && flight.at <= at) this.#deliver(flight)
      else
        for (const member of this.#members)
          if ((member.deadline() ?? at + 1) <= at) this.#carry(member, member.tick(at))
    }
    this.now = Math.max(this.now, until() ? this.now : end)
  }

  #deliver(flight: Flight): void {
    this.#flights = this.#flights.filter((other) => other !== flight)
    const member = this.#members.find(({ endpoint }) => formatEndpoint(endpoint) === formatEndpoint(flight.to))
    if (member !== undefined) this.#carry(member, member.receive(flight.bytes, flight.from, this.now))
  }

  #carry(from: Member, effects: readonly object[]): void {
    for (const effect of effects) {
      if (this.cut || !('bytes' in effect && 'to' in effect)) continue
      const { bytes, to } = effect as Omit<Flight, 'at' | 'from'>
      const at = this.now + 20 + this.#random.unit() * 10
      this.#flights = [...this.#flights, { at, bytes, from: from.endpoint, to }]
    }
  }
}

function endpointOf(member: number): Endpoint {
  return { address: `203.0.113.${member + 1}`, port: 33_445 }
}

test('two clients meet, lose the network for ten minutes, and meet again', () => {
  const network = new ClientNetwork({ seed: 'cut', now: 1_000 / 3 })
  network.run(10_000, () => network.online)
  assert.ok(network.online)
  network.run(60_000)
  network.cut = true
  network.run(600_000)
  assert.ok(!network.online)
  network.cut = false
  network.run(60_000, () => network.online)
  assert.ok(network.online)
  assert.ok(network.mostAtOnce <= 5, `one moment was asked for ${network.mostAtOnce} times`)
})

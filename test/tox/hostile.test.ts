/** Hostile input to the DHT and onion machines: damaged and invented packets of every kind, floods, absurd contents. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../../src/api/endpoint.ts'
import {
  createKeyPair,
  type DhtPublicKey,
  type KeyPair,
  nonceBytes,
  seal,
  sharedKey,
  toxCryptoReady,
} from '../../src/signal/tox/crypto.ts'
import { type DhtMessage, encodeDhtMessage, encodeDhtPacket } from '../../src/signal/tox/packets/dht-packet.ts'
import { encodeOnionRequest, encodeOnionStep } from '../../src/signal/tox/packets/onion-layers.ts'
import { type Host, Network, publicNodes, seededRandom } from './network.ts'

await toxCryptoReady

const attacker: Endpoint = { address: '198.51.100.66', port: 6666 }

/** A server and two friends that have met, and a few packets of every kind that their machines take. */
function scene(seed: number): { readonly network: Network; readonly hosts: readonly Host[]; readonly heard: Heard } {
  const network = new Network({ seed, delay: 5 })
  const servers = publicNodes(network, 2)
  const clients = [network.add({ client: true }), network.add({ client: true })]
  const [a, b] = clients
  assert.ok(a?.onion !== undefined && b?.onion !== undefined)
  const heard: Map<number, { readonly bytes: Uint8Array; readonly from: Endpoint; readonly to: Endpoint }[]> = new Map()
  network.tap = (bytes, from, to) => {
    const kind = bytes[0] ?? 0
    const samples = heard.get(kind) ?? []
    if (samples.length < 4) heard.set(kind, [...samples, { bytes: bytes.slice(), from, to }])
  }
  for (const client of clients)
    client.dht.bootstrap(
      servers.map((server) => server.contact),
      0,
    )
  a.onion.requestFriend(b.keyPair.publicKey, { nospam: b.nospam, message: Uint8Array.of(1), now: 0 })
  network.run(3000)
  b.onion.addFriend(a.keyPair.publicKey, network.now)
  network.run(10_000)
  for (const host of [a, b]) host.dht.nudge(network.now)
  network.run(20_000)
  network.tap = undefined
  return { network, hosts: network.hosts, heard }
}

type Heard = ReadonlyMap<
  number,
  readonly { readonly bytes: Uint8Array; readonly from: Endpoint; readonly to: Endpoint }[]
>

/** What must not change: tables, friends, announcements, events. */
function state(hosts: readonly Host[]): unknown {
  return hosts.map(({ dht, store, onion, events }) => {
    const { closeNodes, knownNodes, searches } = dht.stats()
    const { announcedOn, announceNodes, friends } = onion?.stats() ?? {}
    return {
      closeNodes,
      knownNodes,
      searches,
      announcedOn,
      announceNodes,
      friends,
      stored: store.stats().stored,
      events: events.length,
    }
  })
}

test('damaged packets of every kind change nothing, and are not answered', () => {
  const { network, hosts, heard } = scene(1)
  const kinds = [0x00, 0x01, 0x02, 0x04, 0x20, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x8c, 0x8d, 0x8e]
  assert.deepEqual(
    [...heard.keys()].sort((x, y) => x - y),
    kinds,
  )
  const random = seededRandom('hostile')
  const before = state(hosts)
  let tried = 0
  // Routed requests and data to route are judged by their receiver: others pass them on.
  const judged = (bytes: Uint8Array): boolean => bytes[0] !== 0x20 && bytes[0] !== 0x85
  const sent = (): number => hosts.reduce((sum, host) => sum + host.packetsSent, 0)
  for (const host of hosts) network.tick(host)
  for (const samples of heard.values()) {
    for (const { bytes, from } of samples) {
      const sentBefore = sent()
      const damaged: Uint8Array[] = []
      for (let count = 0; count < 12; count += 1) {
        // Past the kind and before the return path, which only its maker can judge.
        const at = 1 + (new DataView(random.bytes(4).buffer).getUint32(0) % Math.min(55, bytes.length - 1))
        damaged.push(bytes.map((byte, index) => (index === at ? byte ^ (1 << (count % 8)) : byte)))
        damaged.push(bytes.subarray(0, at), new Uint8Array([...bytes.subarray(0, at), ...random.bytes(100)]))
      }
      damaged.push(new Uint8Array(), new Uint8Array([...bytes, 0]).subarray(0, 1 + bytes.length))
      for (const packet of damaged) {
        // An added byte makes onion layers longer without harm to the box; they are cut off elsewhere.
        if (packet.length > bytes.length && (bytes[0] ?? 0) >= 0x80) continue
        for (const host of hosts) network.inject(packet, from, host)
        tried += 1
      }
      if (judged(bytes)) assert.equal(sent(), sentBefore, `kind ${bytes[0]} was answered`)
    }
  }
  assert.ok(tried > 1500)
  assert.deepEqual(state(hosts), before)
})

test('random bytes of every kind and length change nothing', () => {
  const { network, hosts } = scene(2)
  const random = seededRandom('noise')
  const before = state(hosts)
  for (const kind of [0, 1, 2, 4, 0x20, 0x21, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x8c, 0x8d, 0x8e, 0xf0, 0xff]) {
    for (const length of [0, 1, 8, 32, 33, 57, 81, 82, 104, 112, 113, 177, 354, 400, 1399, 1400, 2000]) {
      for (const host of hosts) network.inject(Uint8Array.from([kind, ...random.bytes(length)]), attacker, host)
    }
  }
  assert.deepEqual(state(hosts), before)
})

test('answers nobody asked for, repeated answers and answers from elsewhere are dropped', () => {
  const { network, hosts, heard } = scene(3)
  const before = state(hosts)
  const unasked = (): number => hosts.reduce((sum, host) => sum + (host.dht.stats().dropped['unasked answer'] ?? 0), 0)
  const counted = unasked()
  let repeated = 0
  for (const kind of [0x01, 0x04]) {
    for (const { bytes, from, to } of heard.get(kind) ?? []) {
      const host = hosts.find((candidate) => candidate.endpoint.address === to.address)
      assert.ok(host !== undefined)
      network.inject(bytes, from, host)
      network.inject(bytes, attacker, host)
      repeated += 2
    }
  }
  assert.ok(repeated >= 12)
  assert.equal(unasked() - counted, repeated)
  assert.deepEqual(state(hosts), before)
})

/** A packet that is valid in every respect, from a key of the attacker. */
function packetFor(host: Host, keyPair: KeyPair<DhtPublicKey>, message: DhtMessage): Uint8Array {
  const { kind, plain } = encodeDhtMessage(message)
  const nonce = new Uint8Array(nonceBytes).fill(9)
  const key = sharedKey(host.dht.publicKey, keyPair.secretKey)
  assert.ok(key !== undefined)
  return encodeDhtPacket({ kind, sender: keyPair.publicKey, nonce, boxed: seal(key, nonce, plain) })
}

test('a flood of unknown keys costs a bounded number of tries, and the node stays in touch with those it knows', () => {
  const { network, hosts } = scene(4)
  const [server] = hosts
  assert.ok(server !== undefined)
  const random = seededRandom('flood')
  const { closeNodes } = server.dht.stats()
  const sentBefore = server.packetsSent
  const id = new Uint8Array(8)
  for (let count = 0; count < 700; count += 1) {
    const bytes = packetFor(server, createKeyPair<DhtPublicKey>(random), { kind: 'ping-request', id })
    network.inject(bytes, { address: '198.51.100.66', port: 1000 + count }, server)
  }
  const { undecryptable = 0 } = server.dht.stats().dropped
  assert.ok(undecryptable >= 150, 'the rest was not even tried')
  assert.ok(server.packetsSent - sentBefore <= 500 + 40, 'answers, and a few questions back')
  assert.equal(server.dht.stats().closeNodes, closeNodes, 'nobody got in by asking')
  network.run(network.now + 60_000)
  assert.equal(server.dht.stats().closeNodes, closeNodes)
  assert.ok(server.dht.connected(network.now))
  assert.ok(server.dht.stats().pendingRequests <= 512)
})

test('a node that names absurd nodes is asked no more than there is room for', () => {
  const { network, hosts } = scene(5)
  const victim: Host | undefined = hosts[2]
  assert.ok(victim !== undefined)
  const own = victim.contact
  const random = seededRandom('absurd')
  const keyPair = createKeyPair<DhtPublicKey>(random)
  const ask = packetFor(victim, keyPair, { kind: 'nodes-request', id: new Uint8Array(8), wanted: own.publicKey })
  const sent: number = victim.packetsSent
  network.inject(ask, attacker, victim)
  assert.equal(victim.packetsSent - sent, 2, 'an answer and a ping')
  for (const node of [
    { ...own, transport: 'udp' as const },
    { publicKey: keyPair.publicKey, endpoint: { address: '203.0.113.9', port: 0 }, transport: 'udp' as const },
    { publicKey: keyPair.publicKey, endpoint: { address: '2001:db8::1', port: 5 }, transport: 'udp' as const },
    { publicKey: keyPair.publicKey, endpoint: { address: '203.0.113.9', port: 5 }, transport: 'tcp' as const },
  ]) {
    const before: number = victim.packetsSent
    network.carry(victim, (now) => {
      victim.dht.search(keyPair.publicKey, { named: [node], now })
      return []
    })
    victim.dht.stopSearch(keyPair.publicKey)
    assert.equal(victim.packetsSent, before)
  }
})

test('an onion hop carries no other traffic for strangers, and nobody into its own network', () => {
  const network = new Network({ seed: 6 })
  const hop = network.add()
  const random = seededRandom('onion')
  const sender = createKeyPair(random)
  const key = sharedKey(hop.dht.publicKey, sender.secretKey)
  assert.ok(key !== undefined)
  const carry = (layer: 0 | 2, next: Endpoint, rest: Uint8Array, from: Endpoint): number => {
    const nonce = random.bytes(nonceBytes)
    const boxed = seal(key, nonce, encodeOnionStep({ next, rest }))
    const returnPath = new Uint8Array(layer * 59)
    const before = hop.packetsSent
    network.inject(encodeOnionRequest({ layer, nonce, sender: sender.publicKey, boxed, returnPath }), from, hop)
    return hop.packetsSent - before
  }
  const somewhere = { address: '203.0.113.77', port: 5000 }
  const announce = Uint8Array.from([0x83, ...new Uint8Array(176)])
  assert.equal(carry(2, somewhere, announce, attacker), 1)
  assert.equal(carry(0, somewhere, new Uint8Array(100), attacker), 1)
  assert.equal(carry(2, somewhere, Uint8Array.from([0x02, ...new Uint8Array(112)]), attacker), 0, 'no DHT packets')
  assert.equal(carry(2, { address: '192.168.1.1', port: 53 }, announce, attacker), 0)
  assert.equal(carry(2, { address: '127.0.0.1', port: 53 }, announce, attacker), 0)
  assert.equal(carry(2, { address: '192.168.1.1', port: 53 }, announce, { address: '192.168.1.9', port: 5 }), 1)
  assert.equal(carry(0, somewhere, new Uint8Array(1309), attacker), 0, 'too long')
  assert.deepEqual(hop.relay.stats().dropped, { 'not an onion payload': 1, 'address not served': 2, malformed: 1 })
  let carried = 0
  for (let count = 0; count < 400; count += 1) carried += carry(2, somewhere, announce, attacker)
  assert.ok(carried <= 300)
})

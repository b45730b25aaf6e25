/** The DHT node in a small internet in virtual time. One way takes 25..35 ms. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { sameEndpoint } from '../../src/api/endpoint.ts'
import { toxCryptoReady } from '../../src/signal/tox/crypto.ts'
import { encodeNatPing } from '../../src/signal/tox/packets/dht-request.ts'
import { type Host, Network, publicNodes } from './network.ts'

await toxCryptoReady

interface Friends {
  readonly network: Network
  readonly servers: readonly Host[]
  readonly a: Host
  readonly b: Host
}

/** Whether `host` was told since `since` that `sought` answered from where it is now. */
function found(host: Host, sought: Host, since = 0): boolean {
  return host.events.some(
    (event) => event.kind === 'found' && event.at >= since && sameEndpoint(event.endpoint, sought.endpoint),
  )
}

/** Two nodes behind NATs, bootstrapped from three public ones that have settled. */
function friends(options: { readonly seed: number; readonly loss?: number }): Friends {
  const network = new Network({ seed: options.seed, delay: 25, spread: 10, loss: options.loss ?? 0 })
  const servers = publicNodes(network, 3)
  network.run(3000)
  const a = network.add({ nat: true })
  const b = network.add({ nat: true })
  const contacts = servers.map((server) => server.contact)
  for (const host of [a, b]) host.dht.bootstrap(contacts, network.now)
  network.run(network.now + 1000)
  return { network, servers, a, b }
}

/** As `friends`, after both have found each other and been idle for a while. */
function idleFriends(options: { readonly seed: number; readonly loss?: number }): Friends {
  const all = friends(options)
  const { network, a, b } = all
  a.dht.search(b.dht.publicKey, { now: network.now })
  b.dht.search(a.dht.publicKey, { now: network.now })
  assert.ok(network.run(network.now + 5000, () => found(a, b) && found(b, a)))
  network.run(network.now + 40_000 + 1000 * options.seed)
  return all
}

function report(context: TestContext, what: string, times: readonly number[]): void {
  const sorted = [...times].sort((x, y) => x - y)
  context.diagnostic(`${what}: median ${sorted[sorted.length >> 1]} ms, worst ${sorted.at(-1)} ms of ${times.length}`)
}

test('nodes that know one address know the nodes around them within two seconds', () => {
  const network = new Network({ seed: 1, delay: 25, spread: 10, loss: 0.02 })
  const first = network.add()
  const others = Array.from({ length: 6 }, () => network.add())
  for (const host of others) host.dht.bootstrap([first.contact], 0)
  network.run(2000)
  assert.equal(first.dht.stats().closeNodes, 6)
  // A response names four nodes: the farthest of seven may stay unknown.
  for (const host of others) assert.ok(host.dht.stats().closeNodes >= 5)
})

test('two nodes alone meet, although neither can name anybody', () => {
  const network = new Network({ seed: 2, delay: 25 })
  const [a, b] = [network.add(), network.add()]
  b.dht.bootstrap([a.contact], 0)
  assert.ok(network.run(500, () => a.dht.connected(network.now) && b.dht.connected(network.now)))
})

test('two friends that look for each other are found within 300 ms', (context) => {
  const times: number[] = []
  for (let seed = 1; seed <= 6; seed += 1) {
    const { network, a, b } = friends({ seed })
    const start = network.now
    a.dht.search(b.dht.publicKey, { now: start })
    b.dht.search(a.dht.publicKey, { now: start })
    assert.ok(
      network.run(start + 300, () => found(a, b) && found(b, a)),
      `seed ${seed}`,
    )
    times.push(Math.round(network.now - start))
  }
  report(context, 'found', times)
})

const moves = [
  { what: 'we moved and noticed', moved: ['a'], nudged: ['a'] },
  { what: 'our friend moved, both noticed', moved: ['b'], nudged: ['a', 'b'] },
  { what: 'both moved and noticed', moved: ['a', 'b'], nudged: ['a', 'b'] },
] as const

for (const { what, moved, nudged } of moves) {
  test(`after a new public address friends find each other within a second: ${what}`, (context) => {
    const times: number[] = []
    for (let seed = 1; seed <= 8; seed += 1) {
      const all = idleFriends({ seed, loss: seed % 2 === 0 ? 0.05 : 0 })
      const { network, a, b } = all
      for (const name of moved) network.rebind(all[name])
      const start = network.now
      for (const name of nudged) all[name].dht.nudge(start)
      const done = (): boolean => found(a, b, start) && found(b, a, start)
      assert.ok(network.run(start + 1000, done), `seed ${seed}`)
      times.push(Math.round(network.now - start))
    }
    report(context, what, times)
  })
}

test('a friend that moved and does not know it is found as soon as it speaks to any node', () => {
  const { network, a, b } = idleFriends({ seed: 1 })
  network.rebind(b)
  const start = network.now
  a.dht.nudge(start)
  assert.ok(network.run(start + 31_000, () => found(a, b, start)))
  assert.ok(network.now - start > 1000, 'not by magic: its own timers bring it')
})

test('a request repeated from another address by somebody else moves nobody', () => {
  const { network, servers, a, b } = idleFriends({ seed: 1 })
  const thief = network.add()
  const heard: Uint8Array[] = []
  network.tap = (bytes, from, to) => {
    if (
      bytes[0] === 2 &&
      sameEndpoint(from, b.endpoint) &&
      servers.some((server) => sameEndpoint(to, server.endpoint))
    ) {
      heard.push(bytes)
    }
  }
  network.run(network.now + 30_000)
  assert.ok(heard.length > 0)
  for (const server of servers) for (const bytes of heard) network.inject(bytes, thief.endpoint, server)
  const start = network.now
  a.dht.nudge(start)
  network.run(start + 3000)
  const endpoints = a.events.filter((event) => event.kind === 'found' && event.at >= start)
  assert.ok(endpoints.length > 0)
  for (const event of endpoints) assert.ok(event.kind === 'found' && sameEndpoint(event.endpoint, b.endpoint))
  for (const server of servers) {
    const options = { count: 1, asker: a.endpoint, now: network.now }
    assert.deepEqual(server.dht.closestTo(b.dht.publicKey, options)[0]?.endpoint, b.endpoint)
  }
})

test('local addresses are named to local askers only', () => {
  const network = new Network({ seed: 3, delay: 5 })
  const server = network.add()
  const hidden = network.add({ address: '192.168.1.5' })
  const neighbour = network.add({ address: '10.1.2.3' })
  const stranger = network.add()
  for (const host of [hidden, neighbour, stranger]) host.dht.bootstrap([server.contact], 0)
  network.run(5000)
  assert.equal(server.dht.stats().closeNodes, 3)
  assert.equal(neighbour.dht.stats().closeNodes, 3)
  const near = { count: 1, asker: neighbour.endpoint, now: network.now }
  assert.deepEqual(server.dht.closestTo(hidden.dht.publicKey, near)[0]?.endpoint, hidden.endpoint)
  const far = { count: 8, asker: stranger.endpoint, now: network.now }
  for (const node of server.dht.closestTo(hidden.dht.publicKey, far)) {
    assert.ok(!sameEndpoint(node.endpoint, hidden.endpoint) && !sameEndpoint(node.endpoint, neighbour.endpoint))
  }
})

test('LAN discovery is believed from local addresses only', () => {
  const network = new Network({ seed: 4, delay: 5 })
  const host = network.add({ address: '192.168.1.5' })
  const neighbour = network.add({ address: '192.168.1.6' })
  const packet = Uint8Array.from([0x21, ...neighbour.dht.publicKey])
  network.inject(packet, { address: '198.51.100.7', port: 33_445 }, host)
  assert.equal(host.packetsSent, 0)
  network.inject(packet, neighbour.endpoint, host)
  network.run(1000)
  assert.equal(host.dht.stats().closeNodes, 1)
  assert.equal(host.dht.stats().dropped['not from a local address'], 1)
})

test('a node that died is soon not named any more, and forgotten after three minutes', () => {
  const network = new Network({ seed: 5, delay: 25 })
  const [server, dead] = publicNodes(network, 4)
  network.run(10_000)
  assert.ok(server !== undefined && dead !== undefined)
  dead.alive = false
  const died = network.now
  const named = (): boolean => {
    const options = { count: 8, asker: dead.endpoint, now: network.now }
    return server.dht.closestTo(dead.dht.publicKey, options).some((node) => sameEndpoint(node.endpoint, dead.endpoint))
  }
  assert.ok(named())
  assert.ok(network.run(died + 122_000, () => !named()))
  assert.ok(network.run(died + 183_000, () => server.dht.stats().knownNodes === 2))
})

test('a node whose nodes all went away asks the configured ones until they are back', () => {
  const { network, servers, a, b } = friends({ seed: 6 })
  for (const host of [...servers, b]) host.alive = false
  network.run(network.now + 300_000)
  assert.equal(a.dht.connected(network.now), false)
  assert.equal(a.dht.stats().knownNodes, 0)
  const sent = a.packetsSent
  network.run(network.now + 600_000)
  assert.ok(a.packetsSent - sent <= 70, `${a.packetsSent - sent} packets in ten minutes without anybody`)
  for (const host of servers) host.alive = true
  assert.ok(network.run(network.now + 31_000, () => a.dht.connected(network.now)))
})

test('a nudge with nobody left asks the configured nodes within half a second', () => {
  const { network, servers, a } = idleFriends({ seed: 7 })
  const fresh = network.add()
  a.dht.bootstrap([fresh.contact], network.now)
  network.run(network.now + 2000)
  for (const server of servers) server.alive = false
  fresh.alive = true
  const start = network.now
  const asked = (): boolean => fresh.opened.has(`${a.endpoint.address}:${a.endpoint.port}`)
  fresh.opened.clear()
  a.dht.nudge(start)
  assert.ok(network.run(start + 700, asked))
})

test('routed requests are carried for others, answered for friends and dropped for strangers', () => {
  const { network, servers, a, b } = idleFriends({ seed: 8 })
  const stranger = network.add()
  stranger.dht.bootstrap(
    servers.map((server) => server.contact),
    network.now,
  )
  stranger.dht.search(a.dht.publicKey, { now: network.now })
  network.run(network.now + 5000)
  const number = new Uint8Array(8).fill(5)
  const before = b.dht.stats().dropped
  const plain = encodeNatPing({ response: false, number })
  network.carry(a, (now) => a.dht.sendRouted(b.dht.publicKey, plain, now))
  network.run(network.now + 200)
  const answered = a.dht.stats().dropped['unasked answer'] ?? 0
  assert.ok(answered > 0, 'the answer came, although with a number nobody drew')
  assert.deepEqual(b.dht.stats().dropped, before)
  network.carry(stranger, (now) => stranger.dht.sendRouted(a.dht.publicKey, plain, now))
  network.run(network.now + 200)
  assert.ok((a.dht.stats().dropped['not sought'] ?? 0) > 0)
  assert.equal(stranger.dht.stats().dropped['unasked answer'], undefined)
})

test('24 idle hours leave every table as it was, with a packet every few seconds', (context) => {
  const network = new Network({ seed: 9, delay: 25 })
  const server = network.add()
  const host = network.add({ nat: true })
  host.dht.bootstrap([server.contact], 0)
  network.run(3_600_000)
  const { packetsSent, bytesSent } = host
  network.run(24 * 3_600_000)
  const { closeNodes, knownNodes, pendingRequests, searches } = host.dht.stats()
  assert.deepEqual([closeNodes, knownNodes, searches], [1, 1, 0])
  assert.ok(pendingRequests <= 2)
  const seconds = 23 * 3600
  const rate = (host.packetsSent - packetsSent) / seconds
  assert.ok(rate < 0.2)
  context.diagnostic(
    `idle: ${rate.toFixed(2)} packets/s, ${((host.bytesSent - bytesSent) / seconds).toFixed(0)} bytes/s`,
  )
})

/** The onion machines in a small internet in virtual time. One way takes 25..35 ms. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { sameEndpoint } from '../../src/api/endpoint.ts'
import { toxCryptoReady } from '../../src/signal/tox/crypto.ts'
import { nospamOf } from '../../src/signal/tox/tox-id.ts'
import { toUtf8 } from '../../src/util/bytes.ts'
import { type Host, type HostOptions, Network, publicNodes } from './network.ts'

await toxCryptoReady

const hello = toUtf8('hello')

interface Pair {
  readonly network: Network
  readonly servers: readonly Host[]
  readonly a: Host
  readonly b: Host
  /** When the clients started. */
  readonly start: number
}

interface PairOptions {
  readonly seed: number
  readonly loss?: number
  readonly servers?: readonly HostOptions[]
}

/** Two clients behind NATs, started at once on a net of public nodes that has settled. */
function pair(options: PairOptions): Pair {
  const network = new Network({ seed: options.seed, delay: 25, spread: 10, loss: options.loss ?? 0 })
  const servers = (options.servers ?? [{}, {}, {}]).map((server) => network.add(server))
  const contacts = servers.map((server) => server.contact)
  for (const host of servers) host.dht.bootstrap(contacts, 0)
  network.run(5000)
  const a = network.add({ client: true, nat: true })
  const b = network.add({ client: true, nat: true })
  for (const host of [a, b]) host.dht.bootstrap(contacts, network.now)
  return { network, servers, a, b, start: network.now }
}

/** Two clients that are friends already. */
function friends(options: PairOptions): Pair {
  const all = pair(options)
  all.a.onion?.addFriend(all.b.keyPair.publicKey, all.start)
  all.b.onion?.addFriend(all.a.keyPair.publicKey, all.start)
  return all
}

const count = (host: Host, kind: Host['events'][number]['kind'], since = 0): number =>
  host.events.filter((event) => event.kind === kind && event.at >= since).length

/** Whether both were told, since `since`, that the other answered. */
const met = ({ a, b }: Pair, since = 0): boolean => count(a, 'found', since) > 0 && count(b, 'found', since) > 0

function report(context: TestContext, what: string, times: readonly number[]): void {
  const sorted = [...times].sort((x, y) => x - y)
  context.diagnostic(`${what}: median ${sorted[sorted.length >> 1]} ms, worst ${sorted.at(-1)} ms of ${times.length}`)
}

test('a client is announced within a second of its start', (context) => {
  const times: number[] = []
  for (let seed = 1; seed <= 5; seed += 1) {
    const { network, a, start } = pair({ seed })
    assert.ok(
      network.run(start + 1000, () => a.onion?.announced === true),
      `seed ${seed}`,
    )
    times.push(Math.round(network.now - start))
    network.run(start + 5000)
    assert.ok((a.onion?.stats().announcedOn ?? 0) >= 3, 'on all three nodes, and maybe on the other client')
  }
  report(context, 'announced', times)
})

test('friends that start at once have each other’s address after about a second', (context) => {
  for (const loss of [0, 0.05]) {
    const times: number[] = []
    for (let seed = 1; seed <= 5; seed += 1) {
      const all = friends({ seed, loss })
      assert.ok(
        all.network.run(all.start + (loss === 0 ? 1500 : 4000), () => met(all)),
        `seed ${seed}`,
      )
      times.push(Math.round(all.network.now - all.start))
    }
    report(context, `found, loss ${loss * 100} % on each of the hops`, times)
  }
})

test('one other node in the whole net is enough', () => {
  const all = friends({ seed: 1, servers: [{}] })
  assert.ok(all.network.run(all.start + 2500, () => met(all)))
})

test('a friend request arrives once, is answered, and both find the address of the other', () => {
  const all = pair({ seed: 1 })
  const { network, a, b, start } = all
  a.onion?.requestFriend(b.keyPair.publicKey, { nospam: b.nospam, message: hello, now: start })
  assert.ok(network.run(start + 1500, () => count(b, 'friend-request') > 0))
  b.onion?.addFriend(a.keyPair.publicKey, network.now)
  assert.ok(network.run(start + 2500, () => met(all)))
  network.run(start + 20_000)
  const requests = b.events.filter((event) => event.kind === 'friend-request')
  assert.equal(requests.length, 1)
  assert.deepEqual(requests[0]?.from, a.keyPair.publicKey)
  assert.deepEqual(requests[0]?.message, hello)
  const found = a.events.find((event) => event.kind === 'found')
  assert.deepEqual(found?.endpoint, b.endpoint)
  assert.deepEqual(found?.dhtKey, b.dht.publicKey)
})

test('a friend request with the wrong nospam is not shown', () => {
  const { network, a, b, start } = pair({ seed: 2 })
  const nospam = nospamOf(new Uint8Array(4))
  assert.ok(nospam !== undefined)
  a.onion?.requestFriend(b.keyPair.publicKey, { nospam, message: hello, now: start })
  assert.ok(network.run(start + 3000, () => (b.onion?.stats().dropped['wrong nospam'] ?? 0) > 0))
  assert.equal(count(b, 'friend-request'), 0)
})

test('a friend request waits for somebody who is not there yet', () => {
  const { network, servers, a, start } = pair({ seed: 3 })
  const late = network.add({ client: true, nat: true })
  late.alive = false
  a.onion?.requestFriend(late.keyPair.publicKey, { nospam: late.nospam, message: hello, now: start })
  network.run(start + 120_000)
  late.alive = true
  late.dht.bootstrap(
    servers.map((server) => server.contact),
    network.now,
  )
  // Only the one who asks can find the other; after two minutes it looks every two to five.
  assert.ok(network.run(network.now + 310_000, () => count(late, 'friend-request') > 0))
})

test('a friend that comes back finds us at once, however long it was away', (context) => {
  const times: number[] = []
  for (let seed = 1; seed <= 2; seed += 1) {
    const { network, servers, a, start } = pair({ seed })
    const late = network.add({ client: true, nat: true })
    late.alive = false
    a.onion?.addFriend(late.keyPair.publicKey, start)
    network.run(start + 900_000)
    late.alive = true
    const back = network.now
    late.onion?.addFriend(a.keyPair.publicKey, back)
    const contacts = servers.map((server) => server.contact)
    late.dht.bootstrap(contacts, back)
    assert.ok(network.run(back + 2500, () => count(a, 'friend-dht-key') > 0 && count(a, 'found') > 0))
    times.push(Math.round(network.now - back))
  }
  report(context, 'found by the one who waited', times)
})

test('copies of a DHT-key packet count once, and old ones never again', () => {
  const all = friends({ seed: 4 })
  all.network.run(all.start + 60_000)
  const keys = count(all.a, 'friend-dht-key')
  assert.ok(keys >= 2 && keys <= 60)
  const { replayed = 0 } = all.a.onion?.stats().dropped ?? {}
  assert.ok(replayed > 0, 'several copies travel')
})

test('nothing is sent for a friend that is online, and it is told our key at once when it is lost', () => {
  const all = friends({ seed: 5 })
  const { network, a, b, start } = all
  assert.ok(network.run(start + 3000, () => met(all)))
  for (const [host, other] of [
    [a, b],
    [b, a],
  ] as const) {
    host.onion?.friendOnline(other.keyPair.publicKey, { online: true, now: network.now })
  }
  network.run(network.now + 2000)
  const settled = network.now
  network.run(settled + 120_000)
  assert.equal(count(b, 'friend-dht-key', settled), 0)
  a.onion?.friendOnline(b.keyPair.publicKey, { online: false, now: network.now })
  const lost = network.now
  assert.ok(network.run(lost + 1000, () => count(b, 'friend-dht-key', lost) > 0))
})

test('a friend that restarts at once is found again when its silence is noticed, or before', (context) => {
  for (const servers of [1, 3]) {
    const times: number[] = []
    for (let seed = 1; seed <= 4; seed += 1) {
      const all = friends({ seed, servers: Array.from({ length: servers }, () => ({})) })
      const { network, a, b, start } = all
      assert.ok(network.run(start + 5000, () => met(all)))
      a.onion?.friendOnline(b.keyPair.publicKey, { online: true, now: network.now })
      b.onion?.friendOnline(a.keyPair.publicKey, { online: true, now: network.now })
      network.run(network.now + 40_000 + 1000 * seed)
      b.alive = false
      const again = network.add({ client: true, nat: true, restartOf: b })
      const restarted = network.now
      again.dht.bootstrap(
        all.servers.map((server) => server.contact),
        restarted,
      )
      again.onion?.addFriend(a.keyPair.publicKey, restarted)
      const found = (): boolean => count(again, 'found') > 0
      if (!network.run(restarted + 3000, found)) {
        a.dht.nudge(network.now)
        a.onion?.nudge(network.now)
        a.onion?.friendOnline(b.keyPair.publicKey, { online: false, now: network.now })
      }
      assert.ok(network.run(restarted + 8000, found), `${servers} nodes, seed ${seed}`)
      times.push(Math.round(network.now - restarted))
    }
    report(context, `restart, ${servers} nodes`, times)
  }
})

test('after a new public address strangers reach us again 0.6 s after a nudge', (context) => {
  const times: number[] = []
  for (let seed = 1; seed <= 4; seed += 1) {
    const { network, a, b, start } = pair({ seed })
    network.run(start + 100_000)
    network.rebind(b)
    b.dht.nudge(network.now)
    b.onion?.nudge(network.now)
    network.run(network.now + 600)
    const ready = network.now
    a.onion?.requestFriend(b.keyPair.publicKey, { nospam: b.nospam, message: hello, now: ready })
    assert.ok(network.run(ready + 1500, () => count(b, 'friend-request') > 0))
    times.push(Math.round(network.now - ready))
  }
  report(context, 'a request that begins then arrives', times)
})

test('after a new public address nobody notices, the next announce brings strangers back', () => {
  const { network, a, b, start } = pair({ seed: 1 })
  network.run(start + 100_000)
  network.rebind(b)
  const moved = network.now
  a.onion?.requestFriend(b.keyPair.publicKey, { nospam: b.nospam, message: hello, now: moved })
  assert.ok(network.run(moved + 60_000, () => count(b, 'friend-request') > 0))
  assert.ok(network.now - moved > 1500, 'not at once: the ways back led to the old address')
})

test('a hop that drops everything cannot keep friends apart', (context) => {
  for (const [what, servers, limit] of [
    ['one of three hops drops half', [{ dropsOnion: 0.5 }, {}, {}], 10_000],
    ['one of three hops drops all', [{ dropsOnion: 1 }, {}, {}], 10_000],
  ] as const) {
    const times: number[] = []
    for (let seed = 1; seed <= 4; seed += 1) {
      const all = friends({ seed, servers })
      assert.ok(
        all.network.run(all.start + limit, () => met(all)),
        `${what}, seed ${seed}`,
      )
      times.push(Math.round(all.network.now - all.start))
    }
    report(context, what, times)
  }
})

test('friends meet although most nodes have just died', (context) => {
  const times: number[] = []
  for (let seed = 1; seed <= 2; seed += 1) {
    const all = pair({ seed, servers: Array.from({ length: 20 }, () => ({})) })
    const { network, servers, a, b } = all
    network.run(all.start + 5000)
    for (const server of servers.slice(4)) server.alive = false
    const start = network.now
    a.onion?.addFriend(b.keyPair.publicKey, start)
    b.onion?.addFriend(a.keyPair.publicKey, start)
    assert.ok(
      network.run(start + 60_000, () => met(all)),
      `seed ${seed}`,
    )
    times.push(Math.round(network.now - start))
  }
  report(context, '16 of 20 nodes dead', times)
})

test('a storing node that lies about the data key costs nothing but its own copies', () => {
  const network = new Network({ seed: 6, delay: 25, spread: 10 })
  const servers = publicNodes(network, 3)
  network.run(5000)
  const [a, b] = [network.add({ client: true }), network.add({ client: true })]
  for (const host of [a, b])
    host.dht.bootstrap(
      servers.map((server) => server.contact),
      network.now,
    )
  // The first server believes it stores b, but holds another data key, as if it had made the key up.
  const [liar] = servers
  assert.ok(liar !== undefined && a.onion !== undefined && b.onion !== undefined)
  liar.victim = b
  const start = network.now
  a.onion.addFriend(b.keyPair.publicKey, start)
  b.onion.addFriend(a.keyPair.publicKey, start)
  assert.ok(network.run(start + 2000, () => count(a, 'found') > 0 && count(b, 'found') > 0))
  assert.ok(liar.lies > 0)
})

test('a client at rest sends less than a packet a second', (context) => {
  for (const [what, servers, online] of [
    ['3 nodes, no friend', 3, undefined],
    ['3 nodes, a friend that is online', 3, true],
    ['3 nodes, a friend that is away', 3, false],
    ['12 nodes, no friend', 12, undefined],
  ] as const) {
    const { network, a, b, start } = pair({ seed: 7, servers: Array.from({ length: servers }, () => ({})) })
    if (online !== undefined) a.onion?.addFriend(b.keyPair.publicKey, start)
    if (online !== undefined) b.onion?.addFriend(a.keyPair.publicKey, start)
    network.run(start + 10_000)
    a.onion?.friendOnline(b.keyPair.publicKey, { online: online === true, now: network.now })
    b.alive = online === true
    b.onion?.friendOnline(a.keyPair.publicKey, { online: online === true, now: network.now })
    network.run(start + 300_000)
    const { packetsSent, bytesSent } = a
    network.run(start + 600_000)
    const rate = (a.packetsSent - packetsSent) / 300
    context.diagnostic(`${what}: ${rate.toFixed(2)} packets/s, ${((a.bytesSent - bytesSent) / 300).toFixed(0)} bytes/s`)
    assert.ok(rate < 1, what)
    const { announceNodes, paths, pendingRequests } = a.onion?.stats() ?? {}
    assert.ok((announceNodes ?? 99) <= 12 && (paths ?? 99) <= 12 && (pendingRequests ?? 99) <= 30)
  }
})

test('an announcement is stored by a node once its ticket came back over the same path, and for five minutes', () => {
  const { network, servers, a, start } = pair({ seed: 8, servers: [{}] })
  const [server] = servers
  assert.ok(server !== undefined)
  assert.ok(network.run(start + 1500, () => server.store.stats().stored > 0))
  assert.ok(sameEndpoint(server.endpoint, server.contact.endpoint))
  network.run(start + 1_000_000)
  assert.equal(a.onion?.stats().announcedOn, 2, 'the server and the other client: refreshed all the time')
})

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { equalBytes } from '../../../util/bytes.ts'
import { toxCryptoReady } from '../crypto.ts'
import { befriendedPair, connectedPair, numbered, TestNetwork, type TestPeer } from './peer-pair.test-support.ts'

before(() => toxCryptoReady)

function kindCounts(packets: readonly Uint8Array[]): Record<number, number> {
  const counts: Record<number, number> = {}
  for (const packet of packets) counts[packet[0] ?? 0] = (counts[packet[0] ?? 0] ?? 0) + 1
  return counts
}

/** Queues as many of the packets as fit, and the others as room comes. */
function sendAll(network: TestNetwork, ways: readonly (readonly [TestPeer, TestPeer])[], count: number): void {
  for (const [from, to] of ways) {
    let next = 0
    while (next < count) {
      if (from.send(to, numbered(next))) next += 1
      else network.run(50)
    }
  }
}

test('a session is confirmed on both sides two round trips after the first cookie request', () => {
  const network = new TestNetwork('handshake')
  const [a, b] = befriendedPair(network)
  const start = network.now
  a.connectTo(b)
  assert.ok(network.run(1_000, () => a.count('confirmed') === 1 && b.count('confirmed') === 1))
  assert.equal(network.now - start, 5 * network.delay)
  assert.deepEqual(kindCounts(a.sent), { 24: 1, 26: 1, 27: 1 })
  assert.deepEqual(kindCounts(b.sent), { 25: 1, 26: 1, 27: 1 })
})

test('two sides that begin at once end with one session', () => {
  for (const jitter of [0, 30, 200]) {
    const network = new TestNetwork(`glare ${jitter}`)
    network.jitter = jitter
    const [a, b] = befriendedPair(network)
    a.connectTo(b)
    b.connectTo(a)
    assert.ok(network.run(4_000, () => a.count('confirmed') === 1 && b.count('confirmed') === 1))
    assert.ok(a.send(b, numbered(7)) && b.send(a, numbered(8)))
    network.run(5_000)
    assert.deepEqual([a.packets, b.packets], [[numbered(8)], [numbered(7)]])
    assert.deepEqual([a.count('closed'), b.count('closed')], [0, 0])
  }
})

for (const loss of [0, 0.2, 0.4]) {
  test(`500 packets each way arrive in order and once with ${loss * 100} % loss, copies and reordering`, () => {
    const network = new TestNetwork(`loss ${loss}`)
    const [a, b] = connectedPair(network)
    network.loss = loss
    network.copies = 0.1
    network.jitter = 40
    const expected = Array.from({ length: 500 }, (_, number) => numbered(number))
    sendAll(
      network,
      [
        [a, b],
        [b, a],
      ],
      500,
    )
    assert.ok(network.run(30_000, () => a.packets.length >= 500 && b.packets.length >= 500))
    assert.deepEqual(a.packets, expected)
    assert.deepEqual(b.packets, expected)
  })
}

test('a full queue refuses packets, and takes them again when the friend has read', () => {
  const network = new TestNetwork('queue')
  const [a, b] = connectedPair(network)
  let taken = 0
  while (a.send(b, numbered(taken))) taken += 1
  assert.equal(taken, 1_024 + 64)
  assert.equal(a.send(b, numbered(0)), false)
  network.run(10_000, () => b.packets.length === taken)
  assert.equal(b.packets.length, taken)
  assert.ok(a.send(b, numbered(0)))
})

test('a strange device gets a cookie, and no more', () => {
  const network = new TestNetwork('stranger')
  const [a, b] = befriendedPair(network)
  b.crypto.removeFriend(a.keyPair.publicKey)
  a.connectTo(b)
  network.run(20_000)
  assert.equal(b.count('confirmed'), 0)
  assert.deepEqual(Object.keys(kindCounts(b.sent)), [String(0x19)])
  assert.ok((b.crypto.stats().dropped.stranger ?? 0) >= 8)
  assert.deepEqual(
    a.events.map((event) => event.kind),
    ['closed'],
  )
})

test('a killed session ends on the other side at once', () => {
  const network = new TestNetwork('kill')
  const [a, b] = connectedPair(network)
  a.run(a.crypto.kill(b.keyPair.publicKey, 'stopped'))
  network.run(network.delay)
  assert.equal(b.count('closed'), 1)
  assert.equal(b.crypto.connectionWith(a.keyPair.publicKey), 'none')
})

test('a friend that restarted replaces its old session, and its old handshake cannot come back', () => {
  const network = new TestNetwork('restart')
  const [a, b] = connectedPair(network)
  network.peers.splice(network.peers.indexOf(a), 1)
  const again = network.peer(1, a.keyPair)
  again.crypto.addFriend(b.keyPair.publicKey)
  again.connectTo(b)
  assert.ok(network.run(2_000, () => again.count('confirmed') === 1 && b.count('confirmed') === 2))
  assert.equal(b.count('closed'), 1)
  const told = b.events.flatMap((event) => (event.kind === 'dht-key' ? [event.dhtKey] : [])).at(-1)
  assert.ok(told !== undefined && equalBytes(told, again.dht.publicKey))
  for (const copy of a.sent) b.run(b.crypto.receive(copy, a.address, network.now))
  network.run(3_000)
  assert.equal(b.count('closed'), 1)
  assert.ok((b.crypto.stats().dropped.replayed ?? 0) > 0)
  assert.ok(again.send(b, numbered(1)))
  network.run(1_000)
  assert.deepEqual(b.packets, [numbered(1)])
})

test('a friend that lost its session but not its DHT key gets a new one', () => {
  const network = new TestNetwork('lost session')
  const [a, b] = connectedPair(network)
  network.loss = 1
  a.run(a.crypto.kill(b.keyPair.publicKey, 'forgotten'))
  network.loss = 0
  network.run(1_000)
  a.connectTo(b)
  assert.ok(network.run(4_000, () => a.count('confirmed') === 2 && b.count('confirmed') === 2))
})

test('a session follows a friend whose address changed, without new keys and without losing a packet', () => {
  const network = new TestNetwork('rebinding')
  const [a, b] = connectedPair(network)
  for (let move = 0; move < 5; move++) {
    a.address = { address: '203.0.113.9', port: 100 + move }
    assert.ok(a.send(b, numbered(move)) && b.send(a, numbered(move)))
    assert.ok(network.run(1_500, () => b.packets.length === move + 1 && a.packets.length === move + 1))
  }
  assert.equal(b.crypto.stats().moved, 5)
  assert.deepEqual([a.count('confirmed'), b.count('confirmed'), b.count('closed')], [1, 1, 0])
})

test('a copy of a packet from another address does not move a session', () => {
  const network = new TestNetwork('copied')
  const [a, b] = connectedPair(network)
  a.send(b, numbered(1))
  network.run(100)
  for (const copy of a.sent) b.run(b.crypto.receive(copy, { address: '198.51.100.66', port: 6 }, network.now))
  assert.equal(b.crypto.stats().moved, 0)
  assert.deepEqual(b.packets, [numbered(1)])
})

test('a nudge on a good path stays quiet; on a dead one it says so within 400 ms, and again later', () => {
  const network = new TestNetwork('nudge')
  const [a, b] = connectedPair(network)
  const friend = b.keyPair.publicKey
  a.send(b, numbered(0))
  a.run(a.crypto.nudge(friend, network.now))
  network.run(2_000)
  assert.equal(a.count('silent'), 0)
  network.loss = 1
  a.send(b, numbered(1))
  a.run(a.crypto.nudge(friend, network.now))
  network.run(400)
  assert.equal(a.count('silent'), 1)
  network.run(10_000)
  assert.equal(a.count('silent'), 4)
  const sent = a.sent.length
  network.run(10_000)
  assert.ok(a.sent.length - sent < 40, 'a dead path is not flooded')
})

test('a path that is silent for three seconds is reported without a nudge', () => {
  const network = new TestNetwork('silence')
  const [a, b] = connectedPair(network)
  network.loss = 1
  network.run(3_500)
  assert.deepEqual([a.count('silent'), b.count('silent')], [1, 1])
})

test('an address that somebody names heals a doubted session', () => {
  const network = new TestNetwork('named address')
  const [a, b] = connectedPair(network)
  a.address = { address: '203.0.113.9', port: 5 }
  b.address = { address: '203.0.113.9', port: 6 }
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.send(to, numbered(3))
    from.run(from.crypto.nudge(to.keyPair.publicKey, network.now))
  }
  network.run(500)
  assert.deepEqual([a.packets.length, b.packets.length], [0, 0])
  a.connectTo(b)
  assert.ok(network.run(4 * network.delay, () => a.packets.length === 1 && b.packets.length === 1))
  assert.equal(a.count('closed'), 0)
})

test('an idle session sends about one packet a second', () => {
  const network = new TestNetwork('idle')
  const [a, b] = connectedPair(network)
  network.run(2_000)
  const before = a.sent.length + b.sent.length
  network.run(60_000)
  const perSecond = (a.sent.length + b.sent.length - before) / 60
  assert.ok(perSecond >= 1.9 && perSecond <= 2.1, `${perSecond} packets a second on both sides together`)
})

test('a session that wakes after a jump of the clock reports the silence and stays usable', () => {
  const network = new TestNetwork('sleep')
  const [a, b] = connectedPair(network)
  network.now += 3_600_000
  network.run(2_000)
  assert.ok(a.send(b, numbered(5)))
  assert.ok(network.run(2_000, () => b.packets.length === 1))
})

test('a session lives through more packets than its nonce window is wide', () => {
  const network = new TestNetwork('nonce window')
  const [a, b] = connectedPair(network)
  network.delay = 1
  const lossy = Uint8Array.of(200, 1)
  for (let i = 0; i < 140_000; i++) {
    for (const effect of a.crypto.sendLossy(b.keyPair.publicKey, lossy) ?? []) {
      if (effect.kind === 'send' && i % 1_000 === 0) b.run(b.crypto.receive(effect.bytes, a.address, network.now))
    }
  }
  assert.equal(b.packets.length, 140)
})

test('damaged and random datagrams change nothing in any state', () => {
  const network = new TestNetwork('fuzz')
  const [a, b] = befriendedPair(network)
  const random = network.random
  const seen: Uint8Array[] = []
  const attack = (): void => {
    const deadline = b.crypto.deadline
    const kind = b.crypto.connectionWith(a.keyPair.publicKey)
    const { dropped: _, ...before } = b.crypto.stats()
    for (let i = 0; i < 60; i++) {
      const model = seen[Math.floor(random.unit() * seen.length)] ?? random.bytes(40)
      const bytes = i % 3 === 0 ? random.bytes(Math.floor(random.unit() * 1_500)) : model.slice()
      if (i % 3 === 0 && bytes.length > 0) bytes[0] = 0x18 + (i % 4)
      else bytes[Math.floor(random.unit() * bytes.length)]! ^= 1 + Math.floor(random.unit() * 255)
      const cut = i % 3 === 2 ? bytes.subarray(0, Math.floor(random.unit() * bytes.length)) : bytes
      assert.deepEqual(b.crypto.receive(cut, { address: '198.51.100.66', port: 6 }, network.now), [])
    }
    const { dropped, ...after } = b.crypto.stats()
    assert.deepEqual(after, before)
    assert.equal(b.crypto.deadline, deadline)
    assert.equal(b.crypto.connectionWith(a.keyPair.publicKey), kind)
    assert.ok(Object.values(dropped).reduce((sum, count) => sum + count, 0) >= 60)
  }
  const carry = network.carry.bind(network)
  network.carry = (bytes, way) => {
    seen.push(bytes)
    carry(bytes, way)
  }
  attack()
  b.connectTo(a)
  for (let step = 0; step < 12; step++) {
    attack()
    network.run(network.delay / 2)
  }
  assert.equal(b.crypto.connectionWith(a.keyPair.publicKey), 'confirmed')
  attack()
  assert.ok(a.send(b, numbered(9)))
  network.run(500)
  assert.deepEqual(b.packets, [numbered(9)])
})

/** What strangers may send: forged, mutated, repeated and too many messages. Nothing of it may change a thing. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SecretKey } from '../api/keys.ts'
import { randomBelow } from '../util/random.ts'
import { endpointA, endpointB, twoDevices } from './testing/two-devices.ts'
import { seededRandom } from './testing/virtual-tunnel.ts'
import { CookieJar } from './wireguard/cookie.ts'
import { importKeyPair } from './wireguard/crypto.ts'
import { createInitiation } from './wireguard/handshake.ts'
import { encodeTai64n } from './wireguard/tai64n.ts'

const stranger = { address: '203.0.113.66', port: 6666 }

test('a hundred thousand mutated and random datagrams change nothing', async () => {
  const { clock, network, connect, b, atA, atB, pathToB, send, texts } = await twoDevices()
  connect()
  clock.pass(100)
  send('a', 'before')
  clock.pass(1_000)
  // Not yet delivered, so that each would be fresh if it were not mutated.
  network.filter = () => true
  send('a', 'never')
  atA.peer.use(pathToB, { initiate: true })
  const samples = network.sent.filter(({ to }) => to === endpointB).map(({ bytes }) => bytes)
  assert.deepEqual([...new Set(samples.map(([type]) => type))].sort(), [1, 4])
  clock.pass(200)
  const before = { stats: atB.peer.stats(), sent: network.sent.length, timers: clock.timerCount }

  const random = seededRandom(42)
  for (let count = 0; count < 100_000; count++) {
    const sample = samples[randomBelow(random, samples.length)] ?? assert.fail('no sample')
    b.inject(mutate(sample, random), stranger)
  }
  clock.pass(200)
  const { dropped: _before, ...kept } = before.stats
  const { dropped, ...now } = atB.peer.stats()
  assert.deepEqual(now, kept)
  assert.equal(network.sent.length, before.sent, 'nothing was answered')
  const counted = [...Object.values(dropped), ...Object.values(b.guard.stats().dropped)].reduce((a, c) => a + c, 0)
  assert.equal(counted, 100_000)
  network.filter = () => false
  send('a', 'after')
  send('b', 'back')
  clock.pass(100)
  assert.deepEqual(texts('b'), ['before', 'after'])
  assert.deepEqual(texts('a'), ['back'])
})

function mutate(sample: Uint8Array, random: ReturnType<typeof seededRandom>): Uint8Array {
  const mutated = Uint8Array.from(sample)
  const [kind = 0] = random.bytes(1)
  if (kind < 16) return random.bytes(randomBelow(random, 200))
  if (kind < 48) return mutated.subarray(0, randomBelow(random, mutated.length))
  // mac2 says something only under load, which a mutated message does not bring about.
  const at = randomBelow(random, mutated[0] === 1 ? mutated.length - 16 : mutated.length)
  mutated[at] = (mutated[at] ?? 0) ^ (1 + randomBelow(random, 255))
  return mutated
}

test('initiations that are wrong behind a valid mac1 change nothing', async () => {
  const { clock, network, a, b, atA, atB, pathToA, pathToB } = await twoDevices()
  atB.peer.use(pathToA)
  network.filter = () => true
  atA.peer.use(pathToB, { initiate: true })
  const [initiation] = network.sent.map(({ bytes }) => bytes)
  assert.ok(initiation !== undefined)
  const jar = new CookieJar(b.publicKey)
  let wrong = 0
  for (let at = 8; at < 116; at++) {
    const forged = Uint8Array.from(initiation)
    forged[at] = (forged[at] ?? 0) ^ 1
    jar.setMacs(forged, 0)
    b.inject(forged, stranger)
    clock.pass(20)
    wrong++
  }
  const { unauthenticated: unknown = 0 } = b.guard.stats().dropped
  const { unauthenticated: ofPeer = 0 } = atB.peer.stats().dropped
  assert.equal(unknown + ofPeer, wrong)
  assert.ok(unknown > 0 && ofPeer > 0)
  assert.equal(network.sent.filter(({ from }) => from === endpointB).length, 0)
  assert.deepEqual(atB.peer.stats().endpoint, endpointA)
  network.filter = () => false
  b.inject(initiation, endpointA)
  assert.equal(network.sent.filter(({ from }) => from === endpointB).length, 1, 'the true one is still new')
  assert.deepEqual(a.guard.stats().dropped, {})
})

test('a response that is wrong behind a valid mac1 leaves the handshake waiting for the true one', async () => {
  const { clock, network, a, connect, atA } = await twoDevices()
  connect()
  network.filter = (bytes) => bytes[0] === 2
  clock.pass(20)
  const response = network.sent.find(({ bytes }) => bytes[0] === 2)?.bytes ?? assert.fail('no response')
  for (let at = 12; at < 60; at++) {
    const forged = Uint8Array.from(response)
    forged[at] = (forged[at] ?? 0) ^ 1
    new CookieJar(a.publicKey).setMacs(forged, 0)
    a.inject(forged, stranger)
  }
  assert.deepEqual(atA.peer.stats().dropped, { unauthenticated: 48 })
  assert.deepEqual(atA.events, [])
  assert.deepEqual(atA.peer.stats().endpoint, endpointB)
  a.inject(response, endpointB)
  assert.deepEqual(atA.events, ['established'])
  a.inject(response, endpointB)
  assert.equal(atA.peer.stats().dropped['unexpected-response'], 1)
})

test('a replayed initiation is dropped, from wherever it comes', async () => {
  const { clock, network, connect, b, atB } = await twoDevices()
  connect()
  clock.pass(1_000)
  const initiation = network.sent[0]?.bytes ?? assert.fail('no initiation')
  const before = network.sent.length
  b.inject(initiation, stranger)
  b.inject(initiation, endpointA)
  assert.equal(network.sent.length, before)
  assert.deepEqual(atB.peer.stats().dropped, { 'replayed-initiation': 2 })
  assert.deepEqual(atB.peer.stats().endpoint, endpointA)
})

test('a replayed packet is dropped and does not move the endpoint', async () => {
  const { clock, network, connect, b, atB, send, texts } = await twoDevices()
  connect()
  clock.pass(1_000)
  send('a', 'once')
  clock.pass(10)
  const packet = network.sent.at(-1)?.bytes ?? assert.fail('no packet')
  b.inject(packet, stranger)
  clock.pass(200)
  assert.deepEqual(texts('b'), ['once'])
  assert.deepEqual(atB.peer.stats().dropped, { replayed: 1 })
  assert.deepEqual(atB.peer.stats().endpoint, endpointA)
})

test('an initiation within 50 ms of the last is dropped as a flood', async () => {
  const { clock, network, atA, atB, pathToA, pathToB, b } = await twoDevices()
  network.filter = () => true
  atB.peer.use(pathToA)
  atA.peer.use(pathToB, { initiate: true })
  clock.pass(500)
  const [first, second] = network.sent.filter(({ bytes }) => bytes[0] === 1).map(({ bytes }) => bytes)
  assert.ok(first !== undefined && second !== undefined)
  b.inject(first, endpointA)
  clock.pass(49)
  b.inject(second, endpointA)
  assert.equal(atB.peer.stats().dropped['initiation-flood'], 1)
  clock.pass(1)
  b.inject(second, endpointA)
  assert.equal(network.sent.filter(({ from }) => from === endpointB).length, 2)
})

/** Initiations of devices that the responder does not know, which cost it most. */
function strangersInitiation(responder: Uint8Array, seed: number): Uint8Array {
  const random = seededRandom(seed)
  const local = importKeyPair(random.bytes(32))
  const remote = {
    publicKey: responder,
    staticStatic: new SecretKey(new Uint8Array(32)),
    presharedKey: new SecretKey(new Uint8Array(32)),
  }
  const timestamp = encodeTai64n(0)
  const { message } = createInitiation(local, remote, { sender: seed, ephemeralSecret: random.bytes(32), timestamp })
  new CookieJar(responder).setMacs(message, 0)
  return message
}

test('a flood of initiations is answered by cookies, and who answers to its address still gets in', async () => {
  const { clock, network, connect, b, atA, atB } = await twoDevices({ b: { underLoadMessages: 20 } })
  const flood = Array.from({ length: 10 }, (_, seed) => strangersInitiation(b.publicKey, seed))
  const pour = (): void => {
    for (let count = 0; count < 50; count++) b.inject(flood[count % flood.length] ?? assert.fail('empty'), stranger)
  }
  pour()
  assert.deepEqual(b.guard.stats().dropped, { 'unknown-peer': 20, 'cookie-required': 30 })
  const replies = network.sent.filter(({ bytes, from }) => bytes[0] === 3 && from === endpointB)
  assert.equal(replies.length, 30)
  assert.ok(replies.every(({ bytes, to }) => bytes.length === 64 && to === stranger))
  connect()
  for (let at = 0; at < 10; at++) {
    clock.pass(100)
    pour()
  }
  assert.deepEqual([atA.events, atB.events], [['established'], ['established']])
  const initiations = network.sent.filter(({ bytes, to }) => bytes[0] === 1 && to === endpointB)
  assert.deepEqual(
    initiations.map(({ bytes }) => bytes.subarray(132).some((byte) => byte !== 0)),
    [false, true],
  )
})

test('under load even an address that shows its cookie has a limit', async () => {
  const { network, b, clock } = await twoDevices({ b: { underLoadMessages: 1 } })
  const jar = new CookieJar(b.publicKey)
  const message = strangersInitiation(b.publicKey, 5)
  b.inject(message, stranger)
  b.inject(message, stranger)
  const reply = network.sent.at(-1)?.bytes ?? assert.fail('no cookie')
  jar.setMacs(message, clock.now())
  assert.ok(
    jar.consumeReply(
      { kind: 'cookie-reply', receiver: 5, nonce: reply.subarray(8, 32), encryptedCookie: reply.subarray(32) },
      clock.now(),
    ),
  )
  jar.setMacs(message, clock.now())
  for (let count = 0; count < 20; count++) b.inject(message, stranger)
  assert.deepEqual(b.guard.stats().dropped, { 'unknown-peer': 6, 'cookie-required': 1, 'rate-limited': 15 })
})

test('a forged cookie reply is dropped', async () => {
  const { network, a, atA, pathToB } = await twoDevices()
  atA.peer.use(pathToB, { initiate: true })
  const initiation = network.sent[0]?.bytes ?? assert.fail('no initiation')
  const forged = new Uint8Array(64)
  forged[0] = 3
  forged.set(initiation.subarray(4, 8), 4)
  a.inject(forged, stranger)
  assert.deepEqual(atA.peer.stats().dropped, { 'unexpected-cookie': 1 })
  forged[4] = (forged[4] ?? 0) ^ 1
  a.inject(forged, stranger)
  assert.deepEqual(a.guard.stats().dropped, { 'unknown-index': 1 })
})

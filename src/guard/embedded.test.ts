import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PunchGuardError } from '../api/errors.ts'
import { endpointA, endpointB, presharedKey, twoDevices } from './testing/two-devices.ts'
import { ipv4Packet, seededRandom, VirtualDevice, VirtualPath } from './testing/virtual-tunnel.ts'

const initiation = 1
const transport = 4

function isOfType(type: number): (sent: { readonly bytes: Uint8Array }) => boolean {
  return ({ bytes }) => bytes[0] === type
}

test('two devices shake hands within a round trip, say so once, and carry packets both ways', async () => {
  const { clock, connect, atA, atB, send, texts } = await twoDevices()
  connect()
  clock.pass(20)
  assert.deepEqual(atA.events, ['established'])
  clock.pass(10)
  assert.deepEqual(atB.events, ['established'])
  send('a', 'there')
  send('b', 'back')
  clock.pass(10)
  assert.deepEqual(texts('b'), ['there'])
  assert.deepEqual(texts('a'), ['back'])
  clock.pass(60_000)
  assert.deepEqual([...atA.events, ...atB.events], ['established', 'established'])
})

test('a packet sent before the handshake waits for it', async () => {
  const { clock, atA, atB, pathToA, pathToB, send, texts } = await twoDevices()
  atB.peer.use(pathToA)
  atA.peer.use(pathToB)
  send('a', 'first')
  clock.pass(40)
  assert.deepEqual(texts('b'), ['first'])
})

test('without a path nothing is sent, and what waited is dropped after 90 s', async () => {
  const { clock, network, atA, send } = await twoDevices()
  for (let count = 0; count < 130; count++) send('a', `${count}`)
  clock.pass(91_000)
  assert.equal(network.sent.length, 0)
  const { dropped } = atA.peer.stats()
  assert.deepEqual(dropped, { 'queue-full': 2, 'queue-dropped': 128 })
  assert.equal(clock.timerCount, 0)
})

test('on a fresh path an unanswered initiation is repeated after 0.5, 1, 2 and then 5 s, and given up after 90 s', async () => {
  const { clock, network, atA, pathToB } = await twoDevices()
  network.filter = () => true
  const start = clock.now()
  const times: number[] = []
  network.filter = () => {
    times.push(clock.now() - start)
    return true
  }
  atA.peer.use(pathToB, { initiate: true })
  clock.pass(300_000)
  assert.deepEqual(times.slice(0, 4), [0, 500, 1_500, 3_500])
  for (let at = 4; at < times.length; at++) {
    const pause = (times[at] ?? 0) - (times[at - 1] ?? 0)
    assert.ok(pause >= 5_000 && pause < 5_334, `pause ${pause}`)
  }
  assert.ok((times.at(-1) ?? 0) < 90_000)
  assert.equal(times.length, 4 + 17 - (times.length === 20 ? 1 : 0))
})

test('an initiation that outran the news of the path is answered as soon as the path is there', async () => {
  const { clock, atA, atB, pathToA, pathToB } = await twoDevices()
  atA.peer.use(pathToB, { initiate: true })
  clock.pass(100)
  assert.deepEqual(atA.events, [])
  atB.peer.use(pathToA)
  clock.pass(20)
  assert.deepEqual([atA.events, atB.events], [['established'], ['established']])
})

test('a session that was renewed over a path just before that path was handed over counts for it', async () => {
  const { clock, connect, atA, atB, pathToA, pathToB } = await twoDevices()
  connect()
  clock.pass(10_000)
  atA.peer.use(pathToB, { initiate: true })
  clock.pass(50)
  assert.equal(atA.count('established'), 2)
  assert.equal(atB.count('established'), 1, 'b has no new path yet')
  atB.peer.use(pathToA)
  assert.equal(atB.count('established'), 2)
})

test('both sides may initiate at once', async () => {
  const { clock, atA, atB, pathToA, pathToB, send, texts } = await twoDevices()
  atB.peer.use(pathToA, { initiate: true })
  atA.peer.use(pathToB, { initiate: true })
  clock.pass(100)
  assert.deepEqual([atA.events, atB.events], [['established'], ['established']])
  send('a', 'there')
  send('b', 'back')
  clock.pass(10)
  assert.deepEqual([texts('a'), texts('b')], [['back'], ['there']])
})

test('a tunnel that is up moves to a new path with one authenticated packet, and keeps its keys', async () => {
  const { clock, network, connect, a, b, atA, atB, send, texts } = await twoDevices()
  connect()
  clock.pass(1_000)
  const elsewhere = { address: '198.51.100.9', port: 9 }
  b.moveTo(elsewhere)
  const before = network.sent.length
  atB.peer.use(new VirtualPath(endpointA))
  clock.pass(10)
  assert.deepEqual(
    network.sent.slice(before).map(({ bytes }) => bytes.length),
    [32],
  )
  assert.deepEqual(atA.peer.stats().endpoint, elsewhere)
  send('a', 'found you')
  clock.pass(10)
  assert.deepEqual(texts('b'), ['found you'])
  assert.equal(network.sent.filter(isOfType(initiation)).length, 1)
  assert.deepEqual(a.guard.stats().dropped, {})
})

test('a path whose end moves takes the tunnel along', async () => {
  const { clock, connect, b, pathToB, atA, send, texts } = await twoDevices()
  connect()
  clock.pass(1_000)
  const elsewhere = { address: '198.51.100.9', port: 9 }
  b.moveTo(elsewhere)
  pathToB.move(elsewhere)
  send('a', 'followed')
  clock.pass(10)
  assert.deepEqual(texts('b'), ['followed'])
  assert.deepEqual(atA.peer.stats().endpoint, elsewhere)
})

test('use(undefined) sends nothing more, nor learns a place to send to', async () => {
  const { clock, network, connect, atA, send, texts } = await twoDevices()
  connect()
  clock.pass(1_000)
  atA.peer.use(undefined)
  const before = network.sent.length
  send('b', 'still heard')
  send('a', 'waits')
  clock.pass(15_000)
  assert.deepEqual(texts('a'), ['still heard'])
  assert.deepEqual(texts('b'), [])
  assert.equal(network.sent.slice(before).filter(({ from }) => from === endpointA).length, 0)
  assert.equal(atA.peer.stats().endpoint, undefined)
})

test('silence is reported a second after the first unanswered packet, and once a second while we go on', async () => {
  const { clock, network, connect, atA, send } = await twoDevices()
  connect()
  clock.pass(1_000)
  network.filter = () => true
  send('a')
  clock.pass(999)
  assert.equal(atA.count('unanswered'), 0)
  clock.pass(1)
  assert.equal(atA.count('unanswered'), 1)
  clock.pass(10_000)
  assert.equal(atA.count('unanswered'), 1, 'nothing more was sent')
  for (let count = 0; count < 30; count++) {
    send('a')
    clock.pass(100)
  }
  assert.equal(atA.count('unanswered'), 4)
})

test('an answer within the second is no silence', async () => {
  const { clock, connect, atA, atB, send } = await twoDevices()
  connect()
  clock.pass(1_000)
  for (let count = 0; count < 20; count++) {
    send('a')
    clock.pass(960)
    send('b')
    clock.pass(940)
  }
  assert.equal(atA.count('unanswered'), 0)
  assert.equal(atB.count('unanswered'), 0)
})

test('data that is not answered otherwise is answered by a keepalive after 10 s', async () => {
  const { clock, network, connect, send } = await twoDevices()
  connect()
  clock.pass(1_000)
  send('a')
  clock.pass(9_900)
  const before = network.sent.length
  clock.pass(200)
  const keepalives = network.sent.slice(before)
  assert.deepEqual(
    keepalives.map(({ bytes, from }) => [bytes.length, from]),
    [[32, endpointB]],
  )
  clock.pass(60_000)
  assert.equal(network.sent.length, before + 1, 'a keepalive is not answered')
})

test('a peer that lost its keys is found again 15 s after data that it cannot answer', async () => {
  const { clock, network, connect, a, atB, b, atA, send, texts } = await twoDevices()
  connect()
  clock.pass(1_000)
  await atB.peer[Symbol.asyncDispose]()
  const again = await b.addPeer({ publicKey: a.publicKey, presharedKey: undefined, allowedIps: ['10.0.0.1/32'] })
  again.peer.use(new VirtualPath(endpointA))
  send('a', 'lost')
  clock.pass(14_900)
  assert.equal(network.sent.filter(isOfType(initiation)).length, 1)
  clock.pass(500)
  assert.equal(network.sent.filter(isOfType(initiation)).length, 2)
  send('a', 'heard')
  clock.pass(100)
  assert.deepEqual(texts('b'), ['heard'])
  assert.deepEqual(again.events, ['established'])
  assert.deepEqual(atA.count('established'), 1, 'the old session was still valid')
})

test('a session without traffic is not renewed, ends, and begins again with the next packet', async () => {
  const { clock, network, connect, atA, atB, send, texts } = await twoDevices()
  connect()
  clock.pass(600_000)
  assert.equal(network.sent.filter(isOfType(initiation)).length, 1)
  assert.equal(clock.timerCount, 0, 'an idle tunnel wakes nobody')
  send('b', 'awake')
  clock.pass(100)
  assert.deepEqual(texts('a'), ['awake'])
  assert.deepEqual([atA.count('established'), atB.count('established')], [2, 2])
})

test('the initiator renews a busy session every 120 s without a gap', async () => {
  const { clock, network, connect, send, texts, atA } = await twoDevices()
  connect()
  clock.pass(100)
  for (let second = 0; second < 600; second++) {
    send('a', `a${second}`)
    send('b', `b${second}`)
    clock.pass(1_000)
  }
  assert.equal(texts('a').length, 600)
  assert.equal(texts('b').length, 600)
  const initiations = network.sent.filter(isOfType(initiation))
  assert.equal(initiations.length, 5)
  assert.ok(initiations.every(({ from }) => from === endpointA))
  assert.equal(atA.count('established'), 1)
})

test('a session in which only the initiator receives is renewed before it ends', async () => {
  const { clock, connect, send, texts } = await twoDevices()
  connect()
  clock.pass(100)
  for (let second = 0; second < 600; second++) {
    send('b', `${second}`)
    clock.pass(1_000)
  }
  assert.equal(texts('a').length, 600)
})

test('a key that has sealed its number of packets is replaced, and beyond the limit nothing is sealed with it', async () => {
  const limits = { rekeyAfterMessages: 20, rejectAfterMessages: 40 }
  const { clock, network, connect, send, texts } = await twoDevices({ a: { limits } })
  connect()
  clock.pass(6_000)
  for (let count = 0; count < 200; count++) {
    send('a', `${count}`)
    clock.pass(200)
  }
  clock.pass(100)
  assert.equal(texts('b').length, 200)
  assert.ok(network.sent.filter(isOfType(initiation)).length >= 5)
  const perSession = new Map<number, number>()
  for (const { bytes } of network.sent.filter(({ bytes, from }) => bytes[0] === transport && from === endpointA)) {
    const receiver = new DataView(bytes.buffer).getUint32(4, true)
    perSession.set(receiver, (perSession.get(receiver) ?? 0) + 1)
  }
  assert.ok(Math.max(...perSession.values()) <= 40)
})

test('a persistent keepalive is sent when it was asked for', async () => {
  const { clock, network, connect } = await twoDevices({ a: { persistentKeepalive: 25_000 } })
  connect()
  clock.pass(100)
  const before = network.sent.length
  clock.pass(100_000)
  const keepalives = network.sent.slice(before).filter(({ from, bytes }) => from === endpointA && bytes.length === 32)
  assert.equal(keepalives.length, 4)
})

test('equal pre-shared keys connect, different ones do not', async () => {
  const equal = await twoDevices({ presharedKeys: [7, 7] })
  equal.connect()
  equal.clock.pass(100)
  assert.deepEqual(equal.atA.events, ['established'])
  const different = await twoDevices({ presharedKeys: [7, 8] })
  different.connect()
  different.clock.pass(30_000)
  assert.equal(different.atA.count('established') + different.atB.count('established'), 0)
  const { unauthenticated = 0 } = different.atA.peer.stats().dropped
  assert.ok(unauthenticated >= 5)
})

test('a pre-shared key set in mid-life holds from the next handshake on', async () => {
  const { clock, connect, atA, atB, pathToB, send, texts } = await twoDevices({ presharedKeys: [7, 7] })
  connect()
  clock.pass(6_000)
  atA.peer.setPresharedKey(presharedKey(9))
  send('a', 'old key')
  clock.pass(20)
  assert.deepEqual(texts('b'), ['old key'])
  atA.peer.use(pathToB, { initiate: true })
  clock.pass(1_000)
  assert.equal(atA.count('established'), 1)
  atB.peer.setPresharedKey(presharedKey(9))
  clock.pass(4_000)
  assert.equal(atA.count('established'), 2)
  send('a', 'new key')
  clock.pass(20)
  assert.deepEqual(texts('b'), ['old key', 'new key'])
})

test('a clock set back a day does not stop us from initiating', async () => {
  const { clock, connect, atA, pathToB } = await twoDevices()
  connect()
  clock.pass(10_000)
  clock.jumpWallTime(-86_400_000)
  atA.peer.use(pathToB, { initiate: true })
  clock.pass(100)
  assert.equal(atA.count('established'), 2)
})

test('after a restart with a clock set back, the last timestamp of the run before opens the door', async () => {
  for (const isHandedOn of [true, false]) {
    const first = await twoDevices()
    first.connect()
    first.clock.pass(10_000)
    const { lastTimestamp } = first.a.guard
    assert.equal(lastTimestamp?.length, 12)
    const second = await twoDevices({ a: isHandedOn ? { lastTimestamp } : {} })
    // b is the one that lived on: its memory of a is made by an initiation of the first run.
    const old = first.network.sent.find(isOfType(initiation))?.bytes ?? assert.fail('no initiation')
    second.atB.peer.use(second.pathToA)
    second.b.inject(old, endpointA)
    second.clock.pass(1_000)
    second.clock.jumpWallTime(-86_400_000)
    second.atA.peer.use(second.pathToB, { initiate: true })
    second.clock.pass(5_000)
    assert.equal(second.atA.count('established'), isHandedOn ? 1 : 0)
    if (isHandedOn) continue
    const { 'replayed-initiation': replayed = 0 } = second.atB.peer.stats().dropped
    assert.ok(replayed >= 3)
    second.atA.peer.use(second.pathToB)
    second.atB.peer.use(second.pathToA, { initiate: true })
    second.clock.pass(100)
    assert.equal(second.atA.count('established'), 1, 'the other side can initiate all the same')
  }
})

test('several peers share one device, each with its own addresses', async () => {
  const { clock, network, a, b, connect } = await twoDevices()
  const endpoint = { address: '192.0.2.3', port: 3333 }
  const c = new VirtualDevice({ network, endpoint, secret: new Uint8Array(32).fill(3), clock, random: seededRandom(9) })
  const atA = await a.addPeer({ publicKey: c.publicKey, presharedKey: undefined, allowedIps: ['10.0.0.3/32'] })
  const atC = await c.addPeer({ publicKey: a.publicKey, presharedKey: undefined, allowedIps: ['10.0.0.0/24'] })
  connect()
  atA.peer.use(new VirtualPath(endpoint))
  atC.peer.use(new VirtualPath(endpointA), { initiate: true })
  clock.pass(100)
  assert.deepEqual([atA.events, atC.events], [['established'], ['established']])
  for (const to of ['10.0.0.2', '10.0.0.3', '10.0.0.4']) a.send(ipv4Packet({ from: '10.0.0.1', to, payload: 1 }))
  clock.pass(20)
  assert.deepEqual([b.packets.length, c.packets.length], [1, 1])
  assert.deepEqual(a.guard.stats().dropped, { 'no-peer': 1 })
})

test('a packet from a peer with an address that is not its own is dropped', async () => {
  const { clock, connect, a, atB, b } = await twoDevices()
  connect()
  clock.pass(100)
  const forged = new Uint8Array(20)
  forged.set([0x45, 0, 0, 20])
  forged.set([10, 0, 0, 9, 10, 0, 0, 2], 12)
  a.send(forged)
  clock.pass(200)
  assert.equal(b.packets.length, 0)
  assert.deepEqual(atB.peer.stats().dropped, { 'source-not-allowed': 1 })
})

test('adding the same peer twice, our own key or a bad prefix is refused with a hint', async () => {
  const { a, b } = await twoDevices()
  const peer = { publicKey: b.publicKey, presharedKey: undefined, allowedIps: [] }
  const isExisting = (error: unknown): boolean => error instanceof PunchGuardError && error.code === 'PEER_EXISTS'
  await assert.rejects(a.addPeer(peer), isExisting)
  await assert.rejects(a.addPeer({ ...peer, publicKey: a.publicKey }), isExisting)
  await assert.rejects(a.addPeer({ ...peer, allowedIps: ['10.0.0.0/40'] }), /no IP prefix/)
})

test('other allowed IPs take the place of the ones before, in a running session', async () => {
  const { a, b, atA, atB, connect, clock, send } = await twoDevices()
  connect()
  clock.pass(100)
  const deliver = (): void => {
    send('a')
    clock.pass(300)
  }
  deliver()
  assert.equal(b.packets.length, 1)
  await atB.peer.setAllowedIps(['10.9.0.1/32'])
  deliver()
  assert.equal(b.packets.length, 1)
  assert.equal(atB.peer.stats().dropped['source-not-allowed'], 1)
  await atB.peer.setAllowedIps(['10.0.0.1/32'])
  deliver()
  assert.equal(b.packets.length, 2)
  await atA.peer.setAllowedIps([])
  deliver()
  assert.equal(b.packets.length, 2)
  assert.equal(a.guard.stats().dropped['no-peer'], 1)
  await assert.rejects(atA.peer.setAllowedIps(['10.0.0.0/40']), /no IP prefix/)
})

test('disposal removes peers and timers, closes the interface and wipes the keys', async () => {
  const { a, atA, connect, clock, network, send } = await twoDevices()
  connect()
  clock.pass(100)
  send('a')
  await a.guard[Symbol.asyncDispose]()
  assert.ok(a.isTunClosed)
  const before = network.sent.filter(({ from }) => from === endpointA).length
  send('a')
  atA.peer.use(new VirtualPath(endpointB), { initiate: true })
  clock.pass(600_000)
  assert.equal(network.sent.filter(({ from }) => from === endpointA).length, before)
  assert.equal(clock.timerCount, 0)
})

test('statistics say what passed', async () => {
  const { clock, connect, atA, atB, send } = await twoDevices()
  connect()
  clock.pass(100)
  send('a', 'x'.repeat(80))
  clock.pass(500)
  const [sent, received] = [atA.peer.stats(), atB.peer.stats()]
  assert.deepEqual([sent.sentBytes, sent.receivedBytes], [100, 0])
  assert.deepEqual([received.sentBytes, received.receivedBytes], [0, 100])
  assert.equal(sent.lastHandshakeAt, 1_020)
  assert.equal(received.lastHandshakeAt, 1_030)
  assert.equal(received.lastReceivedAt, 1_110)
  assert.deepEqual([sent.endpoint, received.endpoint], [endpointB, endpointA])
})

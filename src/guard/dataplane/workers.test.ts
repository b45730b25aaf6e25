/** Both workers' halves without threads or a kernel: what one sends the other receives, and what they do about errors. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errno } from '../../net/ffi.ts'
import { parsePrefix } from '../wireguard/allowed-ips.ts'
import { DatagramRing } from './datagram-ring.ts'
import { Receiver } from './receive.ts'
import { createPeerRow, readActivity, readDrops } from './shared-activity.ts'
import { alone, asRead, FakeSystem } from './testing/fake-system.ts'
import { encodeInner } from './testing/inner-packets.ts'
import { Transmitter } from './transmit.ts'
import type { PeerCommand } from './worker-messages.ts'

const there = { address: 0xc0a80002, port: 51_820 }
const here = { address: 0xc0a80001, port: 51_821 }
const peer = 1

function install(localIndex: number, remoteIndex: number): PeerCommand {
  return {
    kind: 'install-keypair',
    peer,
    localIndex,
    remoteIndex,
    sendKey: new Uint8Array(32).fill(7),
    receiveKey: new Uint8Array(32).fill(7),
    counter: new Float64Array(1),
    receivedBelow: 0,
    created: 1000,
    rekeyAfterMessages: 1000,
    rejectAfterMessages: 2000,
  }
}

/** Test packets go from 10.64.1.2 (fd70::2) to 10.64.1.1 (fd70::1). */
function prefixes(last: number): Extract<PeerCommand, { kind: 'add-peer' }>['allowedIps'] {
  return [parsePrefix(`10.64.1.${last}/32`)!, parsePrefix(`fd70::${last}/128`)!]
}

function transmitter(): { readonly system: FakeSystem; readonly half: Transmitter; readonly row: Float64Array } {
  const system = new FakeSystem()
  const row = createPeerRow()
  const half = new Transmitter(system.context(), alone())
  half.apply({ kind: 'add-peer', peer, allowedIps: prefixes(1), row })
  return { system, half, row }
}

function connect(half: Transmitter): void {
  half.apply({ kind: 'set-endpoint', peer, endpoint: there, revision: 1 })
  half.apply(install(10, 20))
  half.apply({ kind: 'use-keypair', peer, localIndex: 10, confirm: false })
}

function receiver(): {
  readonly system: FakeSystem
  readonly half: Receiver
  readonly row: Float64Array
  readonly ring: DatagramRing
} {
  const system = new FakeSystem()
  const row = createPeerRow()
  const ring = new DatagramRing(DatagramRing.memory())
  const half = new Receiver(system.context(), { socket: 4, ring, mayMergeUdp: true })
  half.apply({ kind: 'add-peer', peer, allowedIps: prefixes(2), row })
  half.apply({ kind: 'set-endpoint', peer, endpoint: here, revision: 5 })
  half.apply(install(20, 10))
  return { system, half, row, ring }
}

function packets(count: number, family: 4 | 6 = 4): Uint8Array[] {
  return Array.from({ length: count }, (_, at) =>
    encodeInner({ family, protocol: 'tcp', payload: new Uint8Array(1000).fill(at), sequence: at * 1000 }),
  )
}

test('packets that one half sends in one message come out of the other as one packet', () => {
  for (const family of [4, 6] as const) {
    const from = transmitter()
    connect(from.half)
    from.system.toRead.push(...packets(5, family).map(asRead))
    assert.equal(from.half.turn(), 'idle')
    const [message, ...more] = from.system.sent
    assert.equal(more.length, 0)
    assert.equal(message?.datagrams.length, 5)
    assert.deepEqual(message?.to, there)

    const to = receiver()
    const bytes = new Uint8Array(Buffer.concat([...message!.datagrams]))
    to.system.toReceive.push({ bytes, segmentSize: message!.segmentSize!, from: here })
    assert.equal(to.half.turn(), 'idle')
    assert.equal(to.system.written.length, 1)
    const [written] = to.system.written
    assert.equal(written![1], family === 4 ? 1 : 4)
    assert.equal(written!.length, 10 + packets(1, family)[0]!.length + 4000)
    const activity = readActivity(to.row, { endpoint: undefined, endpointRevision: 0 })
    assert.equal(activity.confirmed, 20)
    assert.equal(activity.receivedBytes, 5 * packets(1, family)[0]!.length)

    to.system.toReceive.push({ bytes, segmentSize: message!.segmentSize!, from: here })
    to.half.turn()
    assert.equal(to.system.written.length, 1)
    assert.deepEqual(readActivity(to.row, { endpoint: undefined, endpointRevision: 0 }).dropped, { replayed: 5 })
  }
})

test('a large packet whose parts are padded comes out whole, sealed by WebAssembly too', () => {
  const payload = Uint8Array.from({ length: 4_001 }, (_, at) => at * 7)
  // 999 bytes and 40 of headers: each packet is padded over the begin of the next.
  const large = asRead(encodeInner({ family: 4, protocol: 'tcp', payload }))
  const header = new DataView(large.buffer)
  header.setUint8(0, 1)
  header.setUint8(1, 1)
  header.setUint16(4, 999, true)
  header.setUint16(6, 20, true)
  header.setUint16(8, 16, true)
  const from = transmitter()
  connect(from.half)
  from.system.toRead.push(large)
  from.half.turn()
  const [message] = from.system.sent
  assert.deepEqual([message?.datagrams.length, message?.segmentSize], [5, 1072])
  const to = receiver()
  const bytes = new Uint8Array(Buffer.concat([...message!.datagrams]))
  to.system.toReceive.push({ bytes, segmentSize: message!.segmentSize!, from: here })
  to.half.turn()
  const [written] = to.system.written
  assert.deepEqual(written?.subarray(10 + 40), payload)
})

test('the first packet after a pause is sent by itself, and the rest together in the next turn', () => {
  const { system, half } = transmitter()
  connect(half)
  const send = (count: number): void => {
    system.toRead.push(...packets(count).map(asRead))
    half.turn()
    half.turn()
  }
  send(3)
  system.now += 0.5
  send(4)
  system.now += 1
  send(4)
  assert.deepEqual(
    system.sent.map(({ datagrams }) => datagrams.length),
    [3, 4, 1, 3],
  )
})

test('a message with room waits for the next read of a turn, and for no other', () => {
  const { system, half } = transmitter()
  connect(half)
  const payload = new Uint8Array(60_000)
  const large = (sequence: number): Uint8Array => {
    const bytes = asRead(encodeInner({ family: 4, protocol: 'tcp', payload, sequence }))
    bytes.set([1, 1], 0)
    new DataView(bytes.buffer).setUint16(4, 1000, true)
    bytes.set([20, 0, 16, 0], 6)
    return bytes
  }
  system.toRead.push(large(0), large(60_000))
  half.turn()
  // 61 datagrams of 1072 bytes are the most of one message; 60 and 60 packets are 61 and 59 datagrams.
  assert.deepEqual(
    system.sent.map(({ datagrams }) => datagrams.length),
    [61, 59],
  )
  const counters = system.sent.flatMap(({ datagrams }) => datagrams.map((one) => one[8]))
  assert.deepEqual(
    counters,
    Array.from({ length: 120 }, (_, at) => at),
  )
  const to = receiver()
  for (const { datagrams, segmentSize } of system.sent)
    to.system.toReceive.push({
      bytes: new Uint8Array(Buffer.concat([...datagrams])),
      segmentSize: segmentSize!,
      from: here,
    })
  to.half.turn()
  const { receivedBytes, dropped } = readActivity(to.row, { endpoint: undefined, endpointRevision: 0 })
  assert.deepEqual([receivedBytes, dropped], [120 * 1040, {}])
})

test('packets wait for a session, in order, and ask for one once', () => {
  const { system, half, row } = transmitter()
  system.toRead.push(...packets(3).map(asRead))
  half.turn()
  assert.deepEqual([system.sent.length, system.events], [0, [{ kind: 'activity', urgent: true }]])
  assert.equal(readActivity(row, { endpoint: undefined, endpointRevision: 0 }).waitingSince, 1000)
  connect(half)
  assert.equal(system.sent[0]?.datagrams.length, 3)
  const { waitingSince, sentBytes } = readActivity(row, { endpoint: undefined, endpointRevision: 0 })
  assert.deepEqual([waitingSince, sentBytes], [undefined, 3 * 1040])
})

test('a card without checksums: the message goes datagram by datagram, and so does everything from then on', () => {
  const { system, half } = transmitter()
  connect(half)
  system.sendErrors.push(errno.EIO)
  system.toRead.push(...packets(3).map(asRead))
  half.turn()
  assert.deepEqual(
    system.sent.map(({ datagrams, segmentSize }) => [datagrams.length, segmentSize]),
    [1, 1, 1].map((count) => [count, undefined]),
  )
  assert.deepEqual(half.offloads, [])
  assert.ok(system.events.some((event) => event.kind === 'fell-back' && event.what === 'udp-segment'))
  system.toRead.push(...packets(2).map(asRead))
  half.turn()
  assert.equal(system.sent.length, 5)
})

for (const code of [errno.EMSGSIZE, errno.EINVAL])
  test(`a path that refuses a large message (${code}) gets small ones for ten seconds`, () => {
    const { system, half } = transmitter()
    connect(half)
    system.sendErrors.push(code)
    const sendThree = (): number => {
      system.sent.length = 0
      system.toRead.push(...packets(3).map(asRead))
      half.turn()
      half.turn()
      return system.sent.length
    }
    assert.equal(sendThree(), 3)
    system.now += 9_999
    assert.equal(sendThree(), 3)
    system.now += 2
    // The first is sent before the others are there.
    assert.equal(sendThree(), 2)
    assert.deepEqual(half.offloads, ['udp-segment'])
  })

test('what the system will not send is dropped and counted, and a signal is no error', () => {
  const { system, half, row } = transmitter()
  connect(half)
  system.sendErrors.push(errno.EINTR, errno.EPERM)
  system.toRead.push(...packets(1).map(asRead))
  half.turn()
  assert.equal(system.sent.length, 0)
  const { dropped } = readActivity(row, { endpoint: undefined, endpointRevision: 0 })
  assert.deepEqual(dropped, { 'send-failed': 1 })
})

test('an interface that is down is told from one that is gone', () => {
  const { system, half } = transmitter()
  system.toRead.push(errno.EIO)
  assert.equal(half.turn(), 'down')
  system.toRead.push(errno.ENODEV)
  assert.equal(half.turn(), 'gone')
})

test('without a peer for it a packet is dropped; after the peer went, too', () => {
  const { system, half } = transmitter()
  connect(half)
  half.apply({ kind: 'remove-peer', peer })
  system.toRead.push(...packets(1).map(asRead))
  half.turn()
  assert.equal(system.sent.length, 0)
  assert.deepEqual(readDrops(system.drops), { 'no-peer': 1 })
})

test('a key seals no more than its limit, nor after its time', () => {
  const { system, half } = transmitter()
  half.apply({ kind: 'set-endpoint', peer, endpoint: there, revision: 1 })
  half.apply({ ...install(10, 20), rekeyAfterMessages: 2, rejectAfterMessages: 3 } as PeerCommand)
  half.apply({ kind: 'use-keypair', peer, localIndex: 10, confirm: true })
  system.toRead.push(...packets(3).map(asRead))
  half.turn()
  assert.equal(system.sent.flatMap(({ datagrams }) => datagrams).length, 3)
  half.apply(install(11, 21))
  system.now = 1000 + 180_000
  half.apply({ kind: 'use-keypair', peer, localIndex: 11, confirm: true })
  assert.equal(system.sent.flatMap(({ datagrams }) => datagrams).length, 3)
})

/** What the transmit half makes of these packets, one datagram each. */
function sealed(...inner: readonly Uint8Array[]): readonly Uint8Array[] {
  const { system, half } = transmitter()
  connect(half)
  system.toRead.push(...inner.map(asRead))
  while (half.turn() === 'busy') {}
  return system.sent.flatMap(({ datagrams }) => datagrams)
}

/** Two packets of each flow, told apart by their source ports, which are their numbers; every fifth is of UDP. */
function flowsInMessages(count: number): FakeSystem['toReceive'] {
  const inner = Array.from({ length: 2 * count }, (_, at) => {
    const flow = at >> 1
    const protocol = flow % 5 === 4 ? 'udp' : 'tcp'
    return encodeInner({
      family: 4,
      protocol,
      payload: new Uint8Array(200),
      sequence: (at % 2) * 200,
      sourcePort: flow,
    })
  })
  const datagrams = sealed(...inner)
  return Array.from({ length: count }, (_, flow) => {
    const [first, second] = datagrams.slice(2 * flow)
    return { bytes: new Uint8Array(Buffer.concat([first!, second!])), segmentSize: first!.length, from: here }
  })
}

test('of however many flows packets come in one turn: each goes to the TUN once, in its place', () => {
  const { system, half } = receiver()
  system.toReceive.push(...flowsInMessages(43))
  for (let turn = half.turn(); turn !== 'idle'; turn = half.turn()) assert.equal(turn, 'busy')
  const ports = system.written.map((written) => new DataView(written.buffer).getUint16(10 + 20))
  assert.deepEqual(
    ports,
    Array.from({ length: 43 }, (_, flow) => flow),
  )
  assert.deepEqual(readDrops(system.drops), {})
})

test('a forged, a short, a foreign and a misplaced packet are dropped, each for its reason', () => {
  const { system, half, row } = receiver()
  const [good] = sealed(...packets(1))
  const forged = Uint8Array.from(good!)
  forged[50]! ^= 1
  const foreign = Uint8Array.from(good!)
  foreign[4] = 99
  const swapped = encodeInner({ family: 4, protocol: 'tcp', payload: new Uint8Array(1000) })
  swapped[15] = 99
  const [misplaced] = sealed(swapped)
  for (const bytes of [forged, good!.subarray(0, 20), foreign, misplaced!])
    system.toReceive.push({ bytes, segmentSize: 0, from: here })
  half.turn()
  assert.equal(system.written.length, 0)
  assert.deepEqual(readDrops(system.drops), { malformed: 1, 'unknown-index': 1 })
  const { dropped } = readActivity(row, { endpoint: undefined, endpointRevision: 0 })
  assert.deepEqual(dropped, { unauthenticated: 1, 'source-not-allowed': 1 })
})

test('the endpoint follows an authenticated packet, and only that', () => {
  const { system, half } = receiver()
  const [good] = sealed(...packets(1))
  const forged = Uint8Array.from(good!)
  forged[50]! ^= 1
  system.toReceive.push({ bytes: forged, segmentSize: 0, from: there })
  half.turn()
  assert.ok(!system.events.some(({ kind }) => kind === 'moved'))
  system.toReceive.push({ bytes: good!, segmentSize: 0, from: there })
  half.turn()
  assert.deepEqual(
    system.events.filter(({ kind }) => kind === 'moved'),
    [{ kind: 'moved', peer, endpoint: there, revision: 5 }],
  )
})

test('everything else goes to the main thread; a flood of handshakes fills neither it nor memory', () => {
  const { system, half, ring } = receiver()
  const stun = Uint8Array.of(0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, ...new Uint8Array(12))
  system.toReceive.push({ bytes: stun, segmentSize: 0, from: there })
  half.turn()
  assert.deepEqual(ring.shift(), { bytes: stun, from: there })
  assert.equal(system.events.filter(({ kind }) => kind === 'datagrams').length, 1)
  const initiation = new Uint8Array(148)
  initiation[0] = 1
  for (let count = 0; count < 1000; count++) system.toReceive.push({ bytes: initiation, segmentSize: 0, from: there })
  while (system.toReceive.length > 0) half.turn()
  assert.equal(ring.size, 128)
  assert.deepEqual(readDrops(system.drops), { 'handshake-flood': 600, 'main-busy': 272 })
})

test('a flood of handshakes from elsewhere does not keep out those that come from where a peer is', () => {
  const { system, half, ring } = receiver()
  const initiation = new Uint8Array(148)
  initiation[0] = 1
  const receive = (count: number, from: typeof here): number => {
    let passed = 0
    for (; count > 0; count--) {
      system.toReceive.push({ bytes: initiation, segmentSize: 0, from })
      half.turn()
      while (ring.shift() !== undefined) passed++
    }
    return passed
  }
  assert.equal(receive(1000, there), 400)
  assert.equal(receive(100, here), 20)
  assert.equal(receive(100, { ...here, port: here.port + 1 }), 0)
  system.now += 1000
  assert.equal(receive(2000, there), 400)
  assert.equal(receive(100, here), 20)
})

test('a system that takes no merged packets gets them one by one', () => {
  const { system, half } = receiver()
  const datagrams = sealed(...packets(8))
  const message = (from: number): { bytes: Uint8Array; segmentSize: number; from: typeof here } => ({
    bytes: new Uint8Array(Buffer.concat(datagrams.slice(from, from + 2))),
    segmentSize: datagrams[0]!.length,
    from: here,
  })
  system.writeError = errno.EINVAL
  system.toReceive.push(message(0), ...flowsInMessages(3).slice(1))
  half.turn()
  assert.deepEqual(readDrops(system.drops), { 'interface-refused': 6 })
  assert.equal(system.events.filter(({ kind }) => kind === 'fell-back').length, 1)
  system.writeError = 0
  system.toReceive.push(message(6))
  half.turn()
  assert.equal(system.written.length, 2)
})

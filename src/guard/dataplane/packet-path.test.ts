import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../../api/endpoint.ts'
import { SecretKey } from '../../api/keys.ts'
import { ipv4Packet } from '../testing/virtual-tunnel.ts'
import { type Prefix, parsePrefix } from '../wireguard/allowed-ips.ts'
import { REJECT_AFTER_TIME } from '../wireguard/constants.ts'
import type { DataKeypair, PeerActivity } from './data-plane.ts'
import { PacketPath } from './packet-path.ts'
import { sealTransport } from './transport.ts'

const there: Endpoint = { address: '192.0.2.2', port: 2222 }
const elsewhere: Endpoint = { address: '198.51.100.1', port: 9 }
const outgoing = ipv4Packet({ from: '10.0.0.1', to: '10.0.0.2', payload: 30 })
const incoming = ipv4Packet({ from: '10.0.0.2', to: '10.0.0.1', payload: 30 })

function prefix(text: string): Prefix {
  return parsePrefix(text) ?? assert.fail(text)
}

/** Keys of one byte each: the number for sending, the number plus 100 for receiving. */
function keypair(number: number, changes: Partial<DataKeypair> = {}): DataKeypair {
  return {
    localIndex: number,
    remoteIndex: 1_000 + number,
    sendKey: new SecretKey(new Uint8Array(32).fill(number)),
    receiveKey: new SecretKey(new Uint8Array(32).fill(number + 100)),
    created: 0,
    rekeyAfterMessages: 2 ** 51,
    rejectAfterMessages: 2 ** 52,
    ...changes,
  }
}

/** What the peer sends to the keypair of that number. */
function fromPeer(number: number, counter: number, packet: Uint8Array): Uint8Array {
  const target = new Uint8Array(2_000)
  const key = new Uint8Array(32).fill(number + 100)
  return target.slice(0, sealTransport(target, packet, { key, remoteIndex: number, counter, mtu: 1_420 }))
}

/** A path with one peer (id 1) at `there`, and what came out of it. */
class Bench {
  readonly datagrams: { readonly bytes: Uint8Array; readonly to: Endpoint }[] = []
  readonly packets: Uint8Array[] = []
  readonly path: PacketPath

  constructor() {
    const sink = {
      datagram: (bytes: Uint8Array, to: Endpoint) => void this.datagrams.push({ bytes: Uint8Array.from(bytes), to }),
      packet: (bytes: Uint8Array) => void this.packets.push(Uint8Array.from(bytes)),
    }
    this.path = new PacketPath({ mtu: 1_420, sink })
    this.path.apply({ kind: 'add-peer', peer: 1, allowedIps: [prefix('10.0.0.2/32')] }, 0)
    this.path.apply({ kind: 'set-endpoint', peer: 1, endpoint: there, revision: 1 }, 0)
    this.path.takeReports()
  }

  use(pair: DataKeypair, now: number, confirm = false): void {
    this.path.apply({ kind: 'install-keypair', peer: 1, keypair: pair }, now)
    this.path.apply({ kind: 'use-keypair', peer: 1, localIndex: pair.localIndex, confirm }, now)
  }

  activity(): PeerActivity {
    return this.path.takeReports()[0]?.activity ?? assert.fail('nothing to report')
  }
}

test('a packet without a session waits, and asks for one at once', () => {
  const bench = new Bench()
  bench.path.sendPacket(outgoing, 5)
  assert.equal(bench.path.pending, 'now')
  assert.equal(bench.activity().waitingSince, 5)
  bench.path.sendPacket(outgoing, 6)
  assert.equal(bench.path.pending, 'soon', 'once is enough')
  bench.use(keypair(1), 7)
  assert.equal(bench.datagrams.length, 2)
  assert.equal(bench.activity().waitingSince, undefined)
})

test('confirming sends an empty packet only when nothing waits', () => {
  const idle = new Bench()
  idle.use(keypair(1), 0, true)
  assert.deepEqual(
    idle.datagrams.map(({ bytes, to }) => [bytes.length, to]),
    [[32, there]],
  )
  const busy = new Bench()
  busy.path.sendPacket(outgoing, 0)
  busy.use(keypair(1), 0, true)
  assert.deepEqual(
    busy.datagrams.map(({ bytes }) => bytes.length),
    [16 + 64 + 16],
  )
})

test('an installed keypair receives at once, and the first packet on it is told at once', () => {
  const bench = new Bench()
  bench.use(keypair(1), 0)
  bench.path.apply({ kind: 'install-keypair', peer: 1, keypair: keypair(2) }, 0)
  bench.path.takeReports()
  bench.path.receive(fromPeer(2, 0, incoming), there, 10)
  assert.deepEqual(bench.packets, [incoming])
  assert.equal(bench.path.pending, 'now')
  assert.equal(bench.activity().confirmed, 2)
  bench.path.receive(fromPeer(1, 0, incoming), there, 11)
  assert.equal(bench.path.pending, 'soon')
  assert.equal(bench.activity().confirmed, 2, 'the younger one counts')
  bench.path.sendPacket(outgoing, 12)
  const sent = bench.datagrams[0]?.bytes ?? assert.fail('nothing sent')
  assert.equal(new DataView(sent.buffer).getUint32(4, true), 1_001, 'still sent with the one in use')
})

test('an authenticated packet from elsewhere moves the endpoint, a forged one does not', () => {
  const bench = new Bench()
  bench.use(keypair(1), 0)
  bench.path.receive(fromPeer(1, 0, incoming), there, 1)
  bench.path.takeReports()
  const forged = fromPeer(1, 1, incoming)
  forged[20] = (forged[20] ?? 0) ^ 1
  bench.path.receive(forged, elsewhere, 2)
  assert.deepEqual(bench.activity().endpoint, there)
  bench.path.receive(fromPeer(1, 1, incoming), elsewhere, 3)
  assert.equal(bench.path.pending, 'now')
  const { endpoint, endpointRevision, dropped } = bench.activity()
  assert.deepEqual([endpoint, endpointRevision, dropped], [elsewhere, 1, { unauthenticated: 1 }])
})

test('a key is not used beyond its time or its number of packets', () => {
  const bench = new Bench()
  bench.use(keypair(1, { rekeyAfterMessages: 2, rejectAfterMessages: 3 }), 0)
  for (let count = 0; count < 5; count++) bench.path.sendPacket(outgoing, 1)
  assert.equal(bench.datagrams.length, 3)
  const { usedUp, waitingSince } = bench.activity()
  assert.deepEqual([usedUp, waitingSince], [1, 1])
  bench.path.receive(fromPeer(1, 0, incoming), there, REJECT_AFTER_TIME - 1)
  bench.path.receive(fromPeer(1, 1, incoming), there, REJECT_AFTER_TIME)
  assert.equal(bench.packets.length, 1)
  assert.deepEqual(bench.activity().dropped, { 'expired-key': 1 })
  bench.use(keypair(2), 1)
  const before = bench.datagrams.length
  bench.path.sendPacket(outgoing, REJECT_AFTER_TIME)
  assert.equal(bench.datagrams.length, before)
})

test('what is no packet of the peer is dropped for its reason', () => {
  const bench = new Bench()
  bench.use(keypair(1), 0)
  const foreign = ipv4Packet({ from: '10.0.0.3', to: '10.0.0.1', payload: 0 })
  const tooLong = Uint8Array.from(incoming)
  tooLong[2] = 9
  const inner = [foreign, tooLong, Uint8Array.of(0x45, 1), new Uint8Array(64)]
  for (const [counter, packet] of inner.entries()) bench.path.receive(fromPeer(1, counter, packet), there, 1)
  bench.path.receive(fromPeer(1, 0, incoming), there, 1)
  bench.path.receive(fromPeer(9, 0, incoming), there, 1)
  bench.path.receive(new Uint8Array(31), there, 1)
  bench.path.sendPacket(ipv4Packet({ from: '10.0.0.1', to: '10.0.0.9', payload: 0 }), 1)
  bench.path.sendPacket(new Uint8Array(8), 1)
  bench.path.sendPacket(ipv4Packet({ from: '10.0.0.1', to: '10.0.0.2', payload: 1_401 }), 1)
  assert.equal(bench.packets.length, 0)
  const expected = { 'source-not-allowed': 1, 'malformed-packet': 3, replayed: 1, 'too-large': 1 }
  assert.deepEqual(bench.activity().dropped, expected)
  assert.deepEqual(bench.path.dropped(), { 'unknown-index': 1, malformed: 1, 'no-peer': 2 })
})

test('padding is taken off by the length in the header, also of IPv6', () => {
  const bench = new Bench()
  bench.path.apply({ kind: 'add-peer', peer: 2, allowedIps: [prefix('fd00::2/128')] }, 0)
  bench.path.apply({ kind: 'install-keypair', peer: 2, keypair: keypair(3) }, 0)
  const packet = new Uint8Array(45)
  packet[0] = 0x60
  packet[5] = 5
  packet.set([0xfd, 0x00], 8)
  packet[23] = 2
  bench.path.receive(fromPeer(3, 0, packet), there, 0)
  assert.deepEqual(bench.packets, [packet])
})

test('how the traffic stands: unanswered, unacknowledged, and both over', () => {
  const bench = new Bench()
  bench.use(keypair(1), 0)
  bench.path.sendPacket(outgoing, 10)
  bench.path.sendPacket(outgoing, 20)
  let activity = bench.activity()
  assert.deepEqual([activity.unansweredSince, activity.lastDataSentAt, activity.lastSentAt], [10, 20, 20])
  bench.path.receive(fromPeer(1, 0, incoming), there, 30)
  bench.path.receive(fromPeer(1, 1, incoming), there, 40)
  activity = bench.activity()
  assert.deepEqual([activity.unansweredSince, activity.unacknowledgedSince], [undefined, 30])
  bench.path.apply({ kind: 'send-keepalive', peer: 1 }, 50)
  activity = bench.activity()
  assert.deepEqual(
    [activity.unacknowledgedSince, activity.unansweredSince, activity.lastDataSentAt],
    [undefined, undefined, 20],
  )
  assert.deepEqual([activity.lastReceivedAt, activity.lastDataReceivedAt], [40, 40])
  bench.path.receive(fromPeer(1, 2, new Uint8Array(0)), there, 60)
  activity = bench.activity()
  assert.deepEqual([activity.lastReceivedAt, activity.lastDataReceivedAt], [60, 40], 'a keepalive is no data')
})

test('a removed keypair is forgotten and its keys are wiped; so are all at the end', () => {
  const bench = new Bench()
  const [first, second, late] = [keypair(1), keypair(2), keypair(3)]
  bench.use(first, 0)
  bench.use(second, 0)
  bench.path.apply({ kind: 'remove-keypair', peer: 1, localIndex: 1 }, 0)
  bench.path.receive(fromPeer(1, 0, incoming), there, 0)
  assert.deepEqual(bench.path.dropped(), { 'unknown-index': 1 })
  bench.path.clear()
  bench.path.apply({ kind: 'install-keypair', peer: 1, keypair: late }, 0)
  for (const { sendKey, receiveKey } of [first, second, late])
    assert.ok([...sendKey.reveal(), ...receiveKey.reveal()].every((byte) => byte === 0))
  bench.path.sendPacket(outgoing, 0)
  assert.equal(bench.datagrams.length, 0)
})

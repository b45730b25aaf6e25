import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SecretKey } from '../../api/keys.ts'
import type { DataPlaneCommand, PeerActivity, PeerId } from '../dataplane/data-plane.ts'
import { seededRandom } from '../testing/virtual-tunnel.ts'
import { parsePrefix } from './allowed-ips.ts'
import { WireGuardDevice } from './device.ts'
import type { DeviceEffect, Moment } from './effects.ts'

const placeA = { address: '192.0.2.1', port: 1 }
const placeB = { address: '192.0.2.2', port: 2 }

const quiet: PeerActivity = {
  lastSentAt: undefined,
  lastDataSentAt: undefined,
  lastReceivedAt: undefined,
  lastDataReceivedAt: undefined,
  unansweredSince: undefined,
  unacknowledgedSince: undefined,
  waitingSince: undefined,
  confirmed: undefined,
  usedUp: undefined,
  endpoint: placeA,
  endpointRevision: 1,
  sentBytes: 0,
  receivedBytes: 0,
  dropped: {},
}

function at(now: number): Moment {
  return { now, wallTime: 1_800_000_000_000 + now }
}

function device(seed: number): WireGuardDevice {
  return new WireGuardDevice({ privateKey: new SecretKey(new Uint8Array(32).fill(seed)), random: seededRandom(seed) })
}

function datagrams(effects: readonly DeviceEffect[]): Uint8Array[] {
  return effects.flatMap((effect) => (effect.kind === 'datagram' ? [effect.bytes] : []))
}

function commands(effects: readonly DeviceEffect[]): DataPlaneCommand[] {
  return effects.flatMap((effect) => (effect.kind === 'data-plane' ? [effect.command] : []))
}

function only(bytes: readonly Uint8Array[]): Uint8Array {
  assert.equal(bytes.length, 1)
  return bytes[0] ?? assert.fail()
}

/** Two devices that know each other; `b` has a path and waits. */
function pair(): { a: WireGuardDevice; b: WireGuardDevice; toA: PeerId; toB: PeerId } {
  const [a, b] = [device(1), device(2)]
  const allowedIps = [parsePrefix('10.0.0.0/8') ?? assert.fail()]
  const toB = a.addPeer({ publicKey: b.publicKey, allowedIps })?.peer ?? assert.fail()
  const toA = b.addPeer({ publicKey: a.publicKey, allowedIps })?.peer ?? assert.fail()
  b.use(toA, placeA, { initiate: false, moment: at(0) })
  return { a, b, toA, toB }
}

test('a handshake tells each data plane the same keys crosswise, before they are used', () => {
  const { a, b, toB } = pair()
  const initiation = only(datagrams(a.use(toB, placeB, { initiate: true, moment: at(0) })))
  const responded = b.receive(initiation, placeA, at(10))
  const completed = a.receive(only(datagrams(responded)), placeB, at(20))
  assert.deepEqual(
    commands(responded).map(({ kind }) => kind),
    ['install-keypair'],
  )
  assert.deepEqual(
    commands(completed).map(({ kind }) => kind),
    ['install-keypair', 'use-keypair'],
  )
  const [ofB] = commands(responded)
  const [ofA, use] = commands(completed)
  assert.ok(ofA?.kind === 'install-keypair' && ofB?.kind === 'install-keypair')
  assert.deepEqual(ofA.keypair.sendKey.reveal(), ofB.keypair.receiveKey.reveal())
  assert.deepEqual(ofA.keypair.receiveKey.reveal(), ofB.keypair.sendKey.reveal())
  assert.notDeepEqual(ofA.keypair.sendKey.reveal(), ofA.keypair.receiveKey.reveal())
  assert.equal(ofA.keypair.remoteIndex, ofB.keypair.localIndex)
  assert.equal(ofA.keypair.localIndex, ofB.keypair.remoteIndex)
  assert.ok(use?.kind === 'use-keypair' && use.confirm, 'the initiator shows that it holds the keys')
})

test('the responder sends with the new keys only when the data plane has heard them, however late it says so', () => {
  const { a, b, toA, toB } = pair()
  const responded = b.receive(only(datagrams(a.use(toB, placeB, { initiate: true, moment: at(0) }))), placeA, at(10))
  const [install] = commands(responded)
  assert.ok(install?.kind === 'install-keypair')
  const confirmed = install.keypair.localIndex
  assert.deepEqual(b.report(toA, { ...quiet, confirmed: (confirmed + 1) >>> 0 }, at(500)), [])
  const late = b.report(toA, { ...quiet, confirmed }, at(4_000))
  assert.deepEqual(late, [
    { kind: 'data-plane', command: { kind: 'use-keypair', peer: toA, localIndex: confirmed, confirm: false } },
    { kind: 'established', peer: toA },
  ])
  assert.deepEqual(b.report(toA, { ...quiet, confirmed }, at(4_100)), [], 'said again it changes nothing')
})

test('a move that the data plane saw before it was told a new endpoint does not undo that', () => {
  const { b, toA } = pair()
  const elsewhere = { address: '198.51.100.1', port: 9 }
  b.move(toA, placeB, at(0))
  b.report(toA, { ...quiet, endpoint: elsewhere, endpointRevision: 1 }, at(10))
  assert.deepEqual(b.peerStats(toA)?.endpoint, placeB)
  b.report(toA, { ...quiet, endpoint: elsewhere, endpointRevision: 2 }, at(20))
  assert.deepEqual(b.peerStats(toA)?.endpoint, elsewhere)
})

test('indices come back: however many handshakes, a peer holds at most four', () => {
  const { a, b, toA, toB } = pair()
  for (let count = 1; count <= 100; count++) {
    const now = count * 1_000
    const initiation = only(datagrams(a.use(toB, placeB, { initiate: true, moment: at(now) })))
    const responded = b.receive(initiation, placeA, at(now))
    if (count % 3 === 0) continue
    a.receive(only(datagrams(responded)), placeB, at(now))
    const [install] = commands(responded)
    assert.ok(install?.kind === 'install-keypair')
    if (count % 2 === 0) b.report(toA, { ...quiet, confirmed: install.keypair.localIndex }, at(now))
    assert.ok(a.indexCount <= 4 && b.indexCount <= 4)
  }
  a.removePeer(toB)
  b.removePeer(toA)
  assert.deepEqual([a.indexCount, b.indexCount], [0, 0])
})

test('a removed peer is gone: its messages are a stranger’s, and its orders do nothing', () => {
  const { a, b, toA, toB } = pair()
  const initiation = only(datagrams(a.use(toB, placeB, { initiate: true, moment: at(0) })))
  assert.deepEqual(b.removePeer(toA), [{ kind: 'data-plane', command: { kind: 'remove-peer', peer: toA } }])
  assert.deepEqual(b.receive(initiation, placeA, at(1)), [])
  assert.deepEqual(b.dropped(), { 'unknown-peer': 1 })
  assert.deepEqual(b.use(toA, placeA, { initiate: true, moment: at(2) }), [])
  assert.deepEqual(b.report(toA, quiet, at(3)), [])
  assert.deepEqual(b.removePeer(toA), [])
  assert.equal(b.peerStats(toA), undefined)
  assert.equal(b.deadline, undefined)
})

test('a public key that is no usable point, our own, or not 32 bytes is no peer', () => {
  const a = device(1)
  for (const publicKey of [new Uint8Array(32), a.publicKey, new Uint8Array(31).fill(9)])
    assert.equal(a.addPeer({ publicKey, allowedIps: [] }), undefined)
})

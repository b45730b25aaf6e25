import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PunchGuardError } from '../../api/errors.ts'
import { SecretKey, type TunnelPublicKey, tunnelPublicKey } from '../../api/keys.ts'
import type { Guard, GuardPeer } from '../../api/roles.ts'
import { toHex } from '../../util/bytes.ts'
import { type FakePeer, FakeWireguardGo } from '../testing/fake-wireguard-go.ts'
import { presharedKey } from '../testing/two-devices.ts'
import { VirtualClock, VirtualPath } from '../testing/virtual-tunnel.ts'
import { importKeyPair } from '../wireguard/crypto.ts'
import { openWireguardGoGuard } from './guard.ts'

const privateKey = new Uint8Array(32).fill(0x11)
const keyOfB = tunnelPublicKey(new Uint8Array(32).fill(0xb0))!
const there = { address: '192.0.2.1', port: 4000 }
const elsewhere = { address: '192.0.2.7', port: 4007 }

class Bench {
  readonly clock: VirtualClock = new VirtualClock()
  readonly program: FakeWireguardGo = new FakeWireguardGo()
  readonly warnings: string[] = []

  async open(): Promise<Guard> {
    const log = (message: string): void => void this.warnings.push(message)
    const logger = { debug: () => {}, info: () => {}, warn: log, error: log }
    const { program, clock } = this
    return await openWireguardGoGuard({ program, clock, logger, port: 4711, privateKey: new SecretKey(privateKey) })
  }

  async addPeer(guard: Guard, publicKey: TunnelPublicKey = keyOfB): Promise<[GuardPeer, string[]]> {
    const allowedIps = ['10.64.0.2/32']
    const peer = await guard.addPeer({ publicKey, presharedKey: presharedKey(1), allowedIps })
    const events: string[] = []
    peer.subscribe(({ kind }) => events.push(kind))
    return [peer, events]
  }

  /** Passes time, and after every 10 ms what was asked is answered. */
  async pass(ms: number): Promise<void> {
    await settled()
    for (let at = 0; at < ms; at += 10) {
      this.clock.pass(Math.min(10, ms - at))
      await settled()
    }
  }

  /** The peer as the program has it. */
  inProgram(publicKey: TunnelPublicKey = keyOfB): FakePeer {
    const peer = this.program.peers.get(toHex(publicKey))
    assert.ok(peer)
    return peer
  }

  handshake(peer: FakePeer): void {
    peer.lastHandshake = this.clock.wallTime()
    peer.receivedBytes += 92
    peer.sentBytes += 148
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

test('the program is told the key and the port of the socket that punched, and refusals are said', async () => {
  const bench = new Bench()
  const guard = await bench.open()
  assert.deepEqual(
    [...bench.program.device],
    [
      ['private_key', toHex(privateKey)],
      ['listen_port', '4711'],
    ],
  )
  assert.deepEqual(guard.status(), {
    dataPlane: 'process',
    implementation: 'wireguard-go 0.0.20220316',
    offloads: [],
  })
  bench.program.errno = -22
  await assert.rejects(bench.open(), (error: unknown) => {
    assert.ok(error instanceof PunchGuardError)
    return error.code === 'GUARD_UNAVAILABLE' && /embedded/.test(error.hint)
  })
  bench.program.errno = -98
  await assert.rejects(bench.open(), { code: 'ADDRESS_IN_USE', message: 'UDP port 4711 is used by another program' })
})

test('a peer is in the program only while it has a path', async () => {
  const bench = new Bench()
  const guard = await bench.open()
  const [peer] = await bench.addPeer(guard)
  await bench.pass(2000)
  assert.equal(bench.program.peers.size, 0)
  peer.use(new VirtualPath(there))
  await bench.pass(10)
  const { settings, allowedIps, initiations } = bench.inProgram()
  assert.equal(settings.get('endpoint'), '192.0.2.1:4000')
  assert.equal(settings.get('preshared_key'), '01'.repeat(32))
  assert.deepEqual([allowedIps, initiations], [['10.64.0.2/32'], 0])
  peer.use(undefined)
  await bench.pass(10)
  assert.equal(bench.program.peers.size, 0)
})

test('the end that initiates turns the keepalive on, and is established with the handshake', async () => {
  const bench = new Bench()
  const [peer, events] = await bench.addPeer(await bench.open())
  peer.use(new VirtualPath(there), { initiate: true })
  await bench.pass(50)
  assert.equal(bench.inProgram().initiations, 1)
  assert.deepEqual(events, [])
  bench.handshake(bench.inProgram())
  await bench.pass(30)
  assert.deepEqual(events, ['established'])
  const { receivedBytes, sentBytes, endpoint, lastHandshakeAt } = peer.stats()
  assert.deepEqual([receivedBytes, sentBytes, endpoint], [92, 148, there])
  assert.ok(bench.clock.now() - (lastHandshakeAt ?? 0) < 40)
})

test('moves of the path, new keys and new prefixes reach a running peer, and only a running one', async () => {
  const bench = new Bench()
  const [peer] = await bench.addPeer(await bench.open())
  peer.setPresharedKey(presharedKey(2))
  await peer.setAllowedIps(['10.64.0.3/32', 'fd70::3/128'])
  assert.equal(bench.program.peers.size, 0)
  const path = new VirtualPath(there)
  peer.use(path)
  path.move(elsewhere)
  await bench.pass(10)
  assert.equal(bench.inProgram().settings.get('endpoint'), '192.0.2.7:4007')
  assert.equal(bench.inProgram().settings.get('preshared_key'), '02'.repeat(32))
  assert.deepEqual(bench.inProgram().allowedIps, ['10.64.0.3/32', 'fd70::3/128'])
  peer.setPresharedKey(presharedKey(3))
  await peer.setAllowedIps(['10.64.0.4/32'])
  assert.equal(bench.inProgram().settings.get('preshared_key'), '03'.repeat(32))
  assert.deepEqual(bench.inProgram().allowedIps, ['10.64.0.4/32'])
  await assert.rejects(peer.setAllowedIps(['everywhere']), /everywhere is no IP prefix/)
  const other = new VirtualPath(there)
  peer.use(other)
  path.move(elsewhere)
  await bench.pass(10)
  assert.equal(bench.inProgram().settings.get('endpoint'), '192.0.2.1:4000', 'an old path has no say')
})

test('one answer serves all peers that ask at the same time', async () => {
  const bench = new Bench()
  const guard = await bench.open()
  const keys = [1, 2, 3, 4].map((byte) => tunnelPublicKey(new Uint8Array(32).fill(byte))!)
  const events: string[][] = []
  for (const key of keys) {
    const [peer, heard] = await bench.addPeer(guard, key)
    events.push(heard)
    peer.use(new VirtualPath(there))
  }
  await bench.pass(30)
  for (const key of keys) bench.handshake(bench.inProgram(key))
  await bench.pass(50)
  assert.deepEqual(
    events,
    keys.map(() => ['established']),
  )
  bench.program.gets = 0
  await bench.pass(10_000)
  assert.ok(bench.program.gets >= 10 && bench.program.gets <= 12, `${bench.program.gets}`)
})

test('silence is reported, and a program that is gone only makes us say so', async () => {
  const bench = new Bench()
  const guard = await bench.open()
  const [peer, events] = await bench.addPeer(guard)
  peer.use(new VirtualPath(there))
  await bench.pass(30)
  bench.handshake(bench.inProgram())
  await bench.pass(3000)
  bench.inProgram().sentBytes += 1452
  await bench.pass(3000)
  assert.deepEqual(events, ['established', 'unanswered'])
  assert.deepEqual(bench.warnings, [])
  bench.program.isGone = true
  await bench.pass(3000)
  bench.program.isGone = false
  bench.inProgram().receivedBytes += 500
  await bench.pass(1000)
  assert.equal(peer.stats().receivedBytes, 592, 'it is asked again')
  bench.program.isGone = true
  peer.setPresharedKey(presharedKey(4))
  await guard[Symbol.asyncDispose]()
  assert.deepEqual(bench.warnings, ['the guard did not do as told'])
})

test('our own key, a key twice and a wrong prefix are refused; a removed peer may come back', async () => {
  const bench = new Bench()
  const guard = await bench.open()
  const ownKey = tunnelPublicKey(importKeyPair(privateKey).publicKey)!
  await assert.rejects(bench.addPeer(guard, ownKey), { code: 'PEER_EXISTS' })
  const [peer] = await bench.addPeer(guard)
  await assert.rejects(bench.addPeer(guard), { code: 'PEER_EXISTS' })
  const wrong = { publicKey: keyOfB, presharedKey: undefined, allowedIps: ['10.0.0.0/33'] }
  await assert.rejects(guard.addPeer(wrong), { code: 'CONFIG_INVALID' })
  peer.use(new VirtualPath(there))
  await peer[Symbol.asyncDispose]()
  assert.equal(bench.program.peers.size, 0)
  peer.use(new VirtualPath(there))
  await bench.pass(2000)
  assert.equal(bench.program.peers.size, 0)
  assert.equal(bench.clock.timerCount, 0)
  await bench.addPeer(guard)
})

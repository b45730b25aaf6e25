/** The OpenVPN guard on processes that do what the test says: when they are started, ended, and started again. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../../src/api/endpoint.ts'
import { PunchGuardError } from '../../src/api/errors.ts'
import { SecretKey, type TunnelPublicKey, tunnelPublicKey } from '../../src/api/keys.ts'
import type { GuardPeer, Path } from '../../src/api/roles.ts'
import { OpenvpnGuard, openvpnVersion } from '../../src/guard/openvpn/guard.ts'
import type { OpenvpnProcess, ProcessEvent, StartOpenvpn } from '../../src/guard/openvpn/process-shell.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { HandClock } from '../punch/hand-clock.ts'

const own = key(1)
const peerKey = key(2)
const secret = (value: number): SecretKey => new SecretKey(new Uint8Array(32).fill(value))
const fingerprint = (value: number): Uint8Array => new Uint8Array(32).fill(value)

function key(value: number): TunnelPublicKey {
  return tunnelPublicKey(new Uint8Array(32).fill(value))!
}

function pathTo(port: number): Path & { remote: Endpoint } {
  const path = {
    remote: { address: '192.0.2.1', port },
    status: () => ({ kind: 'host' as const, remote: path.remote, mapped: undefined, roundTrip: 1 }),
    lost: new Promise<string>(() => {}),
    subscribe: () => ({ [Symbol.dispose]: () => {} }),
    check: () => {},
    acceptResume: () => ({ [Symbol.dispose]: () => {} }),
    [Symbol.asyncDispose]: async () => {},
  }
  return path
}

class FakeProcess implements OpenvpnProcess {
  readonly config: string
  readonly tell: (event: ProcessEvent) => void
  readonly ended: Promise<string>
  die: (reason: string) => void = () => {}

  constructor({ config, listener }: Parameters<StartOpenvpn>[0]) {
    this.config = config('/run/m.sock')
    this.tell = listener
    this.ended = new Promise((resolve) => {
      this.die = resolve
    })
  }

  async end(): Promise<void> {
    this.die('SIGTERM')
  }

  connect(): void {
    this.tell({ kind: 'state', state: 'connected', reason: '' })
  }
}

class Bench {
  readonly clock: HandClock = new HandClock()
  /** What was done with the port, the interface and processes, in order. */
  readonly log: string[] = []
  readonly processes: FakeProcess[] = []
  readonly events: string[] = []
  isThere = true
  refuseStart: Error | undefined
  readonly guard: OpenvpnGuard

  constructor() {
    this.guard = new OpenvpnGuard({
      interfaceName: 'pg0',
      mtu: 1392,
      privateKey: secret(9),
      publicKey: own,
      version: '2.6.14',
      runAs: undefined,
      placeFor: async () => ({
        interfaceName: 'pg0',
        prepare: async () => this.isThere,
        port: {
          port: 4000,
          handOver: async () => void this.log.push('hand over'),
          takeBack: async () => void this.log.push('take back'),
        },
        [Symbol.asyncDispose]: async () => void this.log.push('interface gone'),
      }),
      start: async (options) => {
        if (this.refuseStart !== undefined) throw this.refuseStart
        const process = new FakeProcess(options)
        this.processes.push(process)
        this.log.push('start')
        void process.ended.then(() => this.log.push('ended'))
        return process
      },
      clock: this.clock,
      logger: silentLogger,
    })
  }

  /** Knows everything but the path. */
  async peer(): Promise<GuardPeer> {
    const peer = await this.guard.addPeer({ publicKey: peerKey, presharedKey: secret(3), allowedIps: ['10.0.0.1/32'] })
    peer.subscribe(({ kind }) => this.events.push(kind))
    peer.meet(fingerprint(4))
    await this.clock.advance(0)
    this.log.length = 0
    return peer
  }

  get last(): FakeProcess {
    return this.processes.at(-1) ?? assert.fail('no process')
  }
}

test('a process is started on the port of the path when path, key and certificate are known, in any order', async () => {
  const bench = new Bench()
  const peer = await bench.guard.addPeer({ publicKey: peerKey, presharedKey: undefined, allowedIps: [] })
  peer.use(pathTo(7000))
  await bench.clock.advance(10)
  peer.setPresharedKey(secret(3))
  await bench.clock.advance(10)
  assert.equal(bench.processes.length, 0)
  peer.meet(fingerprint(0xee))
  await bench.clock.advance(10)
  assert.equal(bench.processes.length, 1)
  assert.deepEqual(bench.log.slice(-2), ['hand over', 'start'])
  assert.match(bench.last.config, /^lport 4000\nremote 192.0.2.1 7000$/m)
  assert.match(bench.last.config, /^peer-fingerprint "EE:EE:/m)
})

test('established is told when the process says that it is connected, again and again', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  peer.use(pathTo(7000))
  await bench.clock.advance(1000)
  assert.deepEqual(bench.events, [])
  bench.last.connect()
  bench.last.connect()
  assert.deepEqual(bench.events, ['established', 'established'])
  assert.equal(peer.stats().lastHandshakeAt, bench.clock.now())
})

test('the same path, a newer key for it or the same certificate leave a connected process alone', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  const path = pathTo(7000)
  peer.use(path)
  await bench.clock.advance(10)
  bench.last.connect()
  peer.use(path, { initiate: true })
  peer.setPresharedKey(secret(5))
  peer.meet(fingerprint(4))
  await bench.clock.advance(1000)
  assert.deepEqual(bench.log, ['hand over', 'start'])
})

test('another path, another certificate, or a newer key before it is connected get a fresh process', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  peer.use(pathTo(7000))
  await bench.clock.advance(10)
  peer.setPresharedKey(secret(5))
  await bench.clock.advance(10)
  assert.deepEqual(bench.log, ['hand over', 'start', 'ended', 'hand over', 'start'])
  bench.last.connect()
  peer.meet(fingerprint(6))
  await bench.clock.advance(10)
  assert.match(bench.last.config, /^peer-fingerprint "06:06:/m)
  peer.use(pathTo(7001))
  await bench.clock.advance(10)
  assert.match(bench.last.config, /^remote 192.0.2.1 7001$/m)
  assert.equal(bench.processes.length, 4)
})

test('changes while one process ends and the next one starts are all seen', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  for (let port = 7000; port < 7020; port++) {
    peer.use(pathTo(port))
    await Promise.resolve()
  }
  await bench.clock.advance(10)
  assert.match(bench.last.config, /^remote 192.0.2.1 7019$/m)
  peer.use(undefined)
  peer.use(pathTo(7020))
  peer.use(undefined)
  await bench.clock.advance(10)
  const count = (what: string): number => bench.log.filter((line) => line === what).length
  assert.equal(count('start'), count('ended'))
  assert.equal(bench.log.at(-1), 'take back')
})

test('without a path the process ends and the port is ours again', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  peer.use(pathTo(7000))
  await bench.clock.advance(10)
  peer.use(undefined)
  await bench.clock.advance(10)
  assert.deepEqual(bench.log, ['hand over', 'start', 'ended', 'take back'])
})

test('a process that dies is started again at once, then after 0.25, 0.5, 1, 2, 4 and 8 s, until one connects', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  peer.use(pathTo(7000))
  await bench.clock.advance(0)
  const pauses: number[] = []
  for (let death = 0; death < 9; death++) {
    const before = bench.processes.length
    const diedAt = bench.clock.now()
    bench.last.die('SIGKILL')
    assert.ok(await bench.clock.until(() => bench.processes.length > before, 20_000))
    pauses.push(bench.clock.now() - diedAt)
  }
  assert.deepEqual(pauses, [0, 250, 500, 1000, 2000, 4000, 8000, 8000, 8000])
  bench.last.connect()
  bench.last.die('SIGKILL')
  const before = bench.processes.length
  assert.ok(await bench.clock.until(() => bench.processes.length > before, 0))
})

test('a process that does not start is tried again, and not when nobody wants it any more', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  bench.refuseStart = new Error('no memory')
  peer.use(pathTo(7000))
  await bench.clock.advance(600)
  bench.refuseStart = undefined
  await bench.clock.advance(500)
  assert.equal(bench.processes.length, 1)
  bench.refuseStart = new Error('no memory')
  bench.last.die('SIGKILL')
  await bench.clock.advance(100)
  peer.use(undefined)
  bench.refuseStart = undefined
  await bench.clock.advance(20_000)
  assert.equal(bench.processes.length, 1)
})

test('sending into silence is told, and brings a newer key into use', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  peer.use(pathTo(7000))
  await bench.clock.advance(10)
  bench.last.connect()
  const { config } = bench.last
  bench.last.tell({ kind: 'bytes', received: 10, sent: 10 })
  for (const sent of [20, 30, 40]) bench.last.tell({ kind: 'bytes', received: 10, sent })
  assert.deepEqual(bench.events, ['established', 'unanswered', 'unanswered'])
  await bench.clock.advance(10)
  assert.equal(bench.processes.length, 1, 'the key is the same')
  peer.setPresharedKey(secret(8))
  bench.last.tell({ kind: 'bytes', received: 10, sent: 50 })
  await bench.clock.advance(10)
  assert.equal(bench.processes.length, 2)
  assert.notEqual(bench.last.config, config)
  bench.last.tell({ kind: 'bytes', received: 5, sent: 7 })
  const { receivedBytes, sentBytes } = peer.stats()
  assert.deepEqual([receivedBytes, sentBytes], [15, 57])
})

test('a peer that holds another key brings a newer key into use, and nothing else', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  peer.use(pathTo(7000))
  await bench.clock.advance(10)
  bench.last.connect()
  bench.last.tell({ kind: 'unreadable' })
  await bench.clock.advance(10)
  assert.equal(bench.processes.length, 1)
  peer.setPresharedKey(secret(8))
  bench.last.tell({ kind: 'unreadable' })
  await bench.clock.advance(10)
  bench.last.tell({ kind: 'unreadable' })
  await bench.clock.advance(10)
  assert.equal(bench.processes.length, 2)
})

test('a process that reconnects by itself says so, and what an ended one says counts no more', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  peer.use(pathTo(7000))
  await bench.clock.advance(10)
  const first = bench.last
  first.connect()
  first.tell({ kind: 'state', state: 'reconnecting', reason: 'ping-restart' })
  assert.deepEqual(bench.events, ['established', 'unanswered'])
  peer.use(pathTo(7001))
  await bench.clock.advance(10)
  first.connect()
  assert.equal(bench.events.length, 2)
})

test('an interface that somebody removed is told, and no process is started without it', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  peer.use(pathTo(7000))
  await bench.clock.advance(10)
  bench.last.tell({ kind: 'interface-lost' })
  bench.last.die('SIGKILL')
  assert.equal(await bench.guard.lost, 'the interface pg0 was removed')
  await bench.clock.advance(60_000)
  assert.equal(bench.processes.length, 1)

  const other = new Bench()
  const second = await other.peer()
  other.isThere = false
  second.use(pathTo(7000))
  await other.clock.advance(60_000)
  assert.equal(await other.guard.lost, 'the interface pg0 was removed')
  assert.equal(other.processes.length, 0)
})

test('the guard ends its processes before the interfaces go, and a peer can be added again', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  peer.use(pathTo(7000))
  await bench.clock.advance(10)
  await bench.guard[Symbol.asyncDispose]()
  assert.deepEqual(bench.log, ['hand over', 'start', 'ended', 'take back', 'interface gone'])
  await peer[Symbol.asyncDispose]()
  peer.use(pathTo(7000))
  await bench.clock.advance(1000)
  assert.equal(bench.processes.length, 1)
  await bench.peer()
})

test('a key that is in use, a prefix that is none and parameters that are none are refused', async () => {
  const bench = new Bench()
  const peer = await bench.peer()
  const add = (publicKey: TunnelPublicKey, allowedIps: readonly string[]): Promise<GuardPeer> =>
    bench.guard.addPeer({ publicKey, presharedKey: undefined, allowedIps })
  await assert.rejects(add(peerKey, []), { code: 'PEER_EXISTS' })
  await assert.rejects(add(own, []), { code: 'PEER_EXISTS' })
  await assert.rejects(add(key(7), ['10.0.0.1/33']), { code: 'CONFIG_INVALID' })
  assert.deepEqual(bench.log, ['interface gone'])
  await assert.rejects(peer.setAllowedIps(['x']), { code: 'CONFIG_INVALID' })
  peer.meet(new Uint8Array(20))
  peer.use(pathTo(7000))
  await bench.clock.advance(10)
  assert.match(bench.last.config, /^peer-fingerprint "04:04:/m)
})

test('no openvpn, or one that is too old, is said with what to do', async () => {
  const says = (text: string) => async (): Promise<string> => text
  assert.equal(await openvpnVersion(says('OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]\n')), '2.6.14')
  assert.equal(await openvpnVersion(says('OpenVPN 3.0_beta x86_64')), '3.0_beta')
  const fails = (): Promise<string> => Promise.reject(new Error('openvpn --version: status 1'))
  await assert.rejects(openvpnVersion(fails), { code: 'GUARD_UNAVAILABLE', hint: /2\.6 or newer/ })
  for (const text of ['OpenVPN 2.5.9 x86_64', 'OpenVPN 1.9 i386', 'hello'])
    await assert.rejects(openvpnVersion(says(text)), { code: 'GUARD_UNAVAILABLE', hint: /2\.6 or newer.*embedded/ })
  const missing = async (): Promise<string> => {
    throw new PunchGuardError('GUARD_UNAVAILABLE', 'the program openvpn is not installed', { hint: 'install it' })
  }
  await assert.rejects(openvpnVersion(missing), { code: 'GUARD_UNAVAILABLE', hint: /apt install openvpn/ })
})

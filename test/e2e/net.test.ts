/** The net room against the real kernel, in a namespace of its own (prefix pg-n). Needs root. */

import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { PunchGuardError } from '../../src/api/errors.ts'
import { MachineInterface } from '../../src/device/machine-interface.ts'
import { c, type SystemCalls, systemCalls } from '../../src/net/ffi.ts'
import { systemHost } from '../../src/net/host-network.ts'
import { NetworkInterface } from '../../src/net/interface.ts'
import { findLink } from '../../src/net/ip-command.ts'
import { type PollLoop, sharedPollLoop } from '../../src/net/poll-loop.ts'
import { type RunCommand, runCommand } from '../../src/net/run-command.ts'
import { overlapsLiveRoute } from '../../src/net/system-network.ts'
import { openTunNow } from '../../src/net/tun/linux.ts'
import type { Tun, TunOptions } from '../../src/net/tun/tun.ts'
import { bindUdpSocket } from '../../src/net/udp-socket.ts'
import { UndoLog } from '../../src/net/undo-log.ts'

const namespace = `pg-n${process.pid}`
const folder = mkdtempSync(join(tmpdir(), 'punchguard-net-'))
let system: SystemCalls
let poll: PollLoop

before(async () => {
  system = await systemCalls()
  poll = await sharedPollLoop()
  execFileSync('ip', ['netns', 'add', namespace])
  await ip('link', 'set', 'lo', 'up')
})

after(() => {
  execFileSync('ip', ['netns', 'delete', namespace])
  rmSync(folder, { recursive: true })
})

/** Programs run in the namespace. */
const runInside: RunCommand = (program, args, options) =>
  runCommand('ip', ['netns', 'exec', namespace, program, ...args], options)

function ip(...args: string[]): Promise<string> {
  return runInside('ip', args)
}

/** Runs `action` with this thread in the namespace; only what it does before it returns counts. */
function entered<T>(action: () => T): T {
  const home = openSync('/proc/self/ns/net', 'r')
  const there = openSync(`/run/netns/${namespace}`, 'r')
  try {
    assert.equal(system.setns(there, c.CLONE_NEWNET), 0)
    return action()
  } finally {
    system.setns(home, c.CLONE_NEWNET)
    closeSync(home)
    closeSync(there)
  }
}

function open(options: TunOptions): Tun {
  return entered(() => openTunNow(options, { system, poll }))
}

/** A TUN that is up as 10.99.0.1 with 10.99.0.0/24 behind it. */
async function openUp(options: TunOptions): Promise<Tun> {
  const tun = open(options)
  await ip('address', 'add', '10.99.0.1/24', 'dev', tun.name)
  await ip('link', 'set', 'dev', tun.name, 'up')
  return tun
}

/** Source and destination of an IPv4 packet change places: its checksums stay right. */
function turnAround(packet: Uint8Array): Uint8Array {
  const answer = packet.slice()
  answer.set(packet.subarray(16, 20), 12)
  answer.set(packet.subarray(12, 16), 16)
  return answer
}

const isUdp = (packet: Uint8Array): boolean => (packet[0] ?? 0) >> 4 === 4 && packet[9] === 17

test('a datagram goes out through a TUN and comes back', { timeout: 10_000 }, async () => {
  await using tun = await openUp({ name: 'pg%d', mtu: 1380 })
  assert.equal(tun.name, 'pg0')
  assert.equal((await findLink(tun.name, runInside))?.mtu, 1380)
  await using socket = await entered(() => bindUdpSocket(7000))
  tun.receive((packet) => isUdp(packet) && tun.write(turnAround(packet)))
  const echo = new Promise<{ bytes: string; address: string }>((resolve) =>
    socket.receive((bytes, from) => resolve({ bytes: String(bytes), address: from.address })),
  )
  socket.send(Buffer.from('hello'), { address: '10.99.0.2', port: 7000 })
  assert.deepEqual(await echo, { bytes: 'hello', address: '10.99.0.2' })
})

test('a burst of 20 000 packets goes through a TUN and back, and the counts agree', { timeout: 20_000 }, async () => {
  const count = 20_000
  await using tun = await openUp({ name: 'pg0', queueLength: count })
  await using socket = await entered(() => bindUdpSocket(7000))
  let outside = 0
  tun.receive((packet) => {
    if (!isUdp(packet)) return
    outside++
    tun.write(turnAround(packet))
  })
  let arrived = 0
  socket.receive(() => arrived++)
  const payload = new Uint8Array(1000)
  // A hundred under way at most: what is lost would stop the test, not thin it out.
  for (let sent = 0; sent < count; sent++) {
    socket.send(payload, { address: '10.99.0.2', port: 7000 })
    while (sent - arrived >= 100) await new Promise((resolve) => setImmediate(resolve))
  }
  while (arrived < count) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(outside, count)
  const { written, dropped } = tun.stats()
  assert.deepEqual({ written, dropped }, { written: count, dropped: { full: 0, down: 0, refused: 0 } })
  assert.deepEqual({ ...socket.stats() }, { sent: count, received: count, dropped: {} })
})

test('writing to an interface that is down is counted, and it works once it is up', { timeout: 10_000 }, async () => {
  await using tun = open({ name: 'pg0' })
  const packet = Uint8Array.of(0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 99, 0, 2, 10, 99, 0, 1)
  tun.write(packet)
  assert.equal(tun.stats().dropped.down, 1)
  await ip('link', 'set', 'dev', tun.name, 'up')
  tun.write(packet)
  tun.write(Uint8Array.of(0, 1, 2))
  assert.deepEqual(tun.stats(), { received: 0, written: 1, dropped: { full: 0, down: 1, refused: 1 } })
})

test('an interface that another program deletes is reported as lost', { timeout: 10_000 }, async () => {
  await using tun = await openUp({ name: 'pg0' })
  tun.receive(() => {})
  await ip('link', 'delete', 'dev', 'pg0')
  assert.match(await tun.lost, /^the interface pg0 is gone/)
})

test('a name that is taken is an error that says so', { timeout: 10_000 }, async () => {
  await using tun = open({ name: 'pg0' })
  assert.equal(tun.mtu, 1420)
  assert.throws(
    () => open({ name: 'pg0' }),
    (error) =>
      error instanceof PunchGuardError &&
      error.code === 'GUARD_UNAVAILABLE' &&
      error.message === 'an interface named pg0 exists already',
  )
  for (const name of ['lo', 'a name', '', 'far-too-long-name']) assert.throws(() => open({ name }), PunchGuardError)
})

test('thirty interfaces share one poll loop', { timeout: 10_000 }, async () => {
  const tuns = Array.from({ length: 30 }, () => open({ name: 'pgm%d' }))
  const heard = new Set<string>()
  const all = new Promise<void>((resolve) => {
    for (const tun of tuns) tun.receive(() => heard.add(tun.name).size === tuns.length && resolve())
  })
  for (const [at, tun] of tuns.entries()) {
    await ip('address', 'add', `10.98.${at}.1/24`, 'dev', tun.name)
    await ip('link', 'set', 'dev', tun.name, 'up')
  }
  await using socket = await entered(() => bindUdpSocket(0))
  for (const at of tuns.keys()) socket.send(new Uint8Array(1), { address: `10.98.${at}.2`, port: 9 })
  await all
  for (const tun of tuns) await tun[Symbol.asyncDispose]()
  assert.equal(await findLink('pgm0', runInside), undefined)
})

test('address, MTU and route are set on an interface and taken back', { timeout: 10_000 }, async () => {
  await using tun = open({ name: 'pg0' })
  const path = join(folder, 'set.jsonl')
  const log = await UndoLog.open(path, { run: runInside })
  const tunnel = await NetworkInterface.adopt({ name: tun.name, log, run: runInside })
  await tunnel.setMtu(1300)
  await tunnel.addAddress('10.70.1.2/32')
  await tunnel.addAddress('fd70:6775:6172::2/128')
  await tunnel.setUp()
  await tunnel.addRoute('10.70.1.3/32')
  await tunnel.addRoute('fd70:6775:6172::3/128')
  assert.match(await ip('-o', 'address', 'show', 'dev', 'pg0'), /10\.70\.1\.2\/32.*\n.*fd70:6775:6172::2\/128/)
  assert.match(await ip('-4', 'route'), /^10\.70\.1\.3 dev pg0/m)
  assert.match(await ip('-6', 'route'), /^fd70:6775:6172::3 dev pg0/m)
  assert.deepEqual(await overlapsLiveRoute('10.70.1.3/32', { run: runInside }), { cidr: '10.70.1.3/32', via: 'pg0' })
  assert.equal(await overlapsLiveRoute('10.70.1.3/32', { run: runInside, ignoreInterfaces: ['pg0'] }), undefined)

  await tunnel[Symbol.asyncDispose]()
  assert.equal(await ip('-4', '-o', 'address', 'show', 'dev', 'pg0'), '')
  assert.deepEqual(await findLink('pg0', runInside), {
    index: (await findLink('pg0', runInside))?.index,
    mtu: 1420,
    up: false,
  })
  assert.equal(await ip('-4', 'route'), '')
  await log[Symbol.asyncDispose]()
  assert.equal(existsSync(path), false)
})

test('addresses and routes become what they shall be, and what stays is not touched', { timeout: 10_000 }, async () => {
  await using tun = open({ name: 'pg0' })
  const log = await UndoLog.open(join(folder, 'plan.jsonl'), { run: runInside })
  const tunnel = await MachineInterface.adopt({ name: tun.name, log, run: runInside })
  const addresses = async (): Promise<readonly string[]> =>
    [...(await ip('-o', 'address', 'show', 'dev', 'pg0')).matchAll(/inet6? (10\S+|fd\S+)/g)].map(([, one]) => one ?? '')
  await tunnel.setAddresses(['10.70.1.2', 'fd70::2'])
  await tunnel.setAddresses(['10.70.1.9', 'fd70::2'])
  assert.deepEqual(await addresses(), ['10.70.1.9/32', 'fd70::2/128'])

  const interfaceName = 'pg0'
  await tunnel.setRoutes('home', { interfaceName, cidrs: ['10.70.1.3/32', 'fd70::3/128'] })
  await tunnel.setRoutes('home', { interfaceName, cidrs: ['10.70.1.3/32', 'fd70::4/128'], mtu: 1240 })
  assert.match(await ip('-4', 'route'), /^10\.70\.1\.3 dev pg0 scope link mtu 1240/m)
  assert.match(await ip('-6', 'route'), /^fd70::4 dev pg0 metric 1024 mtu 1280/m)
  assert.doesNotMatch(await ip('-6', 'route'), /fd70::3/)
  await tunnel.setRoutes('home', { interfaceName, cidrs: ['10.70.1.3/32'] })
  assert.match(await ip('-4', 'route'), /^10\.70\.1\.3 dev pg0 scope link ?$/m)
  await tunnel.setRoutes('home', { interfaceName, cidrs: [] })
  assert.equal(await ip('-4', 'route'), '')
  await tunnel[Symbol.asyncDispose]()
  assert.deepEqual(await addresses(), [])
  await log[Symbol.asyncDispose]()
})

test('what a killed process left behind is removed at the next start, and nothing else', {
  timeout: 10_000,
}, async () => {
  const path = join(folder, 'killed.jsonl')
  const script = `
    const { NetworkInterface } = await import(${moduleUrl('interface')})
    const { UndoLog } = await import(${moduleUrl('undo-log')})
    const log = await UndoLog.open(${JSON.stringify(path)})
    const link = await NetworkInterface.create({ name: 'pgk0', type: 'bridge', log })
    await link.addAddress('10.70.2.1/32')
    await link.setUp()
    const other = await NetworkInterface.adopt({ name: 'pgk1', log })
    await other.addAddress('10.70.2.2/32')
    console.log('ready')
    setInterval(() => {}, 1000)`
  await ip('link', 'add', 'pgk1', 'type', 'bridge')
  const child = spawn('ip', ['netns', 'exec', namespace, process.execPath, '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
  assert.ok((await findLink('pgk0', runInside)) !== undefined)

  const report = await undoInside(path)
  // The interface goes last: its own address and state before it.
  assert.deepEqual(report, { undone: 4, gone: 0, failed: [] })
  assert.equal(await findLink('pgk0', runInside), undefined)
  assert.equal(await ip('-4', '-o', 'address', 'show', 'dev', 'pgk1'), '')
  assert.deepEqual(await undoInside(path), { undone: 0, gone: 0, failed: [] })
  await ip('link', 'delete', 'pgk1')
})

test('a process with an open TUN ends at once, however it ends', { timeout: 10_000 }, async () => {
  for (const end of ['process.exit(0)', 'await tun[Symbol.asyncDispose]()']) {
    const script = `
      const { openTun } = await import(${moduleUrl('tun/linux')})
      const tun = await openTun({ name: 'pge%d' })
      tun.receive(() => {})
      await new Promise((resolve) => setTimeout(resolve, 50))
      ${end}`
    const args = ['netns', 'exec', namespace, process.execPath, '--input-type=module', '-e', script]
    await promisify(execFile)('ip', args, { timeout: 5000 })
  }
  assert.equal(await findLink('pge0', runInside), undefined)
})

test('without privileges an interface is refused with a hint, and UDP works', { timeout: 10_000 }, async () => {
  const script = `
    const { systemCalls } = await import(${moduleUrl('ffi')})
    const { openTun } = await import(${moduleUrl('tun/linux')})
    const { systemHost } = await import(${moduleUrl('host-network')})
    await systemCalls()
    process.setgid(65534)
    process.setuid(65534)
    const socket = await systemHost().bindUdp({ port: 0 })
    await socket[Symbol.asyncDispose]()
    const error = await openTun({ name: 'pgu%d' }).catch((error) => error)
    console.log(JSON.stringify({ code: error.code, hint: error.hint }))`
  const { code, hint } = JSON.parse(await runInside(process.execPath, ['--input-type=module', '-e', script]))
  assert.equal(code, 'PERMISSION_DENIED')
  assert.match(hint, /CAP_NET_ADMIN/)
})

test('a new address is noticed through netlink alone; one of our own interfaces is not', {
  timeout: 10_000,
}, async () => {
  // The clock never gives the regular look of every two seconds: only a hint of the kernel leads to one.
  const script = `
    const { systemHost } = await import(${moduleUrl('host-network')})
    const { sharedPollLoop } = await import(${moduleUrl('poll-loop')})
    const { runCommand } = await import(${moduleUrl('run-command')})
    const { systemClock } = await import(${JSON.stringify(new URL('../../src/util/clock.js', import.meta.url).href)})
    const ip = (...args) => runCommand('ip', args)
    await ip('link', 'add', 'pgw0', 'type', 'veth', 'peer', 'name', 'pgw1')
    for (const name of ['pgw0', 'pgw1']) await ip('link', 'set', name, 'up')
    let looked
    const hintsOnly = { ...systemClock, after: (delay, wake) =>
      delay > 1000 ? { [Symbol.dispose]() {} } : systemClock.after(delay, () => { wake(); looked?.() }) }
    const host = systemHost({ clock: hintsOnly, ignoreInterfaces: ['pgw1'] })
    let changes = 0
    const watch = host.watch(() => changes++)
    const seen = [host.localAddresses()]
    await sharedPollLoop()
    await new Promise((resolve) => setImmediate(resolve))
    for (const name of ['pgw1', 'pgw0']) {
      const look = new Promise((resolve) => { looked = resolve })
      await ip('address', 'add', '169.254.1.1/16', 'dev', name)
      await ip('address', 'add', '10.97.0.1/24', 'dev', name)
      await look
      seen.push(changes)
    }
    watch[Symbol.dispose]()
    console.log(JSON.stringify([...seen, host.localAddresses()]))`
  const args = ['netns', 'exec', namespace, process.execPath, '--input-type=module', '-e', script]
  const { stdout } = await promisify(execFile)('ip', args, { timeout: 8000 })
  assert.deepEqual(JSON.parse(stdout), [[], 0, 1, ['10.97.0.1']])
})

test('a socket binds in the namespace its thread is in, and what it cannot reach is counted', {
  timeout: 10_000,
}, async () => {
  await using inside = await entered(() => bindUdpSocket(7100))
  await using outside = await bindUdpSocket(0)
  await assert.rejects(
    entered(() => systemHost().bindUdp({ port: 7100 })),
    /UDP port 7100 is in use/,
  )
  inside.send(new Uint8Array(1), { address: '203.0.113.1', port: 9 })
  outside.send(new Uint8Array(1), { address: '127.0.0.1', port: 7100 })
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(inside.stats(), { received: 0, sent: 0, dropped: { ENETUNREACH: 1 } })
})

/** A compiled module of src/net, quoted. */
function moduleUrl(name: string): string {
  return JSON.stringify(new URL(`../../src/net/${name}.js`, import.meta.url).href)
}

/** In a process of its own, in the namespace the entries are of. */
async function undoInside(path: string): Promise<unknown> {
  const script = `
    const { undoLeftovers } = await import(${moduleUrl('undo-log')})
    console.log(JSON.stringify(await undoLeftovers(${JSON.stringify(path)})))`
  return JSON.parse(await runInside(process.execPath, ['--input-type=module', '-e', script]))
}

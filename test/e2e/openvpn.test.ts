/**
 * The OpenVPN guard with real processes, in two namespaces of its own (prefix pg-v): two ends that are told where the other
 * one is, as after a punch. Needs root and Debian's openvpn.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { OpenvpnEndOptions } from '../../bench/openvpn/end.ts'
import {
  folderOf,
  inside,
  insideIpv6,
  openvpn,
  peerOf,
  presharedKey,
  processesIn,
  startOpenvpnEnd,
} from '../../bench/openvpn/ends.ts'
import { type GuardEnd, outside, type Side, TwoNamespaces } from '../../bench/two-namespaces.ts'
import { processesGone, resultOf, start as startRun, traces } from './run.ts'

const skip = existsSync(openvpn) ? false : 'openvpn is not installed: apt install openvpn'
const options = { skip, timeout: 30_000 }
const third = '33'.repeat(32)
let spaces: TwoNamespaces
let folder: string

before(() => {
  if (skip !== false) return
  spaces = new TwoNamespaces(`pg-v${process.pid}`)
  folder = mkdtempSync(join(tmpdir(), 'pg-openvpn-'))
})

afterEach(() => spaces?.endPrograms())

after(() => {
  spaces?.close()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

function start(side: Side, more: Partial<OpenvpnEndOptions> = {}): Promise<GuardEnd> {
  return startOpenvpnEnd(spaces, side, { ...more, folder })
}

async function stop(...ends: readonly GuardEnd[]): Promise<void> {
  for (const end of ends) {
    const exited = once(end.child, 'exit')
    assert.deepEqual(await end.ask('stop'), { stopped: true })
    await exited
  }
}

/** Waits for the tunnel, not for a time. */
function ping(from: Side, to: string, more: readonly string[] = []): string {
  return spaces.run(from, 'ping', ['-c', '1', '-w', '10', '-i', '0.2', ...more, to])
}

async function until(holds: () => boolean): Promise<void> {
  for (let look = 0; look < 200 && !holds(); look++) await new Promise((resolve) => setTimeout(resolve, 50))
  assert.ok(holds())
}

/** What is in a namespace of an end's making. */
function tracesOf(side: Side): unknown {
  return {
    processes: processesIn(spaces, side),
    links: [...spaces.ip(side, ['-o', 'link']).matchAll(/^\d+: (pg[^:@]*)/gm)].map(([, name]) => name),
    routes: spaces.ip(side, ['route', 'show', 'table', 'all']).match(/(10\.99\.|fd99:).*/g) ?? [],
    files: readdirSync(folderOf(folder, side)),
  }
}

const nothing = { processes: [], links: [], routes: [], files: [] }

/** Both ways at once over TCP, with hashes. */
async function transfer(bytes: number, address: string): Promise<void> {
  const program = fileURLToPath(new URL('../../bench/transfer.js', import.meta.url))
  const server = spaces.start('b', process.execPath, [program, 'serve', address, '7000', String(bytes)])
  const output: string[] = []
  server.stdout?.on('data', (part) => output.push(String(part)))
  const ended = once(server, 'close')
  while (output.length === 0) await once(server.stdout ?? server, 'data')
  const client = await spaces.output('a', process.execPath, {
    args: [program, 'connect', address, '7000', String(bytes)],
    within: 15_000,
  })
  await ended
  assert.deepEqual(JSON.parse(client), { ok: true, received: bytes })
  assert.deepEqual(JSON.parse(output.join('').split('\n')[1] ?? ''), { ok: true, received: bytes })
}

/** A STUN request to the port of an end, from elsewhere; the type of what comes back. */
async function askStun(from: Side, to: Side): Promise<string> {
  const script = `
    const socket = require('node:dgram').createSocket('udp4')
    const request = Buffer.from('000100002112a442' + '07'.repeat(12), 'hex')
    socket.on('message', (answer) => { console.log(answer.length, answer[0]); socket.close() })
    socket.send(request, 51820, '${outside[to]}')`
  return (await spaces.output(from, process.execPath, { args: ['-e', script], within: 5000 })).trim()
}

test(
  'two OpenVPN guards carry both families, keep the port of the punch for STUN, and leave nothing',
  options,
  async () => {
    const b = await start('b')
    const a = await start('a')
    ping('a', inside.b)
    ping('b', insideIpv6.a)
    await transfer(8_000_000, inside.b)
    await transfer(2_000_000, insideIpv6.b)
    for (const size of [1, 1364, 1365, 3000]) ping('b', inside.a, ['-s', String(size)])
    assert.equal(await askStun('b', 'a'), '20 1')
    for (const side of ['a', 'b'] as const) {
      const [pid] = processesIn(spaces, side)
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      assert.doesNotMatch(status, /^Uid:\t0\t/m, 'it is not root any more')
      assert.equal(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), 'openvpn\0--config\0stdin\0')
    }

    await a.ask('addresses 10.99.0.9,fd99::9')
    assert.deepEqual(
      spaces.ip('a', ['-o', 'address', 'show', 'dev', 'pg0', 'scope', 'global']).match(/(10\.|fd)\S+/g),
      ['10.99.0.9/32', 'fd99::9/128'],
    )
    await stop(a, b)
    assert.deepEqual([tracesOf('a'), tracesOf('b')], [nothing, nothing])
  },
)

test(
  'a process that is killed is back, on a new path too; a peer that crashed is back, and left no process',
  options,
  async () => {
    const a = await start('a')
    let b = await start('b')
    ping('a', inside.b)
    process.kill(processesIn(spaces, 'a')[0] ?? 0, 'SIGKILL')
    await until(() => processesIn(spaces, 'a').length === 1)
    ping('a', inside.b)

    await a.ask('use 51820')
    ping('a', inside.b)

    // Both hold a newer key; the process that lives on learns that the other one's is begun with that.
    for (const end of [a, b]) await end.ask(`key ${'55'.repeat(32)}`)
    process.kill(processesIn(spaces, 'b')[0] ?? 0, 'SIGKILL')
    await until(() => processesIn(spaces, 'b').length === 1)
    ping('a', inside.b)
    for (const end of [a, b]) await end.ask(`key ${presharedKey}`)

    b.child.kill('SIGKILL')
    await until(() => processesIn(spaces, 'b').length === 0)
    b = await start('b')
    ping('a', inside.b)
    const stats = await a.ask('stats')
    assert.ok(Array.isArray(stats) && stats[0].receivedBytes > 500 && stats[0].sentBytes > 500, JSON.stringify(stats))
    await stop(a, b)
    assert.deepEqual([tracesOf('a'), tracesOf('b')], [nothing, nothing])
  },
)

/** Packets that came in where their source is not routed to. */
function refusedSources(side: Side): number {
  const text = spaces.run(side, 'cat', ['/proc/net/netstat'])
  const [names = [], values = []] = [...text.matchAll(/^TcpExt: (.*)$/gm)].map(([, row = '']) => row.split(' '))
  return Number(values[names.indexOf('IPReversePathFilter')])
}

for (const [what, more, refusal] of [
  ['another certificate', { certificateOf: third }, /VERIFY|peer-fingerprint|certificate verify failed/],
  ['another pre-shared key', { presharedKey: third }, /tls-crypt unwrap/],
] as const)
  test(`a peer with ${what} gets no tunnel`, options, async () => {
    const a = await start('a', { peers: [peerOf('b', more)] })
    const b = await start('b')
    let lines: readonly string[] = []
    const refused = (): boolean => lines.some((line) => / [Ee]rror/.test(line) && refusal.test(line))
    for (let look = 0; look < 100 && !refused(); look++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      lines = Object.values(await a.ask('log')).map(String)
    }
    assert.ok(refused(), lines.join('\n'))
    assert.equal(spaces.tryRun('a', 'ping', ['-c', '5', '-W', '1', '-i', '0.3', inside.b]), undefined)
    for (const end of [a, b]) {
      const kinds = Object.values(await end.ask('events')).map((event) => JSON.stringify(event))
      assert.ok(!kinds.some((kind) => kind.includes('established')), kinds.join())
    }
    await stop(a, b)
  })

test('an interface that somebody removes is told, and leaves no process that looks for it', options, async () => {
  const a = await start('a')
  const b = await start('b')
  ping('a', inside.b)
  spaces.ip('a', ['link', 'delete', 'dev', 'pg0'])
  assert.deepEqual(await a.ask('lost'), { lost: 'the interface pg0 was removed' })
  await until(() => processesIn(spaces, 'a').length === 0)
  await stop(a, b)
  assert.deepEqual([tracesOf('a'), tracesOf('b')], [nothing, nothing])
})

test('each peer has an interface and a port of its own, and speaks for its own addresses only', options, async () => {
  const second = peerOf('b', {
    privateKey: third,
    endpoint: { address: outside.b, port: 51_830 },
    addresses: ['10.99.0.3'],
  })
  const a = await start('a', { addresses: [inside.a, '10.99.1.1'], peers: [peerOf('b'), second] })
  const b = await start('b', { peers: [peerOf('a', { addresses: [inside.a] })] })
  const c = await start('b', {
    name: 'pgc',
    port: 51_830,
    privateKey: third,
    addresses: ['10.99.0.3'],
    peers: [peerOf('a', { endpoint: { address: outside.a, port: 51_821 }, addresses: ['10.99.1.1'] })],
  })
  ping('a', inside.b)
  ping('a', '10.99.0.3', ['-I', '10.99.1.1'])
  assert.match(spaces.ip('a', ['route', 'get', inside.b]), / dev pg0 /)
  assert.match(spaces.ip('a', ['route', 'get', '10.99.0.3']), / dev pg0-2 /)
  assert.equal(processesIn(spaces, 'a').length, 2)
  // The first peer with the second one's address.
  const before = refusedSources('a')
  assert.equal(spaces.tryRun('b', 'ping', ['-c', '2', '-W', '1', '-i', '0.2', '-I', '10.99.0.3', inside.a]), undefined)
  assert.equal(refusedSources('a') - before, 2)
  await stop(a, b, c)
  assert.deepEqual([tracesOf('a'), tracesOf('b')], [nothing, nothing])
})

test('two whole devices behind two NATs pair, connect, copy and heal over OpenVPN, and leave nothing', {
  skip,
  timeout: 90_000,
}, async () => {
  const before = traces()
  const main = fileURLToPath(new URL('../../lab/main.js', import.meta.url))
  const run = startRun([process.execPath, main, '--guard', 'openvpn', '--json', '--copy', '1', '--delay', '5'])
  const { status } = await run.ended
  assert.equal(status, 0, run.output.stderr)
  const { ok, sha256_equal: isEqual, path = '' } = resultOf(run)
  assert.deepEqual([ok, isEqual], [true, true])
  assert.match(path, /^direct, /)
  await processesGone(run)
  assert.deepEqual(traces(), before)
})

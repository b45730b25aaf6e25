/** The worker data plane on real interfaces, in two namespaces of its own (prefix pg-d). Needs root. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism, getPriority, setPriority } from 'node:os'
import { after, afterEach, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { GuardEndOptions } from '../../bench/guard-end.ts'
import { type GuardEnd, outside, type Side, TwoNamespaces, untilWorkers } from '../../bench/two-namespaces.ts'
import { startWireguardGo } from '../../bench/wireguard-go.ts'
import { importKeyPair } from '../../src/guard/wireguard/crypto.ts'
import { toHex } from '../../src/util/bytes.ts'

const wireguardGo = '/usr/bin/wireguard-go'
const privateKeys = { a: '11'.repeat(32), b: '22'.repeat(32) } as const
const publicKeys = { a: publicKeyOf(privateKeys.a), b: publicKeyOf(privateKeys.b) } as const
const inside = { a: '10.99.0.1', b: '10.99.0.2' } as const
const insideIpv6 = { a: 'fd99::1', b: 'fd99::2' } as const
let spaces: TwoNamespaces
let names = 0

before(() => {
  spaces = new TwoNamespaces(`pg-d${process.pid}`)
})

afterEach(() => spaces.endPrograms())

after(() => spaces.close())

function publicKeyOf(privateKey: string): string {
  return toHex(importKeyPair(Uint8Array.from(Buffer.from(privateKey, 'hex'))).publicKey)
}

/** a knows where b is; b learns it. */
function endOptions(side: Side, name: string, more: Partial<GuardEndOptions> = {}): GuardEndOptions {
  const other = side === 'a' ? 'b' : 'a'
  const peer = { publicKey: publicKeys[other], allowedIps: [`${inside[other]}/32`, `${insideIpv6[other]}/128`] }
  return {
    name,
    port: 51_820,
    privateKey: privateKeys[side],
    addresses: [`${inside[side]}/24`, `${insideIpv6[side]}/64`],
    mtu: 1420,
    plane: 'workers',
    peers: [side === 'a' ? { ...peer, endpoint: { address: outside.b, port: 51_820 } } : peer],
    ...more,
  }
}

async function twoEnds(
  more: Partial<GuardEndOptions> = {},
): Promise<{ readonly a: GuardEnd; readonly b: GuardEnd; readonly name: string }> {
  const name = `pgd${names++}`
  const b = await spaces.startEnd('b', endOptions('b', name, more))
  const a = await spaces.startEnd('a', endOptions('a', name, more))
  return { a, b, name }
}

async function stop(...ends: readonly GuardEnd[]): Promise<void> {
  for (const end of ends) {
    const exited = once(end.child, 'exit')
    assert.deepEqual(await end.ask('stop'), { stopped: true })
    await exited
  }
}

/** Both ways at once over TCP, with hashes; IPv6 too when told. */
async function transfer(bytes: number, family: 4 | 6 = 4): Promise<void> {
  const program = fileURLToPath(new URL('../../bench/transfer.js', import.meta.url))
  const address = family === 4 ? inside.b : insideIpv6.b
  const server = spaces.start('b', process.execPath, [program, 'serve', address, '7000', String(bytes)])
  const output: string[] = []
  server.stdout?.on('data', (part) => output.push(String(part)))
  const ended = once(server, 'exit')
  while (output.length === 0) await once(server.stdout ?? server, 'data')
  const client = spaces.start('a', process.execPath, [program, 'connect', address, '7000', String(bytes)])
  const answers: string[] = []
  client.stdout?.on('data', (part) => answers.push(String(part)))
  await once(client, 'exit')
  await ended
  assert.deepEqual(JSON.parse(answers.join('')), { ok: true, received: bytes })
  assert.deepEqual(JSON.parse(output.join('').split('\n')[1] ?? ''), { ok: true, received: bytes })
}

/** Waits for the tunnel, not for a time: every second or less a new try. */
function ping(from: Side, to: string, options: readonly string[] = []): string {
  return spaces.run(from, 'ping', ['-c', '1', '-w', '8', '-i', '0.2', ...options, to])
}

/** How nice each thread of a process is. */
function nicenessOf(pid: number | undefined): readonly number[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => getPriority(Number(thread)))
}

/** The time limit of the test bounds it. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await setTimeout(20)
}

const seconds = (value: number): { readonly timeout: number } => ({ timeout: value * 1000 })

test('two guards in workers carry IPv4 and IPv6 with every offload, and lose nothing', seconds(15), async () => {
  const { a, b } = await twoEnds()
  ping('a', inside.b)
  await untilWorkers(a, b)
  // Each worker says what it uses when it has begun.
  const usesAll = async (): Promise<boolean> => {
    const { offloads } = await a.ask('status')
    return Array.isArray(offloads) && offloads.includes('udp-segment') && offloads.includes('udp-gro')
  }
  await until(usesAll)
  await transfer(8_000_000)
  await transfer(8_000_000, 6)
  for (const size of [1, 500, 1392, 1393, 3000]) ping('b', inside.a, ['-s', String(size)])
  for (const end of [a, b]) {
    const { guard, peers } = await end.ask('stats')
    const reasons = JSON.stringify([guard, peers])
    assert.ok(!/unauthenticated|malformed|replayed|source-not-allowed|refused/.test(reasons), reasons)
  }
  await stop(a, b)
})

for (const backend of ['openssl-evp', 'wasm'] as const)
  test(`${backend} alone carries the same`, seconds(15), async () => {
    const { a, b } = await twoEnds({ backends: [backend] })
    ping('a', inside.b)
    await untilWorkers(a, b)
    assert.equal((await a.ask('status'))['implementation'], backend)
    await transfer(3_000_000)
    await stop(a, b)
  })

test('the workers go on with the sessions of the plain data plane, and no packet is lost', seconds(20), async () => {
  const { a, b } = await twoEnds()
  ping('a', inside.b)
  assert.equal((await a.ask('status'))['dataPlane'] === 'workers', false)
  const output = spaces.run('a', 'ping', ['-q', '-c', '500', '-i', '0.002', '-W', '2', inside.b])
  assert.match(output, /500 packets transmitted, 500 received/)
  await untilWorkers(a, b)
  // The counters go on where they were; a report may be a tenth of a second late.
  const bytes = 501 * 84
  for (const end of [a, b]) {
    const isCounted = async (): Promise<boolean> => {
      const { peers } = await end.ask('stats')
      const [peer] = peers as readonly { readonly receivedBytes: number; readonly sentBytes: number }[]
      return peer !== undefined && peer.receivedBytes >= bytes && peer.sentBytes >= bytes
    }
    await until(isCounted)
  }
  await stop(a, b)
})

test('the workers take turns at the TUN, and no packet is lost, doubled or overtaken', seconds(20), async () => {
  const { a, b } = await twoEnds()
  ping('a', inside.b)
  await untilWorkers(a, b)
  let isOver = false
  let turns = 0
  const takeTurns = async (): Promise<void> => {
    for (; !isOver; turns++) for (const end of [a, b]) await end.ask(turns % 2 === 0 ? 'give-receive' : 'give-transmit')
  }
  const turning = takeTurns()
  const flow = spaces.output('a', 'ping', {
    args: ['-q', '-c', '2000', '-i', '0.001', '-W', '2', inside.b],
    within: 15_000,
  })
  await transfer(30_000_000)
  assert.match(await flow, /2000 packets transmitted, 2000 received/)
  isOver = true
  await turning
  assert.ok(turns > 100, `only ${turns} turns`)
  for (const end of [a, b]) {
    const { guard, peers } = await end.ask('stats')
    assert.deepEqual(
      [guard, peers].map((stats) => /replayed|unauthenticated|malformed/.test(JSON.stringify(stats))),
      [false, false],
    )
  }
  await stop(a, b)
})

test('when a worker dies the plain data plane goes on with new sessions, and says so', seconds(15), async () => {
  const { a, b } = await twoEnds()
  ping('a', inside.b)
  await untilWorkers(a, b)
  await a.ask('fail-receive')
  await b.ask('fail-transmit')
  // The last handshake is younger than REKEY_TIMEOUT, which the next one waits for.
  ping('a', inside.b, ['-w', '10'])
  assert.equal((await a.ask('status'))['dataPlane'], 'plain')
  assert.equal((await b.ask('status'))['dataPlane'], 'plain')
  await transfer(300_000)
  await stop(a, b)
})

test('the tunnel goes on after its interface went down and up, and follows its MTU', seconds(15), async () => {
  const { a, b, name } = await twoEnds()
  ping('a', inside.b)
  await untilWorkers(a, b)
  spaces.ip('a', ['link', 'set', 'dev', name, 'down'])
  spaces.ip('a', ['link', 'set', 'dev', name, 'up'])
  ping('a', inside.b)
  for (const side of ['a', 'b'] as const) spaces.ip(side, ['link', 'set', 'dev', name, 'mtu', '1281'])
  await transfer(2_000_000)
  await stop(a, b)
})

test('an interface that is removed ends neither the process nor the socket', seconds(15), async () => {
  const { a, b, name } = await twoEnds()
  ping('a', inside.b)
  await untilWorkers(a, b)
  spaces.ip('a', ['link', 'delete', 'dev', name])
  await until(async () => (await a.ask('status'))['dataPlane'] === 'plain')
  await stop(a, b)
})

test('a process that exits while its workers wait is gone at once', seconds(10), async () => {
  const { a, b } = await twoEnds()
  ping('a', inside.b)
  await untilWorkers(a, b)
  for (const end of [a, b]) {
    const exited = once(end.child, 'exit')
    end.child.stdin?.write('exit\n')
    const [status] = await exited
    assert.equal(status, 0)
  }
})

test(
  'where others keep every core busy, the worker that TCP waits for goes before them',
  seconds(30),
  async (context) => {
    const hogs = Array.from({ length: availableParallelism() + 1 }, () =>
      spaces.start('a', process.execPath, ['-e', 'for (;;);']),
    )
    try {
      setPriority(hogs[0]?.pid ?? 0, -1)
    } catch {
      context.skip('no process may be made less nice: run as root, or with the capability CAP_SYS_NICE')
      return
    }
    const { a, b } = await twoEnds()
    ping('a', inside.b)
    await untilWorkers(a, b)
    const isRaised = (): boolean => [a, b].some(({ child }) => nicenessOf(child.pid).some((nice) => nice === -10))
    assert.equal(isRaised(), false)
    const sink = `require('net').createServer((to) => to.resume()).listen(7001, '${inside.b}', () => console.log('listens'))`
    await once(spaces.start('b', process.execPath, ['-e', sink]).stdout ?? assert.fail('no output'), 'data')
    const source = `const to = require('net').connect(7001, '${inside.b}'), more = () => { while (to.write(Buffer.alloc(1 << 20))); }
    to.on('connect', more).on('drain', more)`
    const sender = spaces.start('a', process.execPath, ['-e', source])
    await until(async () => isRaised())
    // Not for longer than there is traffic.
    sender.kill('SIGKILL')
    await until(async () => !isRaised())
    await stop(a, b)
  },
)

for (const mtu of [1420, 1383, 1281])
  test(`wireguard-go and we agree at an MTU of ${mtu}, either calling`, seconds(15), async (context) => {
    if (!existsSync(wireguardGo)) {
      context.skip('wireguard-go is not installed: apt-get install wireguard-go')
      return
    }
    const peerOf = (side: Side): { readonly publicKey: string; readonly allowedIps: readonly string[] } => ({
      publicKey: publicKeys[side],
      allowedIps: [`${inside[side]}/32`, `${insideIpv6[side]}/128`],
    })
    const name = `pgw${process.pid % 10_000}${names++}`
    const a = await spaces.startEnd('a', endOptions('a', name, { mtu, peers: [peerOf('b')] }))
    const pid = await startWireguardGo(spaces, 'b', {
      ...endOptions('b', name, { mtu }),
      program: wireguardGo,
      peers: [{ ...peerOf('a'), endpoint: { address: outside.a, port: 51_820 } }],
    })
    ping('b', inside.a)
    await transfer(3_000_000)
    await transfer(1_000_000, 6)
    await stop(a)
    const again = await spaces.startEnd('a', endOptions('a', name, { mtu }))
    ping('a', inside.b)
    await transfer(1_000_000)
    await stop(again)
    process.kill(pid)
  })

/**
 * Paths that take less than Ethernet does, between real kernels that say nothing of it:
 *
 *   a ---1500--- r ---less--- s ---1500--- b      namespaces pg-m…; no ICMP from r and s, in one test no fragments
 *
 * Needs root.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, afterEach, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { importKeyPair } from '../../src/guard/wireguard/crypto.ts'
import { toHex } from '../../src/util/bytes.ts'
import type { PunchedEndLine, PunchedEndOptions } from './punched-end.ts'

type Place = 'a' | 'r' | 's' | 'b'
type Side = 'a' | 'b'

const prefix = `pg-m${process.pid % 100_000}`
const inside = { a: ['10.98.0.1', 'fd98::1'], b: ['10.98.0.2', 'fd98::2'] } as const
const privateKeys = { a: '33'.repeat(32), b: '44'.repeat(32) } as const
const interfaceName = 'pgm0'
const children: Set<ChildProcess> = new Set()
let folder = ''

function run(place: Place, ...argv: readonly string[]): string {
  const [program = '', ...args] = argv
  return execFileSync('ip', ['netns', 'exec', prefix + place, program, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

function ip(place: Place, words: string): void {
  run(place, 'ip', ...words.split(' '))
}

function start(place: Place, program: string, args: readonly string[]): ChildProcess {
  const child = spawn('ip', ['netns', 'exec', prefix + place, process.execPath, program, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  children.add(child)
  child.on('exit', () => children.delete(child))
  return child
}

function joinPlaces(left: Place, right: Place, net: number): void {
  ip(left, `link add to-${right} type veth peer name to-${left} netns ${prefix}${right}`)
  for (const [place, other, last] of [
    [left, right, 1],
    [right, left, 2],
  ] as const) {
    ip(place, `address add 192.0.2.${net + last}/30 dev to-${other}`)
    ip(place, `link set dev to-${other} up`)
  }
}

/** Of the line in the middle. */
function setMiddle(mtu: number): void {
  ip('r', `link set dev to-s mtu ${mtu}`)
  ip('s', `link set dev to-r mtu ${mtu}`)
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'pg-mtu-'))
  for (const place of ['a', 'r', 's', 'b'] as const) {
    execFileSync('ip', ['netns', 'add', prefix + place])
    ip(place, 'link set dev lo up')
  }
  joinPlaces('a', 'r', 0)
  joinPlaces('r', 's', 4)
  joinPlaces('s', 'b', 8)
  ip('a', 'route add default via 192.0.2.2')
  ip('r', 'route add 192.0.2.8/30 via 192.0.2.6')
  ip('s', 'route add 192.0.2.0/30 via 192.0.2.5')
  ip('b', 'route add default via 192.0.2.9')
  for (const router of ['r', 's'] as const) {
    run(router, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
    // What a router says for itself, such as ICMP, gets nowhere.
    ip(router, 'rule add pref 1 iif lo blackhole')
  }
})

afterEach(async () => {
  const left = [...children]
  const ends = left.map((child) => once(child, 'exit'))
  for (const child of left) child.kill('SIGKILL')
  await Promise.all(ends)
  for (const side of ['a', 'b'] as const) {
    try {
      ip(side, `link delete dev ${interfaceName}`)
    } catch {
      // It went with its process.
    }
  }
})

after(() => {
  for (const place of ['a', 'r', 's', 'b']) execFileSync('ip', ['netns', 'delete', prefix + place])
  rmSync(folder, { recursive: true })
})

class End {
  readonly lines: PunchedEndLine[] = []
  readonly #child: ChildProcess
  #arrived: () => void = () => {}

  constructor(side: Side, mtu: number) {
    const other = side === 'a' ? 'b' : 'a'
    const options: PunchedEndOptions = {
      name: interfaceName,
      folder: mkdtempSync(join(folder, side)),
      mtu,
      privateKey: privateKeys[side],
      peerKey: toHex(importKeyPair(Uint8Array.from(Buffer.from(privateKeys[other], 'hex'))).publicKey),
      addresses: inside[side],
      peerAddresses: inside[other],
      controlling: side === 'a',
    }
    const program = fileURLToPath(new URL('./punched-end.js', import.meta.url))
    this.#child = start(side, program, [JSON.stringify(options)])
  }

  listen(other: End): void {
    createInterface({ input: this.#child.stdout ?? process.stdin }).on('line', (text) => {
      const line: PunchedEndLine = JSON.parse(text)
      if (line.kind === 'punch') other.#child.stdin?.write(`${JSON.stringify(line.message)}\n`)
      this.lines.push(line)
      this.#arrived()
    })
  }

  get mtu(): number | undefined {
    return this.lines.findLast((line) => line.kind === 'mtu')?.mtu
  }

  /** When it said so first; waits for it. */
  async at(wanted: (line: PunchedEndLine) => boolean): Promise<number> {
    for (;;) {
      const line = this.lines.find(wanted)
      if (line !== undefined && 'at' in line) return line.at
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
    }
  }

  /** Ms from the beginning to the first word of this MTU. */
  async found(mtu: number): Promise<number> {
    const connectedAt = await this.at(({ kind }) => kind === 'connected')
    return (await this.at((line) => line.kind === 'mtu' && line.mtu === mtu)) - connectedAt
  }
}

async function connect(mtu = 1392): Promise<{ readonly a: End; readonly b: End }> {
  const [a, b] = [new End('a', mtu), new End('b', mtu)]
  a.listen(b)
  b.listen(a)
  await Promise.all([a, b].map((end) => end.at(({ kind }) => kind === 'connected')))
  run('a', 'ping', '-c', '1', '-w', '8', '-i', '0.2', inside.b[0])
  return { a, b }
}

/** Both ways at once over TCP, with hashes; calls `during` when a megabyte has gone. Resolves with the longest pause, ms. */
async function copy(bytes: number, family: 0 | 1, during: () => void = () => {}): Promise<number> {
  const program = fileURLToPath(new URL('../../bench/transfer.js', import.meta.url))
  const words = [inside.b[family], '7000', String(bytes)]
  const server = start('b', program, ['serve', ...words])
  const said: Record<'server' | 'client', string> = { server: '', client: '' }
  const listening = once(server.stdout ?? server, 'data')
  server.stdout?.on('data', (text) => {
    said.server += text
  })
  const ended = [once(server, 'exit')]
  await listening
  const client = start('a', program, ['connect', ...words])
  client.stdout?.on('data', (text) => {
    said.client += text
  })
  ended.push(once(client, 'exit'))
  const watch = new Watch()
  const goal = watch.look() + 1_000_000
  let isBegun = false
  const timer = setInterval(() => {
    if (watch.look() < goal || isBegun) return
    isBegun = true
    during()
  }, 100)
  await Promise.all(ended)
  clearInterval(timer)
  assert.deepEqual(JSON.parse(said.client), { ok: true, received: bytes })
  assert.deepEqual(JSON.parse(said.server.split('\n')[1] ?? ''), { ok: true, received: bytes })
  return watch.longestPause
}

/** How long no full packet has come out of the tunnel, in either direction. */
class Watch {
  longestPause = 0
  readonly #last: Record<Side, { bytes: number; at: number }> = {
    a: { bytes: 0, at: performance.now() },
    b: { bytes: 0, at: performance.now() },
  }

  /** Bytes so far, of both directions. */
  look(): number {
    let sum = 0
    for (const side of ['a', 'b'] as const) {
      const bytes = Number(run(side, 'cat', `/sys/class/net/${interfaceName}/statistics/tx_bytes`))
      const last = this.#last[side]
      const now = performance.now()
      if (bytes > last.bytes + 2000) this.#last[side] = { bytes, at: now }
      else this.longestPause = Math.max(this.longestPause, now - last.at)
      sum += bytes
    }
    return sum
  }
}

function setRate(rate: string): void {
  for (const [router, device] of [
    ['r', 'to-s'],
    ['s', 'to-r'],
  ] as const) {
    const qdisc = ['dev', device, 'root', 'tbf', 'rate', rate, 'burst', '64k', 'latency', '50ms']
    run(router, 'tc', 'qdisc', 'replace', ...qdisc)
  }
}

/** Packets that the routers have cut so far. */
function cuts(): number {
  let sum = 0
  for (const router of ['r', 's'] as const) {
    const [names = '', values = ''] = run(router, 'cat', '/proc/net/snmp').split('\n')
    sum += Number(values.split(' ')[names.split(' ').indexOf('FragOKs')])
  }
  return sum
}

const seconds = (value: number): { readonly timeout: number } => ({ timeout: value * 1000 })

for (const [middle, found] of [
  [1280, 1280],
  [1400, 1400],
] as const) {
  test(
    `over a line of ${middle} bytes pings and copies of any size pass both ways, and TCP is not cut`,
    seconds(20),
    async (context) => {
      setMiddle(middle)
      const { a, b } = await connect()
      for (const size of [1364, 3000]) run('a', 'ping', '-c', '1', '-w', '2', '-s', String(size), inside.b[0])
      const times = await Promise.all([a.found(found), b.found(found)])
      context.diagnostic(`found ${times.map((time) => time.toFixed(0)).join(' and ')} ms after the path`)
      assert.ok(Math.max(...times) < 2500)
      run('b', 'ping', '-c', '1', '-w', '2', '-s', '1364', inside.a[0])
      run('b', 'ping', '-c', '1', '-w', '2', '-s', '3000', inside.a[1])
      const before = cuts()
      const pause = await copy(20_000_000, 0)
      assert.ok(pause < 2000, `stood still for ${pause} ms`)
      // A probe of the next size has DF; nothing of the copy needs to be cut.
      assert.equal(cuts() - before, 0)
      await copy(20_000_000, 1)
      // IPv6 inside may not be smaller than 1280, 1340 with the tunnel around it.
      assert.equal(cuts() - before > 0, middle < 1340)
    },
  )
}

test(
  'a device whose own interface takes less than UDP_SEGMENT wants to give it loses nothing',
  seconds(20),
  async () => {
    setMiddle(1500)
    for (const [place, other] of [
      ['a', 'r'],
      ['r', 'a'],
    ] as const)
      ip(place, `link set dev to-${other} mtu 1300`)
    const { a, b } = await connect()
    // At once, in the second before anything is known of the path.
    await copy(4_000_000, 0)
    await Promise.all([a.found(1280), b.found(1280)])
    await copy(4_000_000, 1)
    ip('a', 'link set dev to-r mtu 1500')
    ip('r', 'link set dev to-a mtu 1500')
  },
)

test('a line that shrinks in the middle of a copy does not stop it', seconds(25), async (context) => {
  setMiddle(1500)
  setRate('80mbit')
  const { a, b } = await connect()
  await Promise.all([a.found(1452), b.found(1452)])
  const before = cuts()
  const pause = await copy(20_000_000, 0, () => setMiddle(1300))
  context.diagnostic(`longest pause ${pause.toFixed(0)} ms, ${cuts() - before} packets cut, path ${a.mtu} and ${b.mtu}`)
  assert.ok(pause < 3000)
})

test('a line that shrinks and drops what is cut stops a copy for some seconds', seconds(30), async (context) => {
  setMiddle(1500)
  setRate('80mbit')
  const { a, b } = await connect()
  await Promise.all([a.found(1452), b.found(1452)])
  const pause = await copy(20_000_000, 0, () => {
    for (const router of ['r', 's'] as const) {
      for (const rule of [
        'add table ip mtu',
        'add chain ip mtu in { type filter hook prerouting priority -450; }',
        'add rule ip mtu in ip frag-off & 0x3fff != 0 drop',
      ])
        run(router, 'nft', ...rule.split(' '))
    }
    setMiddle(1300)
  })
  context.diagnostic(`longest pause ${pause.toFixed(0)} ms, path ${a.mtu} and ${b.mtu}`)
  assert.deepEqual([a.mtu, b.mtu], [1280, 1280])
  assert.ok(pause < 6000)
})

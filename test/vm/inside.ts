/**
 * The story of the kernel's WireGuard, told inside the virtual machine: two network namespaces joined by a cable, the kernel
 * guard at one end and the embedded one at the other, then at both, each with a puncher on its port. Every step prints a line that
 * begins with `> `; the first that fails ends the story with one that begins with `> failed`.
 */

import assert from 'node:assert/strict'
import { outside, type Side, sides, TwoNamespaces } from '../../bench/two-namespaces.ts'
import { formatEndpoint } from '../../src/api/endpoint.ts'
import { errorMessage } from '../../src/api/errors.ts'
import { systemClock } from '../../src/util/clock.ts'
import { End, inner, port } from './two-ends.ts'

const transferBytes = 1_000_000
const moved: Readonly<Record<Side, string>> = { a: '192.168.77.11', b: '192.168.77.12' }
const name = 'pg0'

const begun = systemClock.now()
const spaces = new TwoNamespaces('pg-vm-')

function tell(what: string): void {
  console.log(`> ${((systemClock.now() - begun) / 1000).toFixed(1)} s: ${what}`)
}

const wg = (field: string): readonly string[] => spaces.run('a', 'wg', ['show', name, field]).trim().split(/\s+/)

/** Of the interface, if it is there. */
function indexOf(): string | undefined {
  return spaces.tryRun('a', 'ip', ['-o', 'link', 'show', 'dev', name])?.split(':')[0]
}

/** How many of `count` pings were answered. */
function ping(from: Side, count: number): number {
  const to = from === 'a' ? inner.b : inner.a
  const text = spaces.tryRun(from, 'ping', ['-c', String(count), '-i', '0.1', '-W', '3', to]) ?? ''
  return Number(/ (\d+) received/.exec(text)?.[1] ?? 0)
}

function pingBothWays(): void {
  for (const side of sides) assert.equal(ping(side, 5), 5, `from ${side}`)
}

/** Each way once. */
async function transfer(a: End, b: End): Promise<void> {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    to.order({ kind: 'serve' })
    await to.report('serving')
    from.order({ kind: 'send', bytes: transferBytes })
    const [received, sent] = [await to.report('transferred'), await from.report('transferred')]
    assert.deepEqual(received, sent)
    assert.equal(received.bytes, transferBytes)
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => systemClock.after(ms, resolve))
}

/** A new path between both, until packets can pass; ms. */
async function connect(a: End, b: End): Promise<number> {
  const start = systemClock.now()
  for (const end of [a, b]) {
    end.forget()
    end.order({ kind: 'punch' })
  }
  for (const end of [a, b]) assert.equal((await end.report('path')).path.kind, 'host')
  for (const end of [a, b]) await end.report('established')
  return Math.round(systemClock.now() - start)
}

/** The address on the cable becomes another one: what was bound to all addresses goes on from there. */
function move(side: Side): void {
  spaces.ip(side, ['address', 'delete', `${outside[side]}/24`, 'dev', 'veth0'])
  spaces.ip(side, ['address', 'add', `${moved[side]}/24`, 'dev', 'veth0'])
}

async function story(): Promise<void> {
  const a = new End(spaces, 'a', 'kernel')
  const b = new End(spaces, 'b', 'embedded')
  a.pair(b)
  b.pair(a)
  const { status } = await a.report('ready')
  await b.report('ready')
  assert.equal(status.dataPlane, 'kernel')
  assert.deepEqual([wg('listen-port'), wg('peers')], [[String(port)], ['']])
  tell(`${status.implementation}: the interface is there and has port ${port}; no peer before there is a path`)

  const time = await connect(a, b)
  assert.deepEqual(wg('endpoints').slice(1), [`${outside.b}:${port}`])
  tell(`ICE on the shared port and the handshake in ${time} ms`)
  pingBothWays()
  tell('10 of 10 pings')
  await transfer(a, b)
  tell(`${transferBytes / 1e6} MB each way, SHA-256 equal`)

  // The kernel is asked once a second.
  await pause(1500)
  a.order({ kind: 'stats' })
  b.order({ kind: 'stats' })
  const [{ stats }, { stats: theirs }] = [await a.report('stats'), await b.report('stats')]
  const [handshake, received, sent] = [Number(wg('latest-handshakes')[1]), ...wg('transfer').slice(1).map(Number)]
  assert.ok(stats.lastHandshakeAt !== undefined && Math.abs(stats.lastHandshakeAt / 1000 - handshake) < 2)
  for (const [ours, of] of [
    [stats.receivedBytes, received],
    [stats.sentBytes, sent],
    [stats.receivedBytes, theirs.sentBytes],
  ]) {
    const isSame = ours !== undefined && of !== undefined && ours > transferBytes && Math.abs(ours / of - 1) < 0.05
    assert.ok(isSame, `${ours} and ${of}`)
  }
  tell(`${stats.receivedBytes} bytes received and ${stats.sentBytes} sent, handshake time as wg says`)

  move('b')
  assert.ok(ping('b', 6) >= 3, 'from b')
  await pause(1500)
  a.order({ kind: 'stats' })
  const { endpoint } = (await a.report('stats')).stats
  assert.equal(endpoint && formatEndpoint(endpoint), `${moved.b}:${port}`)
  assert.equal(ping('a', 5), 5)
  tell("the embedded end's address changes: the kernel follows at once, and we read it back")

  move('a')
  assert.ok(ping('a', 6) >= 3, 'from a')
  assert.equal(ping('b', 5), 5)
  tell("the kernel's address changes: the embedded end follows at once")

  const again = await connect(a, b)
  pingBothWays()
  tell(`a new path between the new addresses after ${again} ms; 10 of 10 pings`)

  a.order({ kind: 'leave' })
  await a.report('left')
  assert.deepEqual([wg('peers'), ping('b', 2)], [[''], 0])
  const back = await connect(a, b)
  pingBothWays()
  tell(`without a path the peer is out of the kernel; back after ${back} ms`)

  const before = indexOf()
  await Promise.all([a.crash(), b.stop()])
  assert.equal(indexOf(), before)
  const next = new End(spaces, 'a', 'kernel')
  const other = new End(spaces, 'b', 'kernel')
  next.pair(other)
  other.pair(next)
  for (const end of [next, other]) await end.report('ready')
  assert.notEqual(indexOf(), before)
  tell('crash and start: the old interface is taken back, a new one is there')
  const anew = await connect(next, other)
  pingBothWays()
  await transfer(next, other)
  tell(`the kernel guard at both ends: a path and the handshake in ${anew} ms, pings, and the transfer again`)

  spaces.ip('a', ['link', 'delete', 'dev', name])
  const { reason } = await next.report('gone', 5000)
  next.order({ kind: 'reopen' })
  await next.report('ready')
  assert.deepEqual(wg('listen-port'), [String(port)])
  tell(`somebody deletes the interface: ${reason}, and is made anew`)

  await Promise.all([next.stop(), other.stop()])
  assert.equal(indexOf(), undefined)
  tell('stop: the interface is gone')
}

try {
  await story()
  console.log('> passed')
} catch (error) {
  console.log(`> failed: ${errorMessage(error)}`.replaceAll('\n', ' '))
  console.error(error)
  console.log(spaces.tryRun('a', 'wg', ['show', name]))
}
spaces.close()

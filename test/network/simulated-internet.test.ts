import assert from 'node:assert/strict'
import { test } from 'node:test'
import { siteKindNames } from '../../lab/model/kinds.ts'
import { type Endpoint, formatEndpoint } from '../../src/api/endpoint.ts'
import type { DatagramSocket } from '../../src/api/network.ts'
import { fromUtf8, toUtf8 } from '../../src/util/bytes.ts'
import { type SimulatedHost, SimulatedInternet, type SimulatedSite } from './simulated-internet.ts'
import { VirtualClock } from './virtual-clock.ts'

const server: Endpoint = { address: '198.51.100.1', port: 3478 }

interface World {
  readonly clock: VirtualClock
  readonly internet: SimulatedInternet
}

function worldOf(seed: number | string = 1): World {
  const clock = new VirtualClock()
  return { clock, internet: new SimulatedInternet({ clock, seed }) }
}

/** A socket that notes what it receives as `from: text`. */
async function listen(
  host: SimulatedHost,
  port = 0,
): Promise<{ readonly socket: DatagramSocket; readonly heard: string[] }> {
  const socket = await host.bindUdp({ port })
  const heard: string[] = []
  socket.receive((bytes, from) => void heard.push(`${formatEndpoint(from)}: ${fromUtf8(bytes)}`))
  return { socket, heard }
}

/** A server that tells everybody how they look from outside. */
async function mirror(world: World): Promise<void> {
  const socket = await world.internet.publicHost(server.address).bindUdp({ port: server.port })
  socket.receive((_bytes, from) => socket.send(toUtf8(formatEndpoint(from)), from))
}

function firstHost(site: SimulatedSite): SimulatedHost {
  return site.hosts[0] ?? assert.fail('no host')
}

/** How a socket looks to the mirror. */
async function mapped(world: World, { socket, heard }: Awaited<ReturnType<typeof listen>>): Promise<Endpoint> {
  socket.send(toUtf8('who am I?'), server)
  assert.ok(await world.clock.runUntil(() => heard.some((line) => line.startsWith(formatEndpoint(server))), 1000))
  const [address, port] = heard.pop()?.split(': ')[1]?.split(':') ?? []
  return { address: address ?? '', port: Number(port) }
}

test('two public hosts talk, with the delay of both lines', async () => {
  const { clock, internet } = worldOf()
  const a = await listen(internet.publicHost('198.51.100.5', { link: { delay: 10 } }))
  const b = await listen(internet.publicHost('198.51.100.6', { link: { delay: 20 } }), 7)
  const bytes = toUtf8('hello')
  a.socket.send(bytes, { address: '198.51.100.6', port: 7 })
  bytes.fill(0)
  await clock.advance(29)
  assert.deepEqual(b.heard, [])
  await clock.advance(1)
  assert.deepEqual(b.heard, [`198.51.100.5:${a.socket.port}: hello`])
})

test('a host behind a NAT is seen from its public address and gets the answer', async () => {
  for (const kind of siteKindNames) {
    const world = worldOf()
    await mirror(world)
    const site = world.internet.site({ kind, hosts: 1, publicAddress: '203.0.113.9', link: { delay: 20 } })
    const seen = await mapped(world, await listen(firstHost(site), 4000))
    assert.equal(seen.address, '203.0.113.9', kind)
    assert.equal(seen.port === 4000, !/random|sequential/.test(kind), kind)
    assert.equal(world.clock.now(), 40, kind)
  }
})

/** Whether two sites that know each other's address as the mirror sees it get through when both send five times. */
async function punches(kindA: string, kindB: string): Promise<boolean> {
  const world = worldOf(`${kindA} ${kindB}`)
  await mirror(world)
  const [a, b] = await Promise.all(
    [kindA, kindB].map(async (kind) => {
      const name = siteKindNames.find((known) => known === kind) ?? assert.fail(kind)
      return await listen(firstHost(world.internet.site({ kind: name, hosts: 1, link: { delay: 10 } })), 4000)
    }),
  )
  if (a === undefined || b === undefined) return assert.fail()
  const endpointA = await mapped(world, a)
  const endpointB = await mapped(world, b)
  // Who is heard from an unexpected endpoint is called there: a peer-reflexive candidate.
  const caller = (end: typeof a, signalled: Endpoint): (() => void) => {
    let remote = signalled
    end.socket.receive((bytes, from) => {
      end.heard.push(fromUtf8(bytes) ?? '')
      remote = from
      if (fromUtf8(bytes) === 'ping') end.socket.send(toUtf8('pong'), from)
    })
    return () => end.socket.send(toUtf8('ping'), remote)
  }
  const callers = [caller(a, endpointB), caller(b, endpointA)]
  for (let round = 0; round < 5; round++) {
    for (const call of callers) call()
    await world.clock.advance(50)
  }
  return a.heard.includes('pong') && b.heard.includes('pong')
}

test('plain punching opens exactly the pairs that RFC 4787 behaviour allows', async () => {
  const hard = new Set(['eim-apdf', 'eim-apdf-random', 'adm-apdf-random', 'apdm-apdf-random', 'apdm-apdf-sequential'])
  const dependent = /^(adm|apdm)/
  const failed: string[] = []
  let pairs = 0
  for (const [index, a] of siteKindNames.entries()) {
    for (const b of siteKindNames.slice(index)) {
      pairs++
      const possible = !(hard.has(a) && hard.has(b) && (dependent.test(a) || dependent.test(b)))
      if ((await punches(a, b)) !== possible) failed.push(`${a} x ${b}: expected ${possible ? 'open' : 'closed'}`)
    }
  }
  assert.equal(pairs, 36)
  assert.deepEqual(failed, [])
})

test('hosts of one LAN talk directly; through their public endpoint only with hairpinning', async () => {
  for (const hairpinning of [false, true]) {
    const world = worldOf()
    await mirror(world)
    const site = world.internet.site({ kind: 'eim-eif', hosts: 2, hairpinning })
    const [hostA, hostB] = site.hosts
    if (hostA === undefined || hostB === undefined) return assert.fail()
    const a = await listen(hostA, 4000)
    const b = await listen(hostB, 4001)
    const outside = await mapped(world, b)
    a.socket.send(toUtf8('direct'), { address: hostB.address, port: 4001 })
    a.socket.send(toUtf8('loop'), outside)
    await world.clock.advance(1)
    const expected = [`${hostA.address}:4000: direct`, `${site.publicAddress}:4000: loop`]
    assert.deepEqual(b.heard, hairpinning ? expected : expected.slice(0, 1))
  }
})

test('a carrier NAT around a home NAT translates twice', async () => {
  const world = worldOf()
  await mirror(world)
  const carrier = world.internet.site({ kind: 'eim-apdf-random', hosts: 0, publicAddress: '203.0.113.200' })
  const home = world.internet.site({ kind: 'eim-apdf', hosts: 1, behind: carrier })
  const seen = await mapped(world, await listen(firstHost(home), 4000))
  assert.equal(seen.address, '203.0.113.200')
  assert.notEqual(seen.port, 4000)
  assert.equal(home.stats().outbound, 1)
  assert.equal(carrier.stats().outbound, 1)
})

test('after a rebind the site is seen from the new address and the old one leads nowhere', async () => {
  const world = worldOf()
  await mirror(world)
  const site = world.internet.site({ kind: 'eim-eif', hosts: 1, publicAddress: '203.0.113.9' })
  const end = await listen(firstHost(site), 4000)
  const before = await mapped(world, end)
  site.rebind('203.0.113.77')
  const stranger = await listen(world.internet.publicHost('198.51.100.50'))
  stranger.socket.send(toUtf8('still there?'), before)
  await world.clock.advance(1)
  assert.equal(world.internet.stats().dropped['no-route'], 1)
  const after = await mapped(world, end)
  assert.deepEqual(after, { address: '203.0.113.77', port: 4000 })
  assert.deepEqual(end.heard, [])
})

test('a restarted host has no sockets: its ports are free and packets find nobody', async () => {
  const { clock, internet } = worldOf()
  const host = internet.publicHost('198.51.100.5')
  const old = await listen(host, 7)
  await assert.rejects(host.bindUdp({ port: 7 }), { code: 'ADDRESS_IN_USE' })
  const other = await listen(internet.publicHost('198.51.100.6'))
  host.restart()
  other.socket.send(toUtf8('x'), { address: '198.51.100.5', port: 7 })
  old.socket.send(toUtf8('from the dead'), { address: '198.51.100.6', port: other.socket.port })
  await clock.advance(1)
  assert.equal(host.unheard, 1)
  assert.deepEqual([old.heard, other.heard], [[], []])
  const again = await listen(host, 7)
  await old.socket[Symbol.asyncDispose]()
  other.socket.send(toUtf8('y'), { address: '198.51.100.5', port: 7 })
  await clock.advance(1)
  assert.equal(again.heard.length, 1)
})

test('the bytes given to a receiver are gone after the call', async () => {
  const { clock, internet } = worldOf()
  const a = await internet.publicHost('198.51.100.5').bindUdp({ port: 0 })
  const b = await internet.publicHost('198.51.100.6').bindUdp({ port: 7 })
  const kept: Uint8Array[] = []
  b.receive((bytes) => void kept.push(bytes))
  a.send(new Uint8Array([1, 2, 3]), { address: '198.51.100.6', port: 7 })
  await clock.advance(1)
  assert.deepEqual(kept, [new Uint8Array([0xdd, 0xdd, 0xdd])])
})

test('names resolve by table, addresses to themselves, and what is unknown not at all', async () => {
  const { internet } = worldOf()
  const host = internet.publicHost('198.51.100.5')
  internet.name('node.example', '198.51.100.1')
  assert.deepEqual(
    [await host.resolve('node.example'), await host.resolve('10.0.0.1'), await host.resolve('nobody.example')],
    ['198.51.100.1', '10.0.0.1', undefined],
  )
  assert.deepEqual(host.localAddresses(), ['198.51.100.5'])
})

test('watchers hear of a change until they are disposed', () => {
  const host = worldOf().internet.publicHost('198.51.100.5')
  let changes = 0
  const watching = host.watch(() => void changes++)
  host.announceChange()
  watching[Symbol.dispose]()
  host.announceChange()
  assert.equal(changes, 1)
})

/** A bad line in both directions; the trace is every packet with its time of delivery. */
async function trace(seed: number | string): Promise<readonly string[]> {
  const world = worldOf(seed)
  await mirror(world)
  const seen: string[] = []
  world.internet.tap(
    ({ from, to }) => void seen.push(`${world.clock.now()} ${formatEndpoint(from)} ${formatEndpoint(to)}`),
  )
  const link = { delay: 20, jitter: 5, loss: 0.2, reorder: 0.1, duplicate: 0.1, rate: 1e6 }
  const site = world.internet.site({ kind: 'apdm-apdf-random', hosts: 1, link })
  const { socket } = await listen(firstHost(site), 4000)
  for (let count = 0; count < 200; count++) {
    socket.send(new Uint8Array(50), server)
    await world.clock.advance(10)
  }
  await world.clock.advance(1000)
  return seen
}

test('the same seed gives the same run, packet by packet, and another seed another one', async () => {
  const first = await trace('seed')
  assert.ok(first.length > 250, `${first.length}`)
  assert.deepEqual(await trace('seed'), first)
  assert.notDeepEqual(await trace('other'), first)
})

test('a cut line is counted as loss and heals', async () => {
  const world = worldOf()
  await mirror(world)
  const site = world.internet.site({ kind: 'eim-apdf', hosts: 1 })
  const end = await listen(firstHost(site), 4000)
  site.setLink({ loss: 1 })
  end.socket.send(toUtf8('lost'), server)
  await world.clock.advance(10)
  assert.equal(world.internet.stats().dropped.lost, 1)
  site.setLink({ loss: 0 })
  await mapped(world, end)
})

/** Two ToxNetworks on a closed network of our own nodes, in virtual time: how fast, and what heals. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { SiteKindName } from '../../lab/model/kinds.ts'
import type { SimulatedSite } from '../network/simulated-internet.ts'
import { firstHost, median, type ToxDevice, type ToxLine, ToxWorld } from './tox-world.ts'

interface Pair {
  readonly world: ToxWorld
  readonly sites: readonly [SimulatedSite, SimulatedSite]
  readonly devices: readonly [ToxDevice, ToxDevice]
  readonly lines: readonly [ToxLine, ToxLine]
}

/** Two devices behind NATs that know each other's key, started together; not yet online. */
async function friends(options: {
  readonly seed: string
  readonly nodes?: number
  readonly kinds?: readonly [SiteKindName, SiteKindName]
}): Promise<Pair> {
  const world = await ToxWorld.create({ seed: options.seed, nodes: options.nodes ?? 3 })
  const kinds = options.kinds ?? ['eim-apdf', 'eim-apdf']
  const sites = [world.site({ kind: kinds[0] }), world.site({ kind: kinds[1] })] as const
  const devices = [
    await world.device(firstHost(sites[0]), { seed: `${options.seed} a` }),
    await world.device(firstHost(sites[1]), { seed: `${options.seed} b` }),
  ] as const
  const lines = [devices[0].open(devices[1].publicKey), devices[1].open(devices[0].publicKey)] as const
  return { world, sites, devices, lines }
}

function bothOnline({ lines }: Pair): boolean {
  return lines[0].channel.online && lines[1].channel.online
}

async function onlineFriends(options: Parameters<typeof friends>[0]): Promise<Pair> {
  const pair = await friends(options)
  assert.ok(await pair.world.clock.runUntil(() => bothOnline(pair), 20_000), 'both online within 20 s')
  await pair.world.clock.advance(3_000)
  return pair
}

/** How long until a new text has arrived each way, ms. */
async function textsFlow(pair: Pair, limit: number): Promise<number> {
  const { world, lines } = pair
  const start = world.clock.now()
  const texts = [`from a ${start}`, `from b ${start}`] as const
  assert.ok(lines[0].channel.send(texts[0]) && lines[1].channel.send(texts[1]))
  const arrived = (): boolean => lines[1].texts.includes(texts[0]) && lines[0].texts.includes(texts[1])
  assert.ok(await world.clock.runUntil(arrived, limit), `texts flow again within ${limit} ms`)
  return world.clock.now() - start
}

function report(context: TestContext, what: string, times: readonly number[]): void {
  const all = times.map((time) => Math.round(time)).sort((a, b) => a - b)
  context.diagnostic(`${what}: median ${median(all)} ms of ${all.join(', ')}`)
}

const seeds = ['1', '2', '3', '4', '5']

test('friends that know each other are online within 2 s of their start', async (context) => {
  const times: number[] = []
  for (const seed of seeds) {
    const pair = await friends({ seed })
    await using _ = pair.world
    assert.ok(await pair.world.clock.runUntil(() => bothOnline(pair), 20_000))
    times.push(pair.world.clock.now() - pair.devices[0].startedAt)
  }
  report(context, 'friends online', times)
  assert.ok(median(times) <= 2_000)
})

test('a friend request from start to online takes 2.5 s', async (context) => {
  const times: number[] = []
  for (const seed of seeds) {
    const world = await ToxWorld.create({ seed, nodes: 3 })
    await using _ = world
    const a = await world.device(firstHost(world.site({ kind: 'eim-apdf' })), { seed: 'a' })
    const b = await world.device(firstHost(world.site({ kind: 'eim-apdf' })), { seed: 'b' })
    const answers: ToxLine[] = []
    b.network.introductions(({ address, text }) => {
      assert.deepEqual([address, text], [a.publicKey, 'may I?'])
      answers.push(b.open(address))
    })
    const line = a.open(b.network.address, 'may I?')
    const online = (): boolean => line.channel.online && answers[0]?.channel.online === true
    assert.ok(await world.clock.runUntil(online, 30_000))
    assert.equal(answers.length, 1)
    times.push(world.clock.now() - a.startedAt)
  }
  report(context, 'pairing', times)
  assert.ok(median(times) <= 2_500)
})

test('1000 texts each way arrive in order over one node', async () => {
  const pair = await onlineFriends({ seed: 'one node', nodes: 1 })
  await using _ = pair.world
  const expected = Array.from({ length: 1_000 }, (_, number) => `${number}`)
  for (const text of expected) {
    for (const { channel } of pair.lines) {
      while (!channel.send(text)) await pair.world.clock.advance(20)
    }
  }
  await pair.world.clock.runUntil(() => pair.lines.every((line) => line.texts.length >= 1_000), 30_000)
  for (const line of pair.lines) assert.deepEqual(line.texts, expected)
})

for (const kinds of [
  ['eim-apdf', 'eim-apdf'],
  ['eim-eif', 'eim-apdf'],
  ['public', 'eim-apdf-random'],
] as const) {
  test(`after a NAT's public address changed texts flow 1.5 s after a nudge on both sides (${kinds.join(', ')})`, async (context) => {
    const times: number[] = []
    for (const seed of seeds.slice(0, 3)) {
      const pair = await onlineFriends({ seed, kinds })
      await using _ = pair.world
      pair.sites[1].rebind('198.51.100.77')
      await pair.world.clock.advance(700)
      for (const { channel } of pair.lines) channel.nudge()
      times.push(await textsFlow(pair, 20_000))
      assert.equal(pair.lines[0].count('offline') + pair.lines[1].count('offline'), 0)
    }
    report(context, `texts after a nudge (${kinds.join(', ')})`, times)
    assert.ok(Math.max(...times) <= 1_500)
  })
}

test('both public addresses change at once: a nudge heals it too', async (context) => {
  const times: number[] = []
  for (const seed of seeds.slice(0, 3)) {
    const pair = await onlineFriends({ seed })
    await using _ = pair.world
    pair.sites[0].rebind('198.51.100.66')
    pair.sites[1].rebind('198.51.100.77')
    await pair.world.clock.advance(300)
    for (const { channel } of pair.lines) channel.nudge()
    times.push(await textsFlow(pair, 20_000))
  }
  report(context, 'texts after both moved', times)
  assert.ok(Math.max(...times) <= 3_000)
})

test('without any nudge a changed public address heals as well', async (context) => {
  const times: number[] = []
  for (const seed of seeds.slice(0, 3)) {
    const pair = await onlineFriends({ seed })
    await using _ = pair.world
    pair.sites[1].rebind('198.51.100.77')
    times.push(await textsFlow(pair, 20_000))
    assert.equal(pair.lines[0].count('offline'), 0)
  }
  report(context, 'texts without a nudge', times)
  assert.ok(Math.max(...times) <= 10_000)
})

test('a device that stops is offline at the other end at once, one that crashes after 32 s', async () => {
  const pair = await onlineFriends({ seed: 'stop' })
  await using _ = pair.world
  await pair.devices[0].network[Symbol.asyncDispose]()
  await pair.world.clock.advance(100)
  assert.equal(pair.lines[1].count('offline'), 1)
  const other = await onlineFriends({ seed: 'crash' })
  await using __ = other.world
  firstHost(other.sites[0]).restart()
  const start = other.world.clock.now()
  await other.world.clock.runUntil(() => other.lines[1].count('offline') === 1, 60_000)
  const after = other.world.clock.now() - start
  assert.ok(after >= 24_000 && after <= 33_000, `${after} ms`)
})

test('a device that crashed and starts again is online within seconds, with its old session replaced', async (context) => {
  const times: number[] = []
  for (const seed of seeds.slice(0, 3)) {
    const pair = await onlineFriends({ seed })
    await using _ = pair.world
    firstHost(pair.sites[0]).restart()
    await pair.world.clock.advance(2_000)
    const again = await pair.world.device(firstHost(pair.sites[0]), { seed: `${seed} a` })
    const line = again.open(pair.devices[1].publicKey)
    assert.ok(await pair.world.clock.runUntil(() => line.channel.online && pair.lines[1].count('online') === 2, 30_000))
    times.push(pair.world.clock.now() - again.startedAt)
  }
  report(context, 'restart after a crash', times)
  assert.ok(median(times) <= 4_000)
})

test('a channel that is disposed tells the peer, and can be opened again', async () => {
  const pair = await onlineFriends({ seed: 'dispose' })
  await using _ = pair.world
  await pair.lines[0].channel[Symbol.asyncDispose]()
  await pair.world.clock.advance(200)
  assert.equal(pair.lines[1].count('offline'), 1)
  assert.equal(pair.lines[0].channel.send('nobody'), false)
  await pair.world.clock.advance(10_000)
  assert.equal(pair.lines[1].channel.online, false)
  const again = pair.devices[0].open(pair.devices[1].publicKey)
  assert.ok(await pair.world.clock.runUntil(() => again.channel.online && pair.lines[1].channel.online, 40_000))
})

test('two devices behind one NAT that does not hairpin meet on their LAN', async (context) => {
  const times: number[] = []
  for (const seed of seeds.slice(0, 3)) {
    const world = await ToxWorld.create({ seed, nodes: 3 })
    await using _ = world
    const [one, two] = world.site({ kind: 'eim-apdf', hosts: 2, hairpinning: false }).hosts
    if (one === undefined || two === undefined) return assert.fail()
    const a = await world.device(one, { seed: 'a' })
    const b = await world.device(two, { seed: 'b' })
    const lines = [a.open(b.publicKey), b.open(a.publicKey)] as const
    assert.ok(await world.clock.runUntil(() => lines[0].channel.online && lines[1].channel.online, 30_000))
    times.push(world.clock.now() - a.startedAt)
  }
  report(context, 'online behind one NAT', times)
  assert.ok(median(times) <= 3_000)
})

test('a device that slept for an hour is online again within seconds', async (context) => {
  const pair = await onlineFriends({ seed: 'sleep' })
  await using _ = pair.world
  pair.sites[0].setLink({ loss: 1 })
  await pair.world.clock.advance(3_600_000)
  assert.equal(pair.lines[1].channel.online, false)
  pair.sites[0].setLink({ loss: 0 })
  const start = pair.world.clock.now()
  firstHost(pair.sites[0]).announceChange()
  assert.ok(await pair.world.clock.runUntil(() => bothOnline(pair), 60_000))
  report(context, 'online after an hour without a network', [pair.world.clock.now() - start])
})

test('damaged copies of everything that passes keep nobody from meeting', async () => {
  const pair = await friends({ seed: 'hostile', kinds: ['public', 'public'] })
  await using _ = pair.world
  const { clock, internet, random } = pair.world
  const attacker = await internet.publicHost('198.51.100.200').bindUdp({ port: 6_666 })
  let attacks = 0
  using __ = internet.tap(({ from, to, bytes }) => {
    if (from.address === '198.51.100.200' || attacks >= 20_000) return
    for (let i = 0; i < 3; i++) {
      const copy = bytes.slice(0, i === 0 ? bytes.length : random.below(bytes.length) + 1)
      const at = random.below(copy.length)
      copy[at] = (copy[at] ?? 0) ^ (1 + random.below(255))
      attacker.send(copy, to)
      attacks += 1
    }
  })
  assert.ok(await clock.runUntil(() => bothOnline(pair), 20_000))
  for (let round = 0; round < 20; round++) {
    await textsFlow(pair, 5_000)
    await clock.advance(1_000)
  }
  assert.ok(attacks > 1_000, `${attacks} attacks`)
  assert.equal(pair.lines[0].count('offline') + pair.lines[1].count('offline'), 0)
})

test('an introduction waits for a listener, and texts of 1372 bytes pass while longer ones are refused', async () => {
  const world = await ToxWorld.create({ seed: 'introduction', nodes: 1 })
  await using _ = world
  const a = await world.device(firstHost(world.site({ kind: 'public' })), { seed: 'a' })
  const b = await world.device(firstHost(world.site({ kind: 'eim-apdf' })), { seed: 'b' })
  const line = a.open(b.network.address, 'ü'.repeat(450))
  await world.clock.advance(10_000)
  const heard: string[] = []
  using __ = b.network.introductions(({ text }) => heard.push(text))
  assert.deepEqual(heard, ['ü'.repeat(450)])
  const answer = b.open(a.publicKey)
  assert.ok(await world.clock.runUntil(() => line.channel.online && answer.channel.online, 30_000))
  assert.equal(line.channel.send('ü'.repeat(687)), false)
  assert.ok(line.channel.send('ü'.repeat(686)) && line.channel.send(''))
  await world.clock.advance(500)
  assert.deepEqual(answer.texts, ['ü'.repeat(686), ''])
  assert.equal(heard.length, 1)
})

test('a device that was not answered can introduce itself again in other words', async () => {
  const world = await ToxWorld.create({ seed: 'again', nodes: 1 })
  await using _ = world
  const a = await world.device(firstHost(world.site({ kind: 'eim-apdf' })), { seed: 'a' })
  const b = await world.device(firstHost(world.site({ kind: 'eim-apdf' })), { seed: 'b' })
  const heard: string[] = []
  using __ = b.network.introductions(({ text }) => heard.push(text))
  const first = a.open(b.network.address, 'first')
  await world.clock.advance(30_000)
  await first.channel[Symbol.asyncDispose]()
  a.open(b.network.address, 'second')
  await world.clock.advance(30_000)
  assert.deepEqual(heard, ['first', 'second'])
})

test('two idle friends send a few packets a second', async (context) => {
  const pair = await onlineFriends({ seed: 'idle' })
  await using _ = pair.world
  await pair.world.clock.advance(120_000)
  let packets = 0
  const own = pair.sites[0].publicAddress
  using __ = pair.world.internet.tap(({ from, to }) => {
    if (from.address === own || to.address === own) packets += 1
  })
  await pair.world.clock.advance(60_000)
  context.diagnostic(`idle: ${(packets / 60).toFixed(1)} packets a second to and from one device`)
  assert.ok(packets / 60 < 6)
})

test('a damaged address, our own address and a text that is too long are refused', async () => {
  const world = await ToxWorld.create({ seed: 'refused', nodes: 1 })
  await using _ = world
  const device = await world.device(firstHost(world.site({ kind: 'public' })), { seed: 'a' })
  for (const address of ['', 'ab', `${device.network.address.slice(0, 75)}0`, device.network.address, '0'.repeat(64)]) {
    assert.throws(() => device.network.open(address), { code: 'CARD_INVALID' }, address)
  }
  const { channel } = device.open('1'.repeat(64))
  assert.equal(channel.send('offline'), false)
  assert.equal(channel.maximumTextBytes, 1200)
})

test('the status says what is missing', async () => {
  const world = await ToxWorld.create({ seed: 'status', nodes: 2 })
  await using _ = world
  const site = world.site({ kind: 'eim-apdf' })
  site.setLink({ loss: 1 })
  const { network } = await world.device(firstHost(site), { seed: 'a' })
  await world.clock.advance(3_000)
  assert.match(JSON.stringify(network.status()), /connecting.*no Tox node has answered/)
  site.setLink({ loss: 0 })
  await world.clock.runUntil(() => network.status().kind === 'online', 30_000)
  assert.match(JSON.stringify(network.status()), /"online".*announced on [12]/)
})

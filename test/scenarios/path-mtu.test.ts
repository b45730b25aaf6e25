/** Narrow paths between whole devices: what is found out, what the routes become, and that packets pass meanwhile. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LinkSettings } from '../../lab/model/link.ts'
import { exchangeCards, type SimulatedDevice, untilConnected, World } from './world.ts'

async function twoDevices(
  world: World,
  link: Partial<LinkSettings>,
): Promise<{ readonly a: SimulatedDevice; readonly b: SimulatedDevice }> {
  const a = await world.device({ name: 'a', nat: 'eim-apdf', link: { delay: 10 } })
  const b = await world.device({ name: 'b', nat: 'eim-apdf', link: { delay: 10, ...link } })
  for (const device of [a, b]) await device.start()
  await exchangeCards(a, b)
  for (const device of [a, b]) await world.clock.settle(device.running.up(), 1000)
  await untilConnected(a, b, 30_000)
  return { a, b }
}

function pathMtu(device: SimulatedDevice): number | undefined {
  return device.running.status().peers[0]?.path?.mtu
}

/** Ms until both ends tell this of their path. */
async function untilMtu(a: SimulatedDevice, b: SimulatedDevice, mtu: number): Promise<number> {
  const { clock } = a.world
  const before = clock.now()
  const isFound = (): boolean => pathMtu(a) === mtu && pathMtu(b) === mtu
  assert.ok(await clock.runUntil(isFound, 90_000), `${pathMtu(a)} and ${pathMtu(b)}`)
  return clock.now() - before
}

const fullPacket = 1392

test('on a path that takes full packets the routes stay as wide as the interface', async () => {
  await using world = await World.create('mtu full')
  const { a, b } = await twoDevices(world, {})
  assert.ok((await untilMtu(a, b, 1452)) < 200)
  assert.deepEqual([a.routeMtu, b.routeMtu], [undefined, undefined])
})

for (const [outer, found, inner] of [
  [1280, 1280, 1216],
  [1340, 1340, 1280],
  [1400, 1400, 1328],
  [1492, 1452, undefined],
] as const) {
  test(`a line of ${outer} bytes is known within 1.5 s, and full packets pass before and after, cut`, async () => {
    await using world = await World.create(`mtu ${outer}`)
    const { a, b } = await twoDevices(world, { mtu: outer })
    assert.ok(await a.reaches(b, 500, fullPacket))
    assert.ok((await untilMtu(a, b, found)) < 1500)
    assert.deepEqual([a.routeMtu, b.routeMtu], [inner, inner])
    assert.ok(await b.reaches(a, 500, fullPacket))
  })
}

for (const outer of [1280, 1400]) {
  test(`where packets above ${outer} bytes vanish, cut or not, devices meet, and what the routes let through passes`, async () => {
    await using world = await World.create(`mtu ${outer} no fragments`)
    const { a, b } = await twoDevices(world, { mtu: outer, cuts: false })
    assert.equal(await a.reaches(b, 500, fullPacket), false)
    assert.ok((await untilMtu(a, b, outer)) < 1500)
    const size = a.routeMtu ?? 0
    assert.ok(size >= outer - 76)
    assert.ok(await a.reaches(b, 500, size))
    assert.ok(await b.reaches(a, 500, size))
  })
}

test('a path that shrinks is noticed within 63 s, or 5 s after packets go unanswered', async () => {
  await using world = await World.create('mtu shrinks')
  const { a, b } = await twoDevices(world, {})
  await untilMtu(a, b, 1452)
  b.site.setLink({ mtu: 1300, cuts: false })
  assert.equal(await a.reaches(b, 3000, fullPacket), false)
  assert.equal(await b.reaches(a, 3000, fullPacket), false)
  assert.ok((await untilMtu(a, b, 1280)) < 5000)
  assert.deepEqual([a.connected, b.connected], [true, true])
  b.site.setLink({ mtu: 1200 })
  assert.ok(await world.clock.runUntil(() => pathMtu(a) === undefined, 70_000))
  assert.equal(a.routeMtu, 1216)
})

test('a new path is taken for as wide as the one before, until it is known', async () => {
  await using world = await World.create('mtu again')
  const { a, b } = await twoDevices(world, { mtu: 1400 })
  await untilMtu(a, b, 1400)
  a.site.rebind('100.9.0.9')
  const { clock } = world
  assert.ok(await clock.runUntil(() => !a.connected, 10_000))
  assert.ok(await clock.runUntil(() => a.connected && b.connected, 30_000))
  assert.deepEqual([pathMtu(a), a.routeMtu, b.routeMtu], [undefined, 1328, 1328])
  await untilMtu(a, b, 1400)
})

test('a way that is wider again is used within eleven minutes', async () => {
  await using world = await World.create('mtu grows')
  const { a, b } = await twoDevices(world, { mtu: 1400 })
  await untilMtu(a, b, 1400)
  b.site.setLink({ mtu: 1500 })
  assert.ok(await world.clock.runUntil(() => pathMtu(a) === 1452 && pathMtu(b) === 1452, 670_000))
  assert.deepEqual([a.routeMtu, b.routeMtu], [undefined, undefined])
})

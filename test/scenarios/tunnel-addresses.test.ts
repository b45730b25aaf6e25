/** Addresses inside the tunnel between whole devices: chosen by a person, taken by a network, and remembered. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostPrefix, overlap } from '../../src/api/ip-prefix.ts'
import { exchangeCards, type SimulatedDevice, untilConnected, World } from './world.ts'

async function twoDevices(
  world: World,
  addresses: readonly string[] = [],
): Promise<{ readonly a: SimulatedDevice; readonly b: SimulatedDevice }> {
  const a = await world.device({ name: 'a', nat: 'eim-apdf', addresses })
  const b = await world.device({ name: 'b', nat: 'eim-apdf' })
  for (const device of [a, b]) await device.start()
  await exchangeCards(a, b)
  for (const device of [a, b]) await world.clock.settle(device.running.up(), 1000)
  await untilConnected(a, b, 30_000)
  return { a, b }
}

function addressesOfPeer(device: SimulatedDevice): readonly string[] {
  return device.running.status().peers[0]?.addresses ?? []
}

test('addresses that a person has set carry packets both ways, and are known again after a restart', async () => {
  await using world = await World.create('addresses chosen')
  const chosen = ['10.77.1.2', 'fd70::1234']
  const { a, b } = await twoDevices(world, chosen)
  assert.deepEqual(a.running.status().addresses, chosen)
  assert.deepEqual(addressesOfPeer(b), chosen)
  assert.ok(await a.reaches(b, 1000))
  assert.ok(await b.reaches(a, 1000))
  await b.stop()
  await b.start()
  assert.deepEqual(addressesOfPeer(b), chosen)
  await untilConnected(a, b, 30_000)
  assert.ok(await b.reaches(a, 1000))
})

test('when a network takes the addresses, both ends take others, tell each other, and packets pass again', async () => {
  await using world = await World.create('addresses taken')
  const { a, b } = await twoDevices(world)
  const before = [a.address, b.address]
  b.networks = ['10.0.0.0/8', '192.168.7.0/24']
  b.host.announceChange()
  const isMoved = (): boolean =>
    [a, b].every(({ address }) => !overlap(hostPrefix(address), '10.0.0.0/8')) &&
    addressesOfPeer(b)[0] === a.address &&
    addressesOfPeer(a)[0] === b.address
  assert.ok(await world.clock.runUntil(isMoved, 5000))
  assert.notDeepEqual([a.address, b.address], before)
  assert.ok(await a.reaches(b, 1000))
  assert.ok(await b.reaches(a, 1000))
  assert.deepEqual([a.connected, b.connected], [true, true])
  const moved = [a.address, b.address]
  await a.stop()
  await a.start()
  assert.deepEqual([a.address, b.address], moved)
})

/** What people and broken machines do to two whole devices: each ends in one clear sentence, and nothing half done. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PunchGuardError } from '../../src/api/errors.ts'
import { exchangeCards, pairDevices, type SimulatedDevice, untilConnected, World } from './world.ts'

const day = 24 * 3_600_000
const patience = { signal: new AbortController().signal }

async function twoDevices(
  seed: string,
  options: { readonly clockErrorOfB?: number } = {},
): Promise<{ world: World; a: SimulatedDevice; b: SimulatedDevice }> {
  const world = await World.create(seed)
  const link = { delay: 10 }
  const a = await world.device({ name: 'a', nat: 'eim-apdf', link })
  const b = await world.device({ name: 'b', nat: 'eim-apdf', link, clockError: options.clockErrorOfB ?? 0 })
  await a.start()
  await b.start()
  return { world, a, b }
}

function refusal(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}

test('an invite works once: a second device is told that it was used, and nothing is pinned', async () => {
  const { world, a, b } = await twoDevices('used invite')
  await using _ = world
  const { code } = await a.running.invite()
  await world.clock.settle(b.running.join(code, patience), 20_000)
  const c = await world.device({ name: 'c', nat: 'eim-apdf', link: { delay: 10 } })
  await c.start()
  const error = await world.clock.settle(refusal(c.running.join(code, patience)), 30_000)
  assert.ok(error instanceof PunchGuardError)
  assert.equal(error.code, 'INVITE_USED')
  assert.equal(a.running.status().peers.length, 1)
  assert.equal(c.running.status().peers.length, 0)
})

test('an invite that expired at the inviter is refused there too, whatever the clock of the joiner says', async () => {
  const { world, a, b } = await twoDevices('expired invite', { clockErrorOfB: -day })
  await using _ = world
  const { code } = await a.running.invite({ validFor: 10_000 })
  await world.clock.advance(15_000)
  const error = await world.clock.settle(refusal(b.running.join(code, patience)), 30_000)
  assert.ok(error instanceof PunchGuardError)
  assert.equal(error.code, 'INVITE_EXPIRED')
  assert.equal(a.running.status().peers.length + b.running.status().peers.length, 0)
})

test('a clock a day ahead makes an invite look expired, and the hint names the clock', async () => {
  const { world, a, b } = await twoDevices('clock ahead', { clockErrorOfB: day })
  await using _ = world
  const { code } = await a.running.invite()
  const error = await refusal(b.running.join(code, patience))
  assert.ok(error instanceof PunchGuardError)
  assert.equal(error.code, 'INVITE_EXPIRED')
  assert.match(error.hint, /clock/)
  assert.equal(b.running.status().peers.length, 0)
})

test('a clock a day behind: both connect all the same, and both are warned', async () => {
  const { world, a, b } = await twoDevices('clock behind', { clockErrorOfB: -day })
  await using _ = world
  await pairDevices(a, b)
  await a.running.up()
  await b.running.up()
  await untilConnected(a, b, 10_000)
  assert.equal(await a.reaches(b, 1000), true)
  assert.match(a.running.status().warnings.join(), /clock of b is 24 hours behind/)
  assert.match(b.running.status().warnings.join(), /clock of a is 24 hours ahead/)
})

test('a device whose clock was set back a day while it was off comes back', async () => {
  const { world, a, b } = await twoDevices('clock set back')
  await using _ = world
  await exchangeCards(a, b)
  await a.running.up()
  await b.running.up()
  await untilConnected(a, b, 10_000)
  await b.stop()
  b.clockError = -day
  await world.clock.advance(5000)
  await b.start()
  await untilConnected(a, b, 20_000)
  assert.equal(await b.reaches(a, 1000), true)
})

test('a peer that was set up anew, with other keys, is refused with both ways out named', async () => {
  const { world, a, b } = await twoDevices('new keys')
  await using _ = world
  await exchangeCards(a, b)
  await b.stop()
  // The same Tox key, as somebody would have who stole only that; every other key is new.
  const before = (await b.store.read('identity')) as { toxSecretKey: unknown; nospam: unknown }
  const c = await world.device({ name: 'c', nat: 'eim-apdf', link: { delay: 10 } })
  await c.start()
  const after = (await c.store.read('identity')) as object
  await c.stop()
  await b.store.write('identity', { ...after, toxSecretKey: before.toxSecretKey, nospam: before.nospam })
  await b.start()
  await a.running.up()
  await b.running.up()
  await world.clock.runUntil(() => a.running.status().peers[0]?.state === 'refused', 60_000)
  const [peer] = a.running.status().peers
  assert.equal(peer?.state, 'refused')
  assert.match(peer?.hint ?? '', /punchguard forget b/)
  assert.match(peer?.hint ?? '', /poses/)
  assert.equal(a.running.status().peers.length, 1, 'the pinned keys stay')
})

test('forgetting a peer cuts it off', async () => {
  const { world, a, b } = await twoDevices('forget')
  await using _ = world
  await exchangeCards(a, b)
  await a.running.up()
  await b.running.up()
  await untilConnected(a, b, 10_000)
  await world.clock.settle(a.running.forget('b'), 5000)
  assert.equal(await b.reaches(a, 5000), false)
  await assert.rejects(a.running.forget('b'), { code: 'PEER_UNKNOWN' })
  await world.clock.advance(30_000)
  assert.notEqual(b.running.status().peers[0]?.state, 'connected')
})

test('two devices without a common guard pair, say why there is no tunnel, and connect when one is set right', async () => {
  const { world, a, b } = await twoDevices('no common guard')
  await using _ = world
  await b.stop()
  b.guard = 'openvpn'
  await b.start()
  await pairDevices(a, b)
  await world.clock.settle(a.running.up(), 5000)
  await world.clock.settle(b.running.up(), 5000)
  await world.clock.advance(30_000)
  for (const [device, theirs, ours] of [
    [a, 'b carries packets with openvpn', 'embedded'],
    [b, 'a carries packets with embedded', 'openvpn'],
  ] as const) {
    const [peer] = device.running.status().peers
    assert.equal(peer?.state, 'reaching')
    assert.equal(peer?.reason, `${theirs}, this device with ${ours}: they do not understand each other`)
    assert.match(peer?.hint ?? '', /^set guard to the same in config\.toml on both/)
  }
  await b.stop()
  b.guard = 'wireguard-go'
  await b.start()
  await untilConnected(a, b, 60_000)
  assert.ok(await a.reaches(b, 1000))
})

test('an interface that is lost is made anew at once, or as soon as that is possible, unless nobody wants it', async () => {
  const { world, a, b } = await twoDevices('lost interface')
  await using _ = world
  await exchangeCards(a, b)
  await world.clock.settle(a.running.up(), 5000)
  await world.clock.settle(b.running.up(), 5000)
  await untilConnected(a, b, 60_000)
  a.loseInterface()
  const before = world.clock.now()
  assert.ok(await world.clock.runUntil(() => a.running.status().up === false, 100))
  await untilConnected(a, b, 5000)
  assert.ok(world.clock.now() - before < 1000, `${world.clock.now() - before} ms`)
  assert.ok(await a.reaches(b, 1000))

  await world.clock.advance(10_000)
  a.failingOpens = 3
  a.loseInterface()
  await world.clock.advance(2000)
  assert.match(a.running.status().warnings[0] ?? '', /the tunnel is not up: there is no driver \(load it\)/)
  await untilConnected(a, b, 6000)
  assert.deepEqual(a.running.status().warnings, [])

  a.failingOpens = 3
  a.loseInterface()
  await world.clock.advance(100)
  await world.clock.settle(a.running.down(), 5000)
  await world.clock.advance(60_000)
  assert.equal(a.running.status().up, false)
})

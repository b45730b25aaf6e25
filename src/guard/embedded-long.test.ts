/** Whole days of tunnels in virtual time, over networks that lose, reorder and repeat. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomBelow } from '../util/random.ts'
import { type TwoDevicesOptions, twoDevices } from './testing/two-devices.ts'
import { seededRandom } from './testing/virtual-tunnel.ts'

const minute = 60_000

/**
 * Lets both sides send at random moments for a while; gives the longest time, ms, in which packets were sent and none
 * came through, and how many of all did.
 */
async function live(
  options: TwoDevicesOptions,
  { duration, pause }: { readonly duration: number; readonly pause: number },
): Promise<{ readonly longestGap: number; readonly share: number; readonly initiations: number }> {
  const world = await twoDevices(options)
  const { clock, network, a, b } = world
  network.isRecording = false
  let initiations = 0
  network.filter = (bytes) => {
    if (bytes[0] === 1) initiations++
    return false
  }
  world.connect()
  const random = seededRandom(options.seed ?? 1)
  const end = clock.now() + duration
  let sent = 0
  let received = 0
  let lastReceived = clock.now()
  let longestGap = 0
  while (clock.now() < end) {
    // Mostly steady traffic, sometimes a silence long enough to let the session end.
    clock.pass(randomBelow(random, 200) === 0 ? randomBelow(random, 6 * minute) : randomBelow(random, pause))
    const quietSince = clock.now()
    if (quietSince - lastReceived > 2 * pause) lastReceived = quietSince
    world.send('a', 'a')
    world.send('b', 'b')
    sent += 2
    clock.pass(pause / 2)
    const arrived = a.packets.splice(0).length + b.packets.splice(0).length
    received += arrived
    if (arrived > 0) lastReceived = clock.now()
    longestGap = Math.max(longestGap, clock.now() - lastReceived)
  }
  return { longestGap, share: received / sent, initiations }
}

for (const seed of [1, 3]) {
  test(`6 hours over a clean network: no packet is lost at any renewal (seed ${seed})`, async () => {
    const { share, initiations } = await live({ seed }, { duration: 6 * 60 * minute, pause: 20_000 })
    assert.equal(share, 1)
    assert.ok(initiations > 120, `${initiations}`)
  })
}

test('24 hours with loss, reordering and repeats never stall', async () => {
  const network = { loss: 0.2, duplicates: 0.1, delay: [5, 400] as const }
  const { longestGap, share } = await live({ seed: 7, network }, { duration: 24 * 60 * minute, pause: 40_000 })
  assert.ok(share > 0.7, `${share}`)
  assert.ok(longestGap < 90_000, `${longestGap}`)
})

test('a data plane that hears and tells everything late loses no session', async () => {
  const network = { delay: [20, 60] as const }
  const { share, longestGap } = await live(
    { seed: 4, planeDelay: 15, network },
    { duration: 4 * 60 * minute, pause: 20_000 },
  )
  assert.ok(share > 0.999, `${share}`)
  assert.ok(longestGap < 30_000, `${longestGap}`)
})

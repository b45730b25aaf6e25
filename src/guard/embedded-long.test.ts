/** Whole days of tunnels in virtual time, over networks that lose, reorder and repeat. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomBelow } from '../util/random.ts'
import { type TwoDevicesOptions, twoDevices } from './testing/two-devices.ts'
import { seededRandom } from './testing/virtual-tunnel.ts'

const minute = 60_000

interface Life {
  /** The longest time, ms, in which packets were sent and none came through, the worse of the two directions. */
  readonly longestGap: number
  /** Of all packets. */
  readonly share: number
  /** The worse of the two directions. */
  readonly worseShare: number
  readonly initiations: number
}

/** Lets both sides send at random moments for a while. */
async function live(
  options: TwoDevicesOptions,
  { duration, pause }: { readonly duration: number; readonly pause: number },
): Promise<Life> {
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
  const over = clock.now() + duration
  let sent = 0
  const ends = [a, b].map((device) => ({ device, received: 0, lastReceived: clock.now() }))
  let longestGap = 0
  while (clock.now() < over) {
    // Mostly steady traffic, sometimes a silence long enough to let the session end.
    const isSilence = randomBelow(random, 200) === 0
    clock.pass(randomBelow(random, isSilence ? 6 * minute : pause))
    for (const end of ends) if (isSilence || sent === 0) end.lastReceived = clock.now()
    world.send('a', 'a')
    world.send('b', 'b')
    sent++
    clock.pass(pause / 2)
    for (const end of ends) {
      const arrived = end.device.packets.splice(0).length
      end.received += arrived
      if (arrived > 0) end.lastReceived = clock.now()
      longestGap = Math.max(longestGap, clock.now() - end.lastReceived)
    }
  }
  const shares = ends.map(({ received }) => received / sent)
  return {
    longestGap,
    share: shares.reduce((sum, share) => sum + share, 0) / 2,
    worseShare: Math.min(...shares),
    initiations,
  }
}

for (const seed of [1, 3]) {
  test(`6 hours over a clean network: no packet is lost at any renewal (seed ${seed})`, async () => {
    const { share, initiations } = await live({ seed }, { duration: 6 * 60 * minute, pause: 20_000 })
    assert.equal(share, 1)
    assert.ok(initiations > 120, `${initiations}`)
  })
}

test('24 hours of rekeys in virtual time with 20 % loss, reordering and repeats: neither direction ever stalls', async () => {
  const network = { loss: 0.2, duplicates: 0.1, delay: [5, 400] as const }
  const life = await live({ seed: 7, network }, { duration: 24 * 60 * minute, pause: 8_000 })
  const told = JSON.stringify(life)
  assert.ok(life.worseShare > 0.78, told)
  assert.ok(life.longestGap < 90_000, told)
  // One in two minutes at least, and those that were lost.
  assert.ok(life.initiations > 700, told)
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

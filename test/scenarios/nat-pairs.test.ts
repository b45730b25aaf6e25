/** Two whole devices, from the invite to packets through the tunnel, for every pair of NAT kinds. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { natPairs, passable } from './nat-pairs.ts'
import { pairDevices, untilConnected, World } from './world.ts'

assert.equal(natPairs.length, 36)
assert.equal(natPairs.filter(([a, b]) => passable(a, b)).length, 24)

for (const [natA, natB] of natPairs) {
  const open = passable(natA, natB)
  test(`${natA} and ${natB} ${open ? 'become one network' : 'are told why not'}`, async () => {
    await using world = await World.create(`${natA} ${natB}`)
    const link = { delay: 10 }
    const a = await world.device({ name: 'a', nat: natA, link })
    const b = await world.device({ name: 'b', nat: natB, link })
    await a.start()
    await b.start()
    if (!open) {
      const { code } = await a.running.invite()
      const gone = new AbortController()
      const joined = b.running.join(code, { signal: gone.signal }).catch((error: unknown) => error)
      world.clock.after(20_000, () => gone.abort(new Error('enough')))
      await world.clock.settle(joined, 30_000)
      assert.equal(a.running.status().peers.length, 0)
      return
    }
    await pairDevices(a, b)
    await a.running.up()
    await b.running.up()
    await untilConnected(a, b, 10_000)
    assert.equal(await a.reaches(b, 1000), true)
    assert.equal(await b.reaches(a, 1000), true)
  })
}

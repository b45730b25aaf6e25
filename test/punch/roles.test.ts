/** Both sides believe to be controlling, or both controlled (RFC 8445 §7.3.1.1, §7.2.5.1). */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLab, punch, restrictive } from './lab.ts'

for (const [word, controlling] of [
  ['controlling', true],
  ['controlled', false],
] as const) {
  test(`two ${word} sides settle who controls and connect, for twenty pairs of tie-breakers`, async () => {
    let firstControls = 0
    for (let seed = 1; seed <= 20; seed++) {
      const lab = createLab({ a: restrictive, b: restrictive, seed })
      const { a, b } = await punch(lab, { controlling: [controlling, controlling], limit: 3000 })
      assert.ok(a.value && b.value, `seed ${seed}`)
      assert.ok(Math.max(a.at ?? 0, b.at ?? 0) < 600, `seed ${seed}: ${a.at} and ${b.at} ms`)
      assert.notEqual(a.value.controlling, b.value.controlling)
      if (a.value.controlling) firstControls++
      // The path lives: exactly one side probes, the other answers.
      await lab.clock.advance(30_000)
      assert.ok(a.value.stats().probesSent >= 9 || b.value.stats().probesSent >= 9)
      assert.ok(Math.min(a.value.stats().probesSent, b.value.stats().probesSent) <= 1)
    }
    assert.ok(firstControls > 3 && firstControls < 17, `the first side controls ${firstControls} of 20`)
  })
}

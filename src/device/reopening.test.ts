import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Reopening } from './reopening.ts'

test('a tunnel that lived well is opened again at once, one that does not stay up ever later', () => {
  const reopening = new Reopening()
  assert.equal(reopening.next(3_600_000), 0)
  assert.deepEqual(
    [0, 0, 5000, 0, 0, 0, 0, 0, 9999].map((lived) => reopening.next(lived)),
    [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000],
  )
  assert.deepEqual(
    [10_000, 10_000, 0].map((lived) => reopening.next(lived)),
    [0, 0, 1000],
  )
})

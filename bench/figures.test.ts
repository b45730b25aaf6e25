import assert from 'node:assert/strict'
import { test } from 'node:test'
import { passes } from './figures.ts'

test('a figure passes at its bar, misses above it, and misses when it was not measured', () => {
  const figure = { name: 'x_ms', unit: 'ms', runs: 5, bar: 100 }
  assert.equal(passes({ ...figure, value: 100 }), true)
  assert.equal(passes({ ...figure, value: 100.1 }), false)
  assert.equal(passes({ ...figure, value: Number.NaN, runs: 0 }), false)
  assert.equal(passes({ name: 'printed', unit: 'bytes', runs: 1, value: 1e9 }), true)
})

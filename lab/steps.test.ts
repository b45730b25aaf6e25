import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSteadyAfter, longestGap, median } from './steps.ts'

const every20 = (from: number, to: number): number[] => {
  const times: number[] = []
  for (let at = from; at < to; at += 20) times.push(at)
  return times
}

test('the longest gap is between two replies that follow one another', () => {
  assert.equal(longestGap([...every20(0, 1000), ...every20(3500, 5000)]), 2520)
  assert.equal(longestGap([]), 0)
})

test('a tunnel has healed when a second of replies has come that begins after the move', () => {
  const before = every20(0, 1000)
  assert.equal(isSteadyAfter(before, 1000), false)
  // A few packets that were under way.
  assert.equal(isSteadyAfter([...before, ...every20(1000, 1100)], 1000), false)
  assert.equal(isSteadyAfter([...before, ...every20(3000, 3500)], 1000), false)
  assert.equal(isSteadyAfter([...before, ...every20(3000, 4010)], 1000), true)
  // It never broke.
  assert.equal(isSteadyAfter(every20(0, 3000), 1000), true)
})

test('replies with holes are not steady', () => {
  assert.equal(isSteadyAfter([...every20(0, 1000), ...every20(3000, 3400), ...every20(3700, 4100)], 1000), false)
})

test('the median of an even number of values lies between the middle two', () => {
  assert.equal(median([3, 1, 2]), 2)
  assert.equal(median([4, 1, 3, 2]), 2.5)
  assert.ok(Number.isNaN(median([])))
})

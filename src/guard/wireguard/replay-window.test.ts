import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ReplayWindow, WINDOW_SIZE } from './replay-window.ts'

/** Whether the counter is taken, as a receiver does it: asked first, marked then. */
function take(window: ReplayWindow, counter: number): boolean {
  const isAllowed = window.allows(counter)
  if (isAllowed) window.mark(counter)
  return isAllowed
}

test('counters are taken once, in order, out of order and far ahead', () => {
  const window = new ReplayWindow()
  const table: readonly [number, boolean][] = [
    [0, true],
    [0, false],
    [1, true],
    [1, false],
    [9, true],
    [8, true],
    [7, true],
    [7, false],
    [WINDOW_SIZE, true],
    [WINDOW_SIZE - 1, true],
    [WINDOW_SIZE - 1, false],
    [2, true],
    [2, false],
    [WINDOW_SIZE + 16, true],
    [3, false],
    [WINDOW_SIZE + 16, false],
    [16, true],
    [15, false],
    [WINDOW_SIZE * 4, true],
    [WINDOW_SIZE * 3 - 1, false],
    [WINDOW_SIZE * 4 - 1, true],
    [WINDOW_SIZE * 3 + 1, true],
    [2 ** 53 - 1, true],
    [2 ** 53 - 1, false],
    [2 ** 53 - 2, true],
  ]
  for (const [counter, expected] of table) assert.equal(take(window, counter), expected, `counter ${counter}`)
})

test('a whole window in falling order is taken, and nothing below it', () => {
  const window = new ReplayWindow()
  const highest = 3 * WINDOW_SIZE
  for (let counter = highest; counter >= highest - WINDOW_SIZE; counter--) assert.ok(take(window, counter))
  assert.equal(take(window, highest - WINDOW_SIZE - 1), false)
  for (let counter = highest; counter >= highest - WINDOW_SIZE; counter--) assert.equal(take(window, counter), false)
})

test('asking changes nothing', () => {
  const window = new ReplayWindow()
  take(window, 5)
  assert.ok(window.allows(2 ** 40))
  assert.ok(window.allows(4))
  assert.equal(window.allows(5), false)
})

test('it decides as a list of everything received would', () => {
  const steps = fc.array(fc.tuple(fc.constantFrom(1, 40, 300, WINDOW_SIZE, 3 * WINDOW_SIZE), fc.nat(5_000)))
  fc.assert(
    fc.property(steps, (path) => {
      const window = new ReplayWindow()
      const received = new Set<number>()
      let highest = -1
      let base = 0
      for (const [step, back] of path) {
        base += step
        for (const counter of [base, Math.max(0, base - back), base]) {
          const expected = !received.has(counter) && counter >= highest - WINDOW_SIZE
          assert.equal(take(window, counter), expected)
          if (expected) received.add(counter)
          if (expected) highest = Math.max(highest, counter)
        }
      }
    }),
  )
})

test('a window that starts anywhere has received all below, and nothing from there on', () => {
  for (const next of [0, 1, 31, 32, 33, 8191, 8192, 100_000, 2 ** 40 + 17]) {
    const window = new ReplayWindow()
    window.startAt(next)
    assert.equal(window.next, next)
    for (const back of [1, 2, 31, 32, 33, 8159, 8160, 9000]) if (back <= next) assert.ok(!window.allows(next - back))
    window.mark(next + 40)
    for (let counter = next; counter < next + 40; counter++) assert.ok(window.allows(counter))
    assert.ok(!window.allows(next + 40))
    for (const back of [1, 2, 31, 32, 33, 8000]) if (back <= next) assert.ok(!window.allows(next - back))
  }
})

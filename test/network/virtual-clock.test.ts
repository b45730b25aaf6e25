import assert from 'node:assert/strict'
import { test } from 'node:test'
import { delay } from '../../src/util/clock.ts'
import { SeededRandom } from './seeded-random.ts'
import { VirtualClock } from './virtual-clock.ts'

test('timers run in order of time, then of their making, and time stands still between them', async () => {
  const clock = new VirtualClock()
  const seen: [string, number][] = []
  const note = (name: string) => () => void seen.push([name, clock.now()])
  clock.after(20, note('late'))
  clock.after(10, note('early'))
  clock.after(10, note('early too'))
  clock.after(-5, note('at once'))
  await clock.advance(15)
  assert.deepEqual(seen, [
    ['at once', 0],
    ['early', 10],
    ['early too', 10],
  ])
  assert.equal(clock.now(), 15)
  await clock.advance(5)
  assert.deepEqual(seen.at(-1), ['late', 20])
})

test('timers fall on a grid: a deadline by sums of thirds is neither missed nor met twice', async () => {
  const clock = new VirtualClock()
  let deadline = 1000 / 3
  let calls = 0
  const wake = (): void => {
    calls++
    if (clock.now() >= deadline) deadline += 1000 / 3
    clock.after(deadline - clock.now(), wake)
  }
  clock.after(deadline, wake)
  await clock.advance(10_000)
  assert.ok(calls >= 29 && calls <= 30, `${calls}`)
})

test('a disposed timer does not run, also among thousands of them', async () => {
  const clock = new VirtualClock()
  let ran = 0
  const timers = Array.from({ length: 5000 }, (_, index) => clock.after(index, () => void ran++))
  for (const timer of timers.slice(10)) timer[Symbol.dispose]()
  assert.equal(clock.stats().waiting, 10)
  await clock.advance(10_000)
  assert.equal(ran, 10)
  assert.deepEqual(clock.stats(), { waiting: 0, fired: 10 })
})

test('promise jobs take no virtual time, however many follow one another', async () => {
  const clock = new VirtualClock()
  const seen: number[] = []
  const story = async (): Promise<void> => {
    for (let step = 0; step < 5; step++) {
      await delay(clock, 10)
      for (let hop = 0; hop < 50; hop++) await undefined
      seen.push(clock.now())
    }
  }
  const told = story()
  for (let at = 1; at < 100; at++) clock.after(at, () => {})
  await clock.settle(told, 1000)
  assert.deepEqual(seen, [10, 20, 30, 40, 50])
  assert.equal(clock.now(), 50)
})

test('running until a condition stops at once when it holds, and tells when it never does', async () => {
  const clock = new VirtualClock()
  let ticks = 0
  const tick = (): void => {
    ticks++
    clock.after(10, tick)
  }
  tick()
  assert.equal(await clock.runUntil(() => ticks === 4, 1000), true)
  assert.equal(clock.now(), 30)
  assert.equal(await clock.runUntil(() => false, 100), false)
  assert.equal(clock.now(), 130)
  await assert.rejects(clock.settle(new Promise(() => {}), 50), /Not settled after 50 ms/)
})

test('timers that are set to the same moment for ever are an error, not a test that never ends', async () => {
  const clock = new VirtualClock()
  const again = (): void => void clock.after(0, again)
  again()
  await assert.rejects(clock.advance(1000), /Too many timers at 0 ms/)
})

test('the outcome of a settled promise is passed on', async () => {
  const clock = new VirtualClock()
  assert.equal(
    await clock.settle(
      delay(clock, 5).then(() => 'done'),
      10,
    ),
    'done',
  )
  await assert.rejects(
    clock.settle(
      delay(clock, 5).then(() => Promise.reject(new Error('broken'))),
      10,
    ),
    /broken/,
  )
})

test('the wall clock runs along and can jump', async () => {
  const clock = new VirtualClock({ wallTime: 1000 })
  await clock.advance(50)
  clock.jumpWallTime(-500)
  assert.deepEqual([clock.now(), clock.wallTime()], [50, 550])
})

test('seeded bytes repeat by seed, at any length', () => {
  for (const length of [0, 1, 3, 4, 5, 33]) {
    assert.deepEqual(new SeededRandom('a').bytes(length), new SeededRandom('a').bytes(length))
    assert.equal(new SeededRandom('a').bytes(length).length, length)
  }
  assert.notDeepEqual(new SeededRandom('a').bytes(16), new SeededRandom('b').bytes(16))
  const parent = new SeededRandom(1)
  assert.notDeepEqual(parent.fork('x').bytes(8), parent.fork('x').bytes(8))
  assert.deepEqual(new SeededRandom(1).fork('x').bytes(8), new SeededRandom(1).fork('x').bytes(8))
})

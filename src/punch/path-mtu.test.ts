import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { basePacketSize, PathMtu } from './path-mtu.ts'

interface Way {
  /** Largest packet that passes, at a time. */
  readonly limit: (now: number) => number
  readonly roundTrip?: number
  /** Whether the next round trip is lost. */
  readonly loses?: () => boolean
}

interface Run {
  readonly path: PathMtu
  /** Sizes of the probes, with their times. */
  readonly probes: (readonly [at: number, size: number])[]
  /** What was told, with the time from when on. */
  readonly told: (readonly [at: number, mtu: number | undefined])[]
  /** Until then, with these inputs on the way. */
  advance(until: number, inputs?: readonly (readonly [at: number, input: (path: PathMtu) => void])[]): void
}

/** Drives the machine in virtual time. */
function drive({ limit, roundTrip = 40, loses = () => false }: Way, largest = 1452): Run {
  const path = new PathMtu({ largest, now: 0 })
  const run: Run = { path, probes: [], told: [], advance }
  let events: { readonly at: number; readonly happen: () => void }[] = []
  let now = 0
  const tell = (): void => {
    if (run.told.at(-1)?.[1] !== path.mtu) run.told.push([now, path.mtu])
  }
  const answer = (happen: () => void): void => void events.push({ at: now + roundTrip, happen })
  function advance(until: number, inputs: readonly (readonly [number, (path: PathMtu) => void])[] = []): void {
    for (const [at, input] of inputs) events.push({ at, happen: () => input(path) })
    for (;;) {
      const next = Math.min(path.deadline, ...events.map(({ at }) => at))
      if (next > until) break
      now = Math.max(now, next)
      const due = events.filter(({ at }) => at <= now)
      events = events.filter(({ at }) => at > now)
      for (const { happen } of due) happen()
      const size = path.tick(now, roundTrip)
      if (size !== undefined) {
        const sentAt = now
        run.probes.push([now, size])
        if (size <= limit(now) && !loses()) answer(() => path.answered({ size, sentAt }, now))
        if (!loses()) answer(() => path.alive(sentAt))
      }
      tell()
    }
    now = until
  }
  return run
}

const constant = (size: number): Way => ({ limit: () => size })

test('a path that takes everything is known after two round trips, and nothing smaller is told before', () => {
  const run = drive(constant(1500))
  run.advance(1000)
  assert.deepEqual(run.probes, [
    [0, 1280],
    [40, 1452],
  ])
  assert.deepEqual(run.told, [[80, 1452]])
})

test('a narrower path is known a second and a few round trips after it was opened', () => {
  const run = drive(constant(1410))
  run.advance(10_000)
  assert.deepEqual(run.told, [
    [1040, 1280],
    [1080, 1340],
    [1120, 1400],
  ])
  // The next size is asked for three times, once a second.
  assert.deepEqual(run.probes.slice(4), [
    [1120, 1420],
    [2120, 1420],
    [3120, 1420],
  ])
})

test('on a path that cuts even 1280 nothing is told, and the base size is asked for again every minute', () => {
  const run = drive(constant(1200))
  run.advance(70_000)
  assert.deepEqual(run.told, [[0, undefined]].slice(1))
  assert.equal(run.path.mtu, undefined)
  assert.deepEqual(
    run.probes.map(([at]) => at),
    [0, 1000, 2000, 63_000, 64_000, 65_000],
  )
})

test('the size found is confirmed every minute, and a larger one tried after ten', () => {
  const run = drive({ limit: (now) => (now < 400_000 ? 1400 : 1500) })
  run.advance(700_000)
  assert.equal(run.path.mtu, 1452)
  const [raisedAt = 0] = run.told.at(-1) ?? []
  assert.ok(raisedAt > 600_000 && raisedAt < 670_000, `${raisedAt}`)
  const confirmations = run.probes.filter(([at, size]) => at > 10_000 && at < 600_000 && size === 1400)
  assert.equal(confirmations.length, 9)
})

test('a path that shrinks is noticed one second after a check, and what passes now is known after five', () => {
  for (const size of [1280, 1300, 1400]) {
    const run = drive({ limit: (now) => (now < 20_000 ? 1500 : size) })
    run.advance(40_000, [[20_500, (path) => path.check(20_500)]])
    const [at, mtu] = run.told[1] ?? []
    assert.deepEqual([at, mtu], [21_500, 1280])
    assert.equal(run.path.mtu, size === 1400 ? 1400 : 1280)
    assert.ok((run.told.at(-1)?.[0] ?? 0) < 25_000)
  }
})

test('a probe lost by chance after a check makes the path small for a second', () => {
  let probes = 0
  const run = drive({ limit: (now) => (now >= 20_000 && probes++ === 0 ? 1280 : 1500) })
  run.advance(40_000, [[20_000, (path) => path.check(20_000)]])
  assert.deepEqual(run.told.slice(1), [
    [21_000, 1280],
    [21_040, 1452],
  ])
})

test('without a check a path that shrinks is noticed within 63 s', () => {
  const run = drive({ limit: (now) => (now < 30_000 ? 1500 : 1340) })
  run.advance(100_000)
  assert.deepEqual(run.told[1], [63_080, 1280])
  assert.equal(run.path.mtu, 1340)
})

test('an outage says nothing about sizes: probes are repeated until plain checks are answered too', () => {
  for (const from of [0, 50, 1100]) {
    let now = 0
    const limit = (at: number): number => {
      now = at
      return 1400
    }
    const run = drive({ limit, loses: () => now >= from && now < from + 5000 })
    run.advance(30_000)
    assert.equal(run.path.mtu, 1400, `from ${from}`)
    assert.ok(run.probes.length < 20, `${run.probes.length} probes`)
  }
})

test('a check while the search is on, or of a path that is cut at 1280, does no harm', () => {
  const run = drive({ limit: (now) => (now < 10_000 ? 1200 : 1500) })
  run.advance(20_000, [
    [10, (path) => path.check(10)],
    [11_000, (path) => path.check(11_000)],
  ])
  assert.deepEqual(run.told.at(-1), [11_080, 1452])
})

test('a path that moved is searched anew; until then what was known stands', () => {
  const run = drive({ limit: (now) => (now < 10_000 ? 1400 : 1340) })
  run.advance(20_000, [[10_000, (path) => path.restart(10_000)]])
  assert.deepEqual(run.told.slice(3), [
    [11_040, 1280],
    [11_080, 1340],
  ])
  const wider = drive({ limit: (now) => (now < 10_000 ? 1280 : 1500) })
  wider.advance(20_000, [[10_000, (path) => path.restart(10_000)]])
  assert.deepEqual(wider.told.at(-1), [10_080, 1452])
})

test('an answer from before the path moved or shrank is ignored', () => {
  const path = new PathMtu({ largest: 1452, now: 0 })
  path.tick(0, 40)
  path.restart(10)
  path.answered({ size: 1452, sentAt: 0 }, 20)
  assert.equal(path.mtu, undefined)
  path.tick(20, 40)
  path.answered({ size: 1280, sentAt: 20 }, 60)
  assert.equal(path.tick(60, 40), 1452)
})

test('a slow path is given time to answer: two round trips', () => {
  const run = drive({ limit: () => 1500, roundTrip: 2500 })
  run.advance(20_000)
  assert.equal(run.probes.length, 2)
  assert.equal(run.path.mtu, 1452)
})

test('sizes are multiples of four and end with the one that is asked for', () => {
  for (const [largest, found] of [
    [1340, 1340],
    [1451, 1448],
    [1480, 1480],
    [1200, 1280],
  ] as const) {
    const run = drive(constant(1500), largest)
    run.advance(1000)
    assert.equal(run.path.mtu, found)
  }
})

/** Loss each way, of round trips. */
function lossy(loss: number, seed: number): () => boolean {
  // A linear congruential generator (Numerical Recipes): the upper bits are random enough for loss.
  let state = seed >>> 0
  const bothWays = 1 - (1 - loss) ** 2
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32 < bothWays
  }
}

const sizes = [1280, 1340, 1400, 1420, 1452]
const property = { numRuns: 300, seed: 8899 } as const

test('with up to 20 % loss every path ends at the largest size that passes, and never above it', () => {
  let first = 0
  let runs = 0
  fc.assert(
    fc.property(
      fc.integer({ min: 1280, max: 1500 }),
      fc.integer({ min: 5, max: 400 }),
      fc.double({ min: 0, max: 0.2, noNaN: true }),
      fc.integer(),
      (limit, roundTrip, loss, seed) => {
        const run = drive({ limit: () => limit, roundTrip, loses: lossy(loss, seed) })
        const expected = Math.max(...sizes.filter((size) => size <= limit))
        run.advance(60_000)
        runs++
        if (run.path.mtu === expected) first++
        // A size that three probes in a row missed by bad luck is tried again ten minutes later.
        for (let round = 1; round < 12 && run.path.mtu !== expected; round++) run.advance(60_000 + round * 700_000)
        assert.equal(run.path.mtu, expected)
        for (const [, mtu] of run.told) assert.ok(mtu === undefined || mtu <= limit, `told ${mtu} of ${limit}`)
      },
    ),
    property,
  )
  assert.ok(first >= 0.95 * runs, `${first} of ${runs} within a minute`)
})

test('with up to 20 % loss a path that shrinks is noticed within 70 s, within 10 s of a check', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1280, max: 1451 }),
      fc.integer({ min: 5, max: 400 }),
      fc.double({ min: 0, max: 0.2, noNaN: true }),
      fc.boolean(),
      fc.integer(),
      (limit, roundTrip, loss, isChecked, seed) => {
        const run = drive({
          limit: (now) => (now < 100_000 ? 1500 : limit),
          roundTrip,
          loses: lossy(loss, seed),
        })
        const within = isChecked ? 10_000 : 70_000
        run.advance(100_000 + within, isChecked ? [[100_000, (path) => path.check(100_000)]] : [])
        assert.ok((run.path.mtu ?? basePacketSize) <= limit, `told ${run.path.mtu} of ${limit}`)
      },
    ),
    property,
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Generator } from './generator.ts'
import { Link, type LinkSettings } from './link.ts'
import { TimeQueue } from './time-queue.ts'

function linkOf(settings: Partial<LinkSettings>, seed: number | string = 1): Link {
  return new Link(settings, new Generator(seed))
}

/** Arrivals of `count` packets of 1000 bytes, one each ms. */
function arrivals(link: Link, count: number): (number | undefined)[] {
  return Array.from({ length: count }, (_, now) => link.transmit(1000, now))
}

test('a perfect link takes no time', () => {
  assert.deepEqual(arrivals(linkOf({}), 3), [0, 1, 2])
})

test('delay is added, jitter too, and neither changes the order', () => {
  const seen = arrivals(linkOf({ delay: 20, jitter: 15 }), 1000).map((at) => at ?? assert.fail('lost'))
  assert.ok(seen.every((at, now) => at >= now + 20 && at <= now + 36))
  assert.ok(seen.every((at, now) => now === 0 || at >= (seen[now - 1] ?? 0)))
  const extra = seen.map((at, now) => at - now - 20)
  assert.ok(Math.max(...extra) > 13 && Math.min(...extra) < 3)
})

test('loss takes about its share, by seed', () => {
  const lost = arrivals(linkOf({ loss: 0.2 }), 10_000).filter((at) => at === undefined).length
  assert.ok(lost > 1850 && lost < 2150, `${lost}`)
  assert.deepEqual(arrivals(linkOf({ loss: 0.5 }, 'x'), 50), arrivals(linkOf({ loss: 0.5 }, 'x'), 50))
  assert.notDeepEqual(arrivals(linkOf({ loss: 0.5 }, 'x'), 50), arrivals(linkOf({ loss: 0.5 }, 'y'), 50))
  assert.deepEqual(new Set(arrivals(linkOf({ loss: 1 }), 50)), new Set([undefined]))
})

test('a rate spaces packets, and its queue drops what would wait too long', () => {
  // 1000 bytes at 4 Mbit/s take 2 ms, and one comes each ms.
  const link = linkOf({ rate: 4e6, queue: 10 })
  const seen = arrivals(link, 1000)
  assert.deepEqual(seen.slice(0, 4), [2, 4, 6, 8])
  const kept = seen.filter((at) => at !== undefined).length
  assert.ok(kept > 495 && kept < 520, `${kept}`)
  assert.ok(seen.every((at, now) => at === undefined || at - now <= 12))
  assert.equal(link.transmit(1000, 5000), 5002)
})

test('reordered packets are overtaken by later ones', () => {
  const seen = arrivals(linkOf({ delay: 20, reorder: 0.1 }), 1000).map((at) => at ?? assert.fail('lost'))
  const overtaken = seen.filter((at, now) => seen.slice(now + 1, now + 40).some((later) => later < at)).length
  assert.ok(overtaken > 60 && overtaken < 140, `${overtaken}`)
})

test('a link duplicates about its share', () => {
  const link = linkOf({ duplicate: 0.1 })
  const twice = Array.from({ length: 10_000 }, () => link.duplicates()).filter(Boolean).length
  assert.ok(twice > 900 && twice < 1100, `${twice}`)
})

test('changed settings hold for the next packet', () => {
  const link = linkOf({ delay: 10 })
  assert.equal(link.transmit(100, 0), 10)
  link.change({ loss: 1 })
  assert.equal(link.transmit(100, 1), undefined)
  link.change({ loss: 0, delay: 30 })
  assert.equal(link.transmit(100, 2), 32)
})

test('a time queue gives items by time, equal times in order of arrival, and none too early', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 200 }), fc.nat(20), (times, now) => {
      const queue = new TimeQueue<number>()
      for (const [index, at] of times.entries()) queue.push(at, index)
      const expected = [...times.keys()].sort((a, b) => (times[a] ?? 0) - (times[b] ?? 0) || a - b)
      const due = expected.filter((index) => (times[index] ?? 0) <= now)
      const popped: number[] = []
      for (let item = queue.pop(now); item !== undefined; item = queue.pop(now)) popped.push(item)
      assert.deepEqual(popped, due)
      assert.equal(queue.size, times.length - due.length)
      queue.keep((item) => item % 2 === 0)
      for (let item = queue.pop(100); item !== undefined; item = queue.pop(100)) popped.push(item)
      assert.deepEqual(
        popped.slice(due.length),
        expected.slice(due.length).filter((index) => index % 2 === 0),
      )
    }),
  )
})

test('a generator is uniform enough and repeats itself by seed', () => {
  const generator = new Generator('seed')
  const buckets = new Array<number>(16).fill(0)
  for (let draw = 0; draw < 16_000; draw++) {
    const bucket = generator.below(16)
    buckets[bucket] = (buckets[bucket] ?? 0) + 1
  }
  assert.ok(
    buckets.every((count) => count > 850 && count < 1150),
    buckets.join(),
  )
  const first = new Generator(7)
  const second = new Generator(7)
  for (let draw = 0; draw < 10; draw++) assert.equal(first.uint32(), second.uint32())
  assert.notEqual(new Generator(7).uint32(), new Generator(8).uint32())
})

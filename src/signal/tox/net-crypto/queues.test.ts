import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReceiveQueue } from './receive-queue.ts'
import { ReplayWindow } from './replay-window.ts'
import { RoundTrip } from './round-trip.ts'
import { SendQueue } from './send-queue.ts'

const packet = Uint8Array.of(160)

function numbers(queue: SendQueue, now: number): number[] {
  return queue.take(now).map(({ number }) => number)
}

function fill(queue: SendQueue, count: number): void {
  for (let i = 0; i < count; i++) assert.ok(queue.enqueue(packet))
}

test('a receiver gives packets in order, drops copies and names what is missing', () => {
  const queue = new ReceiveQueue()
  assert.equal(queue.offer(2, packet), 'taken')
  assert.equal(queue.offer(2, packet), 'duplicate')
  assert.deepEqual(queue.take(), [])
  assert.ok(queue.observe(5))
  assert.deepEqual(queue.missing(), [0, 1, 3, 4])
  queue.offer(0, packet)
  queue.offer(1, packet)
  assert.equal(queue.take().length, 3)
  assert.equal(queue.offer(1, packet), 'duplicate')
  assert.deepEqual([queue.start, queue.hasMissing, queue.bytes], [3, true, 0])
})

test('a receiver holds at most 256 KiB behind a hole, and asks again for what it dropped', () => {
  const queue = new ReceiveQueue()
  const large = new Uint8Array(1_373)
  const outcomes = Array.from({ length: 400 }, (_, i) => queue.offer(i + 1, large))
  assert.equal(outcomes.filter((outcome) => outcome === 'taken').length, 190)
  assert.equal(outcomes.at(-1), 'full')
  assert.ok(queue.bytes <= 262_144)
  assert.equal(queue.missing().length, 1 + 210)
  assert.equal(queue.offer(0, large), 'taken')
  assert.equal(queue.take().length, 191)
})

test('numbers further ahead than the window are refused', () => {
  const queue = new ReceiveQueue()
  assert.equal(queue.offer(32_768, packet), 'outside')
  assert.equal(queue.observe(32_769), false)
  assert.equal(queue.observe(32_768), true)
  assert.equal(queue.missing().length, 512)
})

test('64 packets are under way at most, and an acknowledgement makes room', () => {
  const queue = new SendQueue(new RoundTrip())
  fill(queue, 100)
  assert.equal(numbers(queue, 0).length, 64)
  assert.deepEqual([queue.isPossible(64), queue.isPossible(65)], [true, false])
  assert.equal(queue.acknowledge(10, 50), 0)
  assert.deepEqual(numbers(queue, 50), [64, 65, 66, 67, 68, 69, 70, 71, 72, 73])
})

test('a packet request resends what it names and frees what it passes over', () => {
  const queue = new SendQueue(new RoundTrip())
  fill(queue, 6)
  numbers(queue, 0)
  queue.request([1, 3], 400)
  assert.deepEqual(numbers(queue, 400), [1, 3])
  assert.equal(queue.length, 4)
  queue.request([1], 410)
  assert.deepEqual(numbers(queue, 410), [])
})

test('a request for packets that were never sent changes nothing', () => {
  const queue = new SendQueue(new RoundTrip())
  fill(queue, 3)
  numbers(queue, 0)
  queue.request([1, 3_000], 400)
  queue.request([0xffff_fff0], 400)
  assert.equal(queue.length, 3)
  assert.deepEqual(numbers(queue, 400), [])
})

test('without an answer the oldest packets are sent again at growing intervals, never more than 3 s apart', () => {
  const queue = new SendQueue(new RoundTrip())
  fill(queue, 10)
  numbers(queue, 0)
  const times: number[] = []
  for (let round = 0; round < 6; round++) {
    const at = queue.deadline ?? assert.fail()
    assert.deepEqual(numbers(queue, at), [0, 1, 2, 3])
    times.push(at)
  }
  assert.deepEqual(times, [500, 1_500, 3_500, 6_500, 9_500, 12_500])
})

test('the timeout follows the round trip and its variation, the shortest time follows the path', () => {
  const roundTrip = new RoundTrip()
  assert.equal(roundTrip.timeout, 500)
  for (let i = 0; i < 50; i++) roundTrip.add(80)
  assert.equal(roundTrip.timeout, 200)
  for (let i = 0; i < 30; i++) roundTrip.add(i % 2 === 0 ? 80 : 1_000)
  assert.ok(roundTrip.timeout > 1_000 && roundTrip.timeout <= 2_000)
  assert.ok(roundTrip.shortest < 100)
})

test('a replay window knows each of its counters once, and none that are too old', () => {
  const window = new ReplayWindow()
  for (const counter of [0, 5, 3, 2_050, 2_049]) {
    assert.ok(window.isNew(counter), String(counter))
    window.add(counter)
    assert.ok(!window.isNew(counter), String(counter))
  }
  assert.deepEqual([window.isNew(1), window.isNew(2), window.isNew(4), window.isNew(6)], [false, false, true, true])
  assert.equal(window.add(100_000), true)
  assert.equal(window.add(99_999), false)
  assert.deepEqual([window.isNew(99_998), window.isNew(97_952)], [true, false])
})

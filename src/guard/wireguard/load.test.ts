import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ADDRESS_BURST, ADDRESS_LIMIT, ADDRESS_RATE, UNDER_LOAD_TIME } from './constants.ts'
import { AddressLimiter, LoadGauge } from './load.ts'

test('too many messages in a second are load, until a second after the last of them', () => {
  const gauge = new LoadGauge(3)
  assert.deepEqual(
    [0, 1, 2, 3].map((at) => gauge.count(5_000 + at)),
    [false, false, false, true],
  )
  assert.equal(gauge.count(5_003 + UNDER_LOAD_TIME - 1), true)
  assert.equal(gauge.count(5_003 + UNDER_LOAD_TIME), false)
  assert.equal(gauge.count(60_000), false)
})

test('an address may send a burst, then so many a second, and others are not held up by it', () => {
  const limiter = new AddressLimiter()
  const allowed = (count: number, at: number): number =>
    Array.from({ length: count }, () => limiter.allows('192.0.2.1', at)).filter(Boolean).length
  assert.equal(allowed(50, 0), ADDRESS_BURST)
  let later = 0
  for (let at = 10; at <= 10_000; at += 10) later += allowed(1, at)
  assert.equal(later, ADDRESS_RATE * 10)
  assert.ok(limiter.allows('192.0.2.2', 10_000))
})

test('the limiter remembers a bounded number of addresses and forgets idle ones', () => {
  const limiter = new AddressLimiter()
  for (let address = 0; address < ADDRESS_LIMIT; address++) assert.ok(limiter.allows(`a${address}`, 0))
  assert.equal(limiter.allows('one more', 1), false)
  assert.equal(limiter.size, ADDRESS_LIMIT)
  assert.ok(limiter.allows('one more', 1_000))
  assert.equal(limiter.size, 1)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TunDuty } from './tun-duty.ts'

function both(): { readonly receive: TunDuty; readonly transmit: TunDuty } {
  const memory = TunDuty.memory()
  return { receive: new TunDuty(memory, 'receive'), transmit: new TunDuty(memory, 'transmit') }
}

test('the receive worker reads the TUN until it fills a core for some time', () => {
  const { receive, transmit } = both()
  for (const load of [0, 0.9, 1, 0.9, 1, 0.5]) {
    assert.equal(receive.weigh(load), false)
    assert.equal(transmit.weigh(0), false)
  }
  assert.ok(receive.isOurs && !transmit.isOurs)
  assert.ok(!receive.isWatched && !transmit.isWatched)
  assert.equal(receive.weigh(0.99), false)
  assert.equal(receive.weigh(0.97), true)
  assert.ok(transmit.isOurs && !receive.isOurs)
  assert.ok(receive.isWatched && transmit.isWatched)
  assert.equal(receive.weigh(1), false)
  assert.equal(receive.weigh(1), false)
})

test('it gets the TUN back when both have had little to do for half a second', () => {
  const { receive, transmit } = both()
  receive.give()
  receive.weigh(0.5)
  for (let sample = 0; sample < 30; sample++) assert.equal(transmit.weigh(0.2), false)
  receive.weigh(0.3)
  for (let sample = 0; sample < 9; sample++) assert.equal(transmit.weigh(0.2), false)
  receive.weigh(0.9)
  assert.equal(transmit.weigh(0.2), false)
  receive.weigh(0.3)
  for (let sample = 0; sample < 9; sample++) assert.equal(transmit.weigh(0.2), false)
  assert.equal(transmit.weigh(0.2), true)
  assert.ok(receive.isOurs)
})

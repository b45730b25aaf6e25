import assert from 'node:assert/strict'
import { test } from 'node:test'
import { twoDevices } from './testing/two-devices.ts'

test('two devices shake hands within a round trip, say so once, and carry packets both ways', async () => {
  const { clock, connect, atA, atB, send, texts } = await twoDevices()
  connect()
  clock.pass(20)
  assert.deepEqual(atA.events, ['established'])
  clock.pass(10)
  assert.deepEqual(atB.events, ['established'])
  send('a', 'there')
  send('b', 'back')
  clock.pass(10)
  assert.deepEqual(texts('b'), ['there'])
  assert.deepEqual(texts('a'), ['back'])
  clock.pass(60_000)
  assert.deepEqual([...atA.events, ...atB.events], ['established', 'established'])
})

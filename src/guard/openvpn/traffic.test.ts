import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Traffic } from './traffic.ts'

test('bytes are added up over all processes of a peer', () => {
  const traffic = new Traffic()
  traffic.count(100, 200, 1000)
  traffic.count(150, 200, 2000)
  traffic.restart()
  assert.deepEqual(traffic.stats(), { receivedBytes: 150, sentBytes: 200, lastReceivedAt: 2000 })
  traffic.count(0, 30, 3000)
  assert.deepEqual(traffic.stats(), { receivedBytes: 150, sentBytes: 230, lastReceivedAt: 2000 })
})

test('one ping into a quiet tunnel is no alarm, going on sending is, until something comes', () => {
  const traffic = new Traffic()
  assert.equal(traffic.count(100, 100, 0), false)
  assert.equal(traffic.count(100, 140, 1000), false)
  assert.equal(traffic.count(100, 140, 2000), false, 'nothing was sent')
  assert.equal(traffic.count(100, 180, 3000), true)
  assert.equal(traffic.count(100, 180, 4000), false)
  assert.equal(traffic.count(100, 220, 5000), true)
  assert.equal(traffic.count(140, 260, 6000), false)
  assert.equal(traffic.count(140, 300, 7000), false)
})

test('a second of more than pings into silence is enough', () => {
  const traffic = new Traffic()
  assert.equal(traffic.count(100, 100, 0), false)
  assert.equal(traffic.count(140, 5000, 1000), false, 'it is answered')
  assert.equal(traffic.count(140, 5101, 2000), true)
  assert.equal(traffic.count(140, 5101, 3000), false, 'nothing was sent')
})

test('a new process begins without an alarm', () => {
  const traffic = new Traffic()
  traffic.count(0, 100, 0)
  traffic.restart()
  assert.equal(traffic.count(0, 100, 1000), false)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { received } from './iperf.ts'

test('of a TCP run what was received counts, of a UDP run what was not lost', () => {
  const tcp = { end: { sum_sent: { bits_per_second: 3e9 }, sum_received: { bits_per_second: 2e9 } } }
  assert.equal(received(JSON.stringify(tcp)), 2)
  const udp = { end: { sum: { bits_per_second: 4e9, lost_percent: 25 } } }
  assert.equal(received(JSON.stringify(udp)), 3)
})

test('a run that said nothing, or only that it failed, is no run', () => {
  for (const output of ['', '{"start":{},"intervals":[],"end":{},"error":"unable to connect"}', '{"start":'])
    assert.equal(received(output), undefined)
})

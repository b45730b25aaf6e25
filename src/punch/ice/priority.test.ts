import assert from 'node:assert/strict'
import { test } from 'node:test'
import { candidatePriority, pairPriority } from './priority.ts'

test('candidates are ordered host, peer-reflexive, server-reflexive, relayed, whatever their local preference', () => {
  // RFC 8445 §5.1.2.1 with its recommended type preferences, worked by hand.
  assert.equal(candidatePriority('host'), 2_130_706_431)
  assert.equal(candidatePriority('host', 0), 2_113_929_471)
  assert.equal(candidatePriority('peer-reflexive'), 1_862_270_975)
  assert.equal(candidatePriority('server-reflexive'), 1_694_498_815)
  assert.equal(candidatePriority('relayed'), 16_777_215)
})

test('a pair has the same priority on both sides: the smaller candidate decides, then the larger, then the role', () => {
  // RFC 8445 §6.1.2.3.
  const pair = (controlling: number, controlled: number): bigint => pairPriority({ controlling, controlled })
  assert.equal(pair(1, 2), 2n ** 32n + 4n)
  assert.equal(pair(2, 1), 2n ** 32n + 5n)
  assert.equal(pair(2_130_706_431, 1_694_498_815), 7_277_816_997_797_167_103n)
  assert.ok(pair(100, 100) > pair(99, 2 ** 31 - 1))
  assert.ok(pair(100, 101) > pair(100, 100))
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Retransmission } from './transaction.ts'

test('the example of RFC 8489 §6.2.1: seven sends over 31.5 s, given up at 39.5 s', () => {
  const retransmission = new Retransmission(0, { rto: 500 })
  const sent = [0]
  for (;;) {
    const now = retransmission.deadline
    assert.equal(retransmission.tick(now - 1), 'wait')
    const due = retransmission.tick(now)
    if (due === 'fail') {
      assert.equal(now, 39_500)
      break
    }
    sent.push(now)
  }
  assert.deepEqual(sent, [0, 500, 1500, 3500, 7500, 15_500, 31_500])
  assert.equal(retransmission.sends, 7)
})

test('a late tick sends once, not once for every deadline that passed', () => {
  const retransmission = new Retransmission(0, { rto: 100, rc: 3, rm: 2 })
  assert.equal(retransmission.tick(5000), 'send')
  assert.equal(retransmission.tick(5000), 'wait')
  assert.equal(retransmission.deadline, 5200)
  assert.equal(retransmission.tick(5200), 'send')
  assert.equal(retransmission.tick(5400), 'fail')
})

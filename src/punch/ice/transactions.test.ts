import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemRandom } from '../../util/random.ts'
import { CheckTransactions } from './transactions.ts'

test('a check is remembered for ten seconds, and no longer', () => {
  const transactions = new CheckTransactions<{ readonly sentAt: number }>(systemRandom)
  const first = transactions.open({ sentAt: 0 })
  transactions.open({ sentAt: 9999 })
  assert.deepEqual(transactions.find(first), { sentAt: 0 })
  const last = transactions.open({ sentAt: 10_000 })
  assert.equal(transactions.find(first), undefined)
  transactions.close(last)
  assert.equal(transactions.find(last), undefined)
})

test('no more than 512 checks are remembered, the youngest ones', () => {
  const transactions = new CheckTransactions<{ readonly sentAt: number }>(systemRandom)
  const ids = Array.from({ length: 600 }, () => transactions.open({ sentAt: 0 }))
  assert.deepEqual(
    [ids.findIndex((id) => transactions.find(id) !== undefined), ids.filter((id) => transactions.find(id)).length],
    [88, 512],
  )
})

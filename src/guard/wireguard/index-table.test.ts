import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Random } from '../../util/random.ts'
import { IndexTable } from './index-table.ts'

/** Gives the listed 32-bit numbers one after another. */
function numbers(...values: readonly number[]): Random {
  const left = [...values]
  return {
    bytes: () => {
      const bytes = new Uint8Array(4)
      new DataView(bytes.buffer).setUint32(0, left.shift() ?? assert.fail('no number left'))
      return bytes
    },
  }
}

test('an index in use is not given again; once released it may be', () => {
  const table = new IndexTable<string>(numbers(7, 7, 8, 7))
  assert.equal(table.allocate('first'), 7)
  assert.equal(table.allocate('second'), 8)
  assert.equal(table.lookup(7), 'first')
  table.release(7)
  assert.equal(table.lookup(7), undefined)
  assert.equal(table.allocate('third'), 7)
  assert.equal(table.lookup(7), 'third')
  assert.equal(table.size, 2)
})

test('an index that would read as the STUN magic cookie is never chosen', () => {
  const table = new IndexTable<string>(numbers(0x42a41221, 1))
  assert.equal(table.allocate('only'), 1)
})

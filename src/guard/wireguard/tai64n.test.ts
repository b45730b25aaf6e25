import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { toHex } from '../../util/bytes.ts'
import { encodeTai64n, isLater, nextTimestamp } from './tai64n.ts'

test('wall time zero is the TAI64N label 2^62 + 10', () => {
  assert.equal(toHex(encodeTai64n(0)), '400000000000000a00000000')
  assert.equal(toHex(encodeTai64n(1_000)), `400000000000000a${(992_000_000).toString(16)}`)
})

test('timestamps order as their times do, on a grid of 16 ms', () => {
  fc.assert(
    fc.property(fc.nat(4_000_000_000_000), fc.nat(4_000_000_000_000), (a, b) => {
      const later = Math.floor(a / 16) > Math.floor(b / 16)
      assert.equal(isLater(encodeTai64n(a), encodeTai64n(b)), later)
    }),
  )
})

test('own timestamps only ever grow, whatever the clock does', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(4_000_000_000_000), { minLength: 2 }), (times) => {
      let last: Uint8Array | undefined
      for (const time of times) {
        const next = nextTimestamp(time, last)
        if (last !== undefined) assert.ok(isLater(next, last))
        last = next
      }
    }),
  )
})

test('a timestamp at the end of its second goes on in the next', () => {
  const last = encodeTai64n(5_000_000)
  new DataView(last.buffer).setUint32(8, 999_999_999)
  assert.equal(toHex(nextTimestamp(0, last)), '400000000000139300000000')
})

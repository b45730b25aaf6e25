import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ByteReader } from './byte-reader.ts'
import { ByteWriter } from './byte-writer.ts'

test('what a writer writes a reader reads', () => {
  const byteStrings = fc.uint8Array({ maxLength: 300 })
  fc.assert(
    fc.property(
      fc.nat(255),
      fc.nat(65_535),
      fc.nat(0xffff_ffff),
      fc.bigInt(0n, 2n ** 64n - 1n),
      byteStrings,
      (a, b, c, d, e) => {
        const written = new ByteWriter(1).uint8(a).uint16(b).uint32(c).uint64(d).zeros(3).bytes(e).finish()
        const reader = new ByteReader(written)
        assert.deepEqual([reader.uint8(), reader.uint16(), reader.uint32(), reader.uint64()], [a, b, c, d])
        assert.deepEqual(reader.bytes(3), new Uint8Array(3))
        assert.deepEqual(new Uint8Array(reader.rest()), e)
        assert.equal(reader.remaining, 0)
      },
    ),
  )
})

test('reading past the end gives undefined and consumes nothing', () => {
  const reader = new ByteReader(Uint8Array.of(1, 2, 3))
  assert.equal(reader.uint32(), undefined)
  assert.equal(reader.uint64(), undefined)
  assert.equal(reader.bytes(4), undefined)
  assert.equal(reader.bytes(-1), undefined)
  assert.equal(reader.remaining, 3)
  assert.equal(reader.uint16(), 0x0102)
  assert.equal(reader.uint16(), undefined)
  assert.equal(reader.uint8(), 3)
  assert.equal(reader.uint8(), undefined)
})

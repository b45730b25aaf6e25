import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { toHex } from '../../../util/bytes.ts'
import { decodePacketRequest, encodePacketRequest } from './packet-request.ts'

// source: lists taken from an exchange with c-toxcore 0.2.18
const vectors = [
  { start: 1, missing: [1, 4], hex: '010103' },
  { start: 1, missing: [3, 6, 1024], hex: '010303000000fd' },
  { start: 0, missing: [255, 256], hex: '01000101' },
  { start: 7, missing: [], hex: '01' },
]

test('packet requests look as c-toxcore writes them', () => {
  for (const { start, missing, hex } of vectors) {
    const packet = encodePacketRequest(missing, { start, maximumSize: 1373 })
    assert.equal(toHex(packet), hex)
    assert.deepEqual(decodePacketRequest(packet, { start }), missing)
  }
})

test('any set of missing numbers comes back, also around a distance of 255 and past the end of 32 bits', () => {
  const distances = fc.array(fc.oneof(fc.integer({ min: 1, max: 700 }), fc.constantFrom(1, 254, 255, 256, 510, 511)), {
    maxLength: 40,
  })
  fc.assert(
    fc.property(fc.constantFrom(0, 1, 1000, 0xffff_ff00), distances, (start, steps) => {
      let number = start - 1
      const missing = steps.map((step) => {
        number += step
        return number >>> 0
      })
      const packet = encodePacketRequest(missing, { start, maximumSize: 1373 })
      assert.deepEqual(decodePacketRequest(packet, { start }), missing)
    }),
  )
})

test('a request that would be too long names the first missing numbers only', () => {
  const missing = Array.from({ length: 500 }, (_, i) => i * 2)
  const packet = encodePacketRequest(missing, { start: 0, maximumSize: 100 })
  assert.equal(packet.length, 100)
  assert.deepEqual(decodePacketRequest(packet, { start: 0 }), missing.slice(0, 99))
})

test('trailing zero bytes name nothing', () => {
  assert.deepEqual(decodePacketRequest(Uint8Array.of(1, 2, 0, 0, 0), { start: 1 }), [2])
})

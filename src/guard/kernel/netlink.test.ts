import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  decodeAttributes,
  decodeErrno,
  decodeFamilyPayload,
  decodeMessages,
  RequestWriter,
  requestFlags,
} from './netlink.ts'

const request = { family: 0x20, flags: requestFlags.request | requestFlags.dump, command: 3, version: 1 }

/** What a writer has made, read again. */
function read(writer: RequestWriter): readonly (readonly [type: number, value: string])[] | undefined {
  const payload = decodeMessages(writer.finish(7))?.[0]?.payload
  const attributes = payload === undefined ? undefined : decodeFamilyPayload(payload)
  return attributes?.map(({ type, value }) => [type, Buffer.from(value).toString('hex')])
}

test('a request has its header, and its attributes in their order, each padded to four bytes', () => {
  const memory = new Uint8Array(64).fill(0xff)
  const writer = new RequestWriter(memory, request)
  assert.ok(writer.text(2, 'wg0'))
  assert.ok(writer.uint8(3, 0xab))
  assert.ok(writer.uint16(4, 0x1234))
  assert.ok(writer.uint32(5, 0x12345678))
  const written = Buffer.from(writer.finish(0x4d)).toString('hex')
  const header = '34000000' + '2000' + '0103' + '4d000000' + '00000000' + '03010000'
  const attributes =
    '08000200' + '77673000' + '05000300' + 'ab000000' + '06000400' + '34120000' + '08000500' + '78563412'
  assert.equal(written, header + attributes)
})

test('attributes within attributes read as they were written', () => {
  const writer = new RequestWriter(new Uint8Array(128), request)
  assert.ok(writer.nested(8, () => writer.nested(0, () => writer.uint16(1, 5)) && writer.nested(0, () => true)))
  const outer = decodeFamilyPayload(decodeMessages(writer.finish(1))?.[0]?.payload ?? new Uint8Array(0))
  assert.deepEqual(
    outer?.map(({ type }) => type),
    [8],
  )
  const inner = decodeAttributes(outer?.[0]?.value ?? new Uint8Array(0))
  assert.deepEqual(
    inner?.map(({ type, value }) => [type, value.length]),
    [
      [0, 8],
      [0, 0],
    ],
  )
})

test('what has no room is not written, and leaves nothing behind', () => {
  const memory = new Uint8Array(20 + 8 + 8)
  const writer = new RequestWriter(memory, request)
  assert.ok(writer.uint32(1, 1))
  assert.equal(writer.bytes(2, new Uint8Array(5)), false)
  assert.equal(
    writer.nested(3, () => writer.bytes(4, new Uint8Array(4).fill(0xee))),
    false,
  )
  assert.deepEqual([...memory.subarray(28)], new Array(8).fill(0))
  assert.ok(writer.uint32(5, 2))
  assert.equal(writer.uint8(6, 3), false)
  assert.deepEqual(read(writer), [
    [1, '01000000'],
    [5, '02000000'],
  ])
})

test('messages and attributes that are not whole are none', () => {
  const writer = new RequestWriter(new Uint8Array(64), request)
  writer.uint32(1, 1)
  writer.uint32(2, 2)
  const whole = writer.finish(1).slice()
  for (let length = 1; length < whole.length; length++) {
    assert.equal(decodeMessages(whole.subarray(0, length)), undefined, `${length} bytes`)
  }
  for (const length of [0, 15, whole.length + 1]) assert.equal(decodeMessages(whole.with(0, length)), undefined)
  const attributes = whole.subarray(20)
  for (const length of [1, 3, 7, 9, 12, 15]) assert.equal(decodeAttributes(attributes.subarray(0, length)), undefined)
  for (const length of [0, 3, 17]) assert.equal(decodeAttributes(attributes.with(0, length)), undefined)
  assert.equal(decodeFamilyPayload(new Uint8Array(3)), undefined)
})

test('an errno is read from an error and from the end of a dump', () => {
  assert.equal(decodeErrno(Uint8Array.of(0xed, 0xff, 0xff, 0xff, 1, 2)), 19)
  assert.equal(decodeErrno(new Uint8Array(4)), 0)
  assert.equal(decodeErrno(new Uint8Array(3)), undefined)
})

test('no bytes make a decoder throw, or give more than there is', () => {
  const small = fc.array(fc.integer({ min: 0, max: 24 }), { maxLength: 64 }).map((bytes) => Uint8Array.from(bytes))
  fc.assert(
    fc.property(fc.oneof(small, fc.uint8Array({ maxLength: 64 })), (bytes) => {
      const parts = [...(decodeMessages(bytes) ?? []).map(({ payload }) => payload)]
      parts.push(...(decodeAttributes(bytes) ?? []).map(({ value }) => value))
      assert.ok(parts.reduce((sum, { length }) => sum + length, 0) <= 2 * bytes.length)
      decodeFamilyPayload(bytes)
      decodeErrno(bytes)
    }),
    { seed: 3, numRuns: 3000 },
  )
})

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { concatBytes, fromHex, toHex, toUtf8 } from '../../util/bytes.ts'
import { findAttribute, type StunAttribute } from './attributes.ts'
import { shortTermKey } from './integrity.ts'
import {
  decodeMessage,
  encodeMessage,
  isAuthentic,
  type MessageClass,
  type ReceivedStunMessage,
  type StunMessage,
  unknownRequiredTypes,
} from './message.ts'

interface Vector {
  readonly name: string
  readonly hex: readonly string[]
}

const file = readFileSync(new URL('../../../../test/vectors/stun/rfc5769.json', import.meta.url), 'utf8')
const vectors: readonly Vector[] = JSON.parse(file).vectors

function vector(section: string): Uint8Array {
  const found = vectors.find((one) => one.name.startsWith(section))
  return fromHex(found!.hex.join('').replaceAll(' ', ''))!
}

function decoded(bytes: Uint8Array): ReceivedStunMessage {
  const message = decodeMessage(bytes)
  assert.ok(message)
  return message
}

const iceKey = shortTermKey('VOkJxbRl1RmTxUk/WvJxBt')
const iceTransactionId = fromHex('b7e7a701bc34d686fa87dfae')!

test('the sample request of RFC 5769 §2.1 is read, and authentic under its password only', () => {
  const message = decoded(vector('2.1'))
  assert.equal(message.messageClass, 'request')
  assert.equal(message.method, 1)
  assert.deepEqual(new Uint8Array(message.transactionId), iceTransactionId)
  assert.deepEqual(message.attributes, [
    { kind: 'software', text: 'STUN test client' },
    { kind: 'priority', priority: 0x6e0001ff },
    { kind: 'ice-controlled', tieBreaker: 0x932ff9b151263b36n },
    { kind: 'username', text: 'evtj:h6vY' },
  ])
  assert.equal(message.fingerprint, 'right')
  assert.equal(isAuthentic(message, iceKey), true)
  assert.equal(isAuthentic(message, shortTermKey('VOkJxbRl1RmTxUk/WvJxBu')), false)
})

for (const [section, address] of [
  ['2.2', '192.0.2.1'],
  ['2.3', '2001:db8:1234:5678:11:2233:4455:6677'],
] as const) {
  test(`the sample response of RFC 5769 §${section} is read`, () => {
    const message = decoded(vector(section))
    assert.equal(message.messageClass, 'success')
    assert.deepEqual(message.attributes, [
      { kind: 'software', text: 'test vector' },
      { kind: 'xor-mapped-address', endpoint: { address, port: 32_853 } },
    ])
    assert.equal(message.fingerprint, 'right')
    assert.equal(isAuthentic(message, iceKey), true)
  })

  test(`what we write differs from the sample of RFC 5769 §${section} in padding, HMAC and CRC alone`, () => {
    const bytes = vector(section)
    const written = encodeMessage(decoded(bytes), { key: iceKey, fingerprint: true })
    assert.equal(written.length, bytes.length)
    const [paddingAt, protectedFrom] = [35, bytes.length - 32]
    const changed = [...bytes.keys()].filter((at) => at < protectedFrom && bytes[at] !== written[at])
    assert.deepEqual(changed, [paddingAt])
    assert.equal(decoded(written).fingerprint, 'right')
    assert.equal(isAuthentic(decoded(written), iceKey), true)
  })
}

test('the request with a long-term credential of RFC 5769 §2.4 is written byte for byte', () => {
  const bytes = vector('2.4')
  const key = new Uint8Array(createHash('md5').update('マトリックス:example.org:TheMatrIX').digest())
  const message = decoded(bytes)
  assert.equal(isAuthentic(message, key), true)
  assert.equal(message.fingerprint, 'absent')
  assert.deepEqual(unknownRequiredTypes(message), [0x0015, 0x0014])
  assert.equal(toHex(encodeMessage(message, { key })), toHex(bytes))
})

test('the request of RFC 8489 appendix B.1 is read with its MESSAGE-INTEGRITY-SHA256 and written byte for byte', () => {
  const bytes = vector('B.1')
  const message = decoded(bytes)
  assert.equal(findAttribute(message.attributes, 'message-integrity-sha256')?.hmac.length, 32)
  assert.equal(message.integrityAt, undefined)
  assert.equal(isAuthentic(message, iceKey), false)
  assert.equal(toHex(encodeMessage(message)), toHex(bytes))
})

const transactionId = fc.uint8Array({ minLength: 12, maxLength: 12 })
const endpoint = fc.oneof(
  fc.record({ address: fc.ipV4(), port: fc.nat(65_535) }),
  fc.record({ address: fc.constantFrom('::', '2001:db8::1', 'fe80::a:b'), port: fc.nat(65_535) }),
)
const uint64 = fc.bigInt(0n, 2n ** 64n - 1n)
const attribute: fc.Arbitrary<StunAttribute> = fc.oneof(
  fc.record({ kind: fc.constant('mapped-address' as const), endpoint }),
  fc.record({ kind: fc.constant('xor-mapped-address' as const), endpoint }),
  fc.record({ kind: fc.constant('username' as const), text: fc.string({ maxLength: 100 }) }),
  fc.record({ kind: fc.constant('software' as const), text: fc.string({ unit: 'grapheme', maxLength: 20 }) }),
  fc.record({
    kind: fc.constant('error-code' as const),
    code: fc.integer({ min: 300, max: 699 }),
    reason: fc.string({ maxLength: 50 }),
  }),
  fc.record({ kind: fc.constant('unknown-attributes' as const), types: fc.array(fc.nat(0xffff), { maxLength: 9 }) }),
  fc.record({ kind: fc.constant('priority' as const), priority: fc.nat(0xffff_ffff) }),
  fc.constant({ kind: 'use-candidate' as const }),
  fc.record({ kind: fc.constant('ice-controlled' as const), tieBreaker: uint64 }),
  fc.record({ kind: fc.constant('ice-controlling' as const), tieBreaker: uint64 }),
  fc.record({
    kind: fc.constant('other' as const),
    type: fc.integer({ min: 0x9000, max: 0xffff }),
    value: fc.uint8Array({ maxLength: 40 }),
  }),
)
const anyMessage: fc.Arbitrary<StunMessage> = fc.record({
  messageClass: fc.constantFrom<MessageClass>('request', 'indication', 'success', 'error'),
  method: fc.nat(0xfff),
  transactionId,
  attributes: fc.array(attribute, { maxLength: 6 }),
})

test('what is written is read back the same, protected or not', () => {
  fc.assert(
    fc.property(anyMessage, fc.boolean(), fc.boolean(), (message, signed, marked) => {
      const bytes = encodeMessage(message, { ...(signed ? { key: iceKey } : {}), fingerprint: marked })
      const back = decoded(bytes)
      assert.deepEqual(back.attributes, structuredClone(message.attributes))
      assert.equal(back.messageClass, message.messageClass)
      assert.equal(back.method, message.method)
      assert.deepEqual(new Uint8Array(back.transactionId), message.transactionId)
      assert.equal(isAuthentic(back, iceKey), signed)
      assert.equal(back.fingerprint, marked ? 'right' : 'absent')
    }),
    { numRuns: 300, seed: 5769 },
  )
})

test('a mutated message is dropped or read; what is read can be written and reads the same again', () => {
  const samples = ['2.1', '2.2', '2.3', '2.4', 'B.1'].map(vector)
  const mutation = fc.record({
    sample: fc.constantFrom(...samples),
    changes: fc.array(fc.record({ at: fc.nat(170), value: fc.nat(255) }), { maxLength: 6 }),
    cut: fc.nat(170),
  })
  let read = 0
  fc.assert(
    fc.property(mutation, fc.boolean(), ({ sample, changes, cut }, whole) => {
      const bytes = sample.slice(0, whole ? sample.length : cut)
      for (const { at, value } of changes) if (at < bytes.length) bytes[at] = value
      const message = decodeMessage(bytes, { classic: true })
      if (message === undefined) return
      read++
      if (message.transactionId.length === 16) return
      const again = decoded(encodeMessage(message))
      assert.deepEqual(again.attributes, message.attributes)
    }),
    { numRuns: 2000, seed: 1 },
  )
  assert.ok(read > 300, `only ${read} mutated messages were read`)
})

test('random bytes never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      decodeMessage(bytes, { classic: true })
      const header = fromHex(`0101${(bytes.length & ~3).toString(16).padStart(4, '0')}2112a442`)!
      decodeMessage(concatBytes(header, new Uint8Array(12), bytes.subarray(0, bytes.length & ~3)))
    }),
    { numRuns: 2000, seed: 2 },
  )
})

const plain: StunMessage = { messageClass: 'request', method: 1, transactionId: iceTransactionId, attributes: [] }

test('one changed bit anywhere spoils the fingerprint or the form', () => {
  const bytes = encodeMessage(
    { ...plain, attributes: [{ kind: 'username', text: 'ab:cd' }] },
    { key: iceKey, fingerprint: true },
  )
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const spoiled = bytes.slice()
    spoiled[bit >> 3] = (spoiled[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    const message = decodeMessage(spoiled)
    // Flipping FINGERPRINT's own type makes it an attribute behind MESSAGE-INTEGRITY, which is ignored.
    assert.ok(message === undefined || message.fingerprint !== 'right', `bit ${bit}`)
  }
})

test('attributes behind MESSAGE-INTEGRITY are ignored', () => {
  const signed = encodeMessage(plain, { key: iceKey }).slice()
  const extra = concatBytes(signed, Uint8Array.of(0x00, 0x25, 0x00, 0x00))
  new DataView(extra.buffer).setUint16(2, extra.length - 20)
  const message = decoded(extra)
  assert.deepEqual(message.attributes, [])
  assert.equal(isAuthentic(message, iceKey), true)
})

test('a message with more attributes than a bounded number is not read', () => {
  const attributes = Array.from({ length: 33 }, () => ({ kind: 'use-candidate' }) as const)
  assert.equal(decodeMessage(encodeMessage({ ...plain, attributes })), undefined)
  assert.equal(decodeMessage(encodeMessage({ ...plain, attributes: attributes.slice(1) }))?.attributes.length, 32)
})

test('the first of two attributes of a kind counts', () => {
  const attributes = [
    { kind: 'priority', priority: 1 },
    { kind: 'priority', priority: 2 },
  ] as const
  assert.equal(findAttribute(attributes, 'priority')?.priority, 1)
})

test('WireGuard datagrams and plain text are not STUN', () => {
  const wireguard = new Uint8Array(148)
  wireguard[0] = 1
  assert.equal(decodeMessage(wireguard), undefined)
  assert.equal(decodeMessage(toUtf8('d1:ad2:id20:abcdefghij0123456789e1:q4:pinge')), undefined)
})

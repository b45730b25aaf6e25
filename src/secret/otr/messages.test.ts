import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concatBytes } from '../../util/bytes.ts'
import {
  type DataMessage,
  decodeMessage,
  encodeData,
  encodeDhCommit,
  encodeDhKey,
  encodeRevealSignature,
  encodeSignature,
  type OtrMessage,
} from './messages.ts'

const tags = { senderTag: 0x0102_0304, receiverTag: 0xfffe_fdfc }
const filled = (length: number, byte = 7): Uint8Array => new Uint8Array(length).fill(byte)
const mac = filled(20, 9)
const dataFields = {
  ...tags,
  flags: 1,
  senderKeyId: 5,
  recipientKeyId: 6,
  nextDh: concatBytes(new Uint8Array(3), filled(189)),
  counter: 0xffff_ffff_ffff_ffffn,
  ciphertext: filled(33),
  oldMacKeys: filled(40),
}

const samples: readonly [OtrMessage['kind'], Uint8Array][] = [
  ['dh-commit', encodeDhCommit({ ...tags, encryptedGx: filled(196), hashedGx: filled(32) })],
  ['dh-key', encodeDhKey({ ...tags, gy: filled(192) })],
  [
    'reveal-signature',
    encodeRevealSignature({ ...tags, revealedKey: filled(16), encryptedSignature: filled(466), mac }),
  ],
  ['signature', encodeSignature({ ...tags, encryptedSignature: filled(466), mac })],
  ['data', encodeData(dataFields, () => mac)],
]

test('what is encoded is decoded again, byte for byte', () => {
  const decoded = samples.map(([, bytes]) => decodeMessage(bytes))
  assert.deepEqual(
    decoded.map((message) => message?.kind),
    samples.map(([kind]) => kind),
  )
  for (const message of decoded) {
    assert.deepEqual([message?.senderTag, message?.receiverTag], [tags.senderTag, tags.receiverTag])
  }
  const data = decoded[4]
  assert.ok(data?.kind === 'data')
  const { kind, authenticated, ...fields } = data
  assert.equal(kind, 'data')
  assert.deepEqual(plain(fields), { ...dataFields, mac })
  assert.deepEqual(
    encodeData(data, () => mac),
    samples[4]?.[1],
  )
  // Header, flags, key ids, next key without its three zeros, counter, ciphertext.
  assert.equal(authenticated.length, 11 + 1 + 8 + (4 + 189) + 8 + (4 + 33))
})

test('every truncation, and every message with a byte more, is refused', () => {
  for (const [kind, bytes] of samples) {
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(decodeMessage(bytes.subarray(0, length)), undefined, `${kind} ${length}`)
    }
    assert.equal(decodeMessage(concatBytes(bytes, Uint8Array.of(0))), undefined, kind)
  }
})

test('other versions, other types and zero ids are refused', () => {
  const [commit, data] = [samples[0]?.[1] ?? assert.fail(), samples[4]?.[1] ?? assert.fail()]
  for (const version of [0, 1, 2, 4]) assert.equal(decodeMessage(patched(commit, [0, version])), undefined)
  for (const type of [0x00, 0x01, 0x04, 0x0b, 0x10, 0x13, 0xff]) {
    assert.equal(decodeMessage(patched(commit, [0, 3, type])), undefined)
  }
  const zero = { senderKeyId: 0, recipientKeyId: 0, counter: 0n } as const
  for (const name of ['senderKeyId', 'recipientKeyId', 'counter'] as const) {
    assert.equal(decodeMessage(encodeData({ ...dataFields, [name]: zero[name] }, () => mac)), undefined, name)
  }
  assert.equal(decodeMessage(encodeData({ ...dataFields, oldMacKeys: filled(39) }, () => mac)), undefined)
  assert.equal(decodeMessage(data)?.kind, 'data')
})

test('huge lengths are refused without being believed', () => {
  for (const [kind, bytes] of samples) {
    for (let at = 11; at + 4 <= Math.min(bytes.length, 60); at++) {
      const huge = bytes.slice()
      huge.fill(0xff, at, at + 4)
      const message = decodeMessage(huge)
      if (message !== undefined) assert.equal(message.kind, kind)
    }
  }
  const key = samples[1]?.[1] ?? assert.fail()
  for (const length of [0xffff_ffff, 0x8000_0000, 193, 191]) {
    const changed = key.slice()
    new DataView(changed.buffer).setUint32(11, length)
    assert.equal(decodeMessage(changed), undefined)
  }
})

test('an MPI with a leading zero is refused', () => {
  const key = samples[1]?.[1] ?? assert.fail()
  assert.equal(decodeMessage(key)?.kind, 'dh-key')
  const padded = key.slice()
  padded[15] = 0
  assert.equal(decodeMessage(padded), undefined)
})

test('random and mutated bytes never throw', () => {
  const bytes = fc.uint8Array({ maxLength: 800 })
  const sample = fc.constantFrom(...samples.map(([, encoded]) => encoded))
  const change = fc.tuple(fc.nat(4000), fc.nat(255))
  let decodedCount = 0
  fc.assert(
    fc.property(bytes, sample, fc.array(change, { minLength: 1, maxLength: 4 }), (random, valid, changes) => {
      decodeMessage(random)
      const mutated = valid.slice()
      for (const [at, byte] of changes) mutated[at % mutated.length] = byte
      if (decodeMessage(mutated) !== undefined) decodedCount += 1
    }),
    { numRuns: 400, seed: 1 },
  )
  assert.ok(decodedCount > 0)
})

function plain(fields: Omit<DataMessage, 'kind' | 'authenticated'>): typeof fields {
  const { nextDh, ciphertext, mac: own, oldMacKeys } = fields
  return {
    ...fields,
    nextDh: nextDh.slice(),
    ciphertext: ciphertext.slice(),
    mac: own.slice(),
    oldMacKeys: oldMacKeys.slice(),
  }
}

function patched(bytes: Uint8Array, start: readonly number[]): Uint8Array {
  const copy = bytes.slice()
  copy.set(start)
  return copy
}

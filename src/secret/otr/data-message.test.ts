import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { equalBytes } from '../../util/bytes.ts'
import { dhBytes, dhModulus } from './constants.ts'
import { openData, sealData } from './data-message.ts'
import { generateDhKeyPair } from './dh.ts'
import { numberToBytes } from './encoding.ts'
import { deriveDataKeys, hmac } from './key-derivation.ts'
import { KeyRing } from './key-ring.ts'
import { type DataMessage, decodeMessage, encodeData } from './messages.ts'
import { decodePayload, encodePayload } from './tlv.ts'
import { TestRandom } from './two-ends.test-support.ts'

const tags = { senderTag: 0x100, receiverTag: 0x101 }

function rings(seed = 1) {
  const random = new TestRandom(seed)
  const [a, b] = [generateDhKeyPair(random), generateDhKeyPair(random)]
  return {
    keys: [a, b] as const,
    one: new KeyRing({ own: a, their: b.publicKey, theirKeyId: 1, random }),
    two: new KeyRing({ own: b, their: a.publicKey, theirKeyId: 1, random }),
  }
}

function seal(ring: KeyRing, text: string): DataMessage {
  const message = decodeMessage(sealData(ring, { text, tlvs: [] }, { tags, flags: 0 }))
  assert.ok(message?.kind === 'data')
  return message
}

function open(ring: KeyRing, message: DataMessage): string {
  const opened = openData(ring, message)
  return opened.kind === 'payload' ? opened.payload.text : opened.reason
}

test('one end alone keeps its keys and counts; an answer moves them on', () => {
  const { one, two } = rings()
  const talk = [seal(one, 'a'), seal(one, 'b'), seal(one, 'c')]
  assert.deepEqual(
    talk.map(({ senderKeyId, recipientKeyId, counter }) => [senderKeyId, recipientKeyId, counter]),
    [
      [1, 1, 1n],
      [1, 1, 2n],
      [1, 1, 3n],
    ],
  )
  assert.deepEqual(
    talk.map((message) => open(two, message)),
    ['a', 'b', 'c'],
  )
  assert.deepEqual(two.keyIds, { own: 2, their: 2 })
  const answer = seal(two, 'd')
  assert.deepEqual([answer.senderKeyId, answer.recipientKeyId, answer.counter], [1, 2, 1n])
  assert.equal(open(one, answer), 'd')
  assert.deepEqual(one.keyIds, { own: 3, their: 2 })
})

test('messages that cross, and losses, are read in any turn of the keys', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(4)), { minLength: 1, maxLength: 25 }), (steps) => {
      const { one, two } = rings()
      const wires = { one: [] as DataMessage[], two: [] as DataMessage[] }
      for (const [fromOne, action] of steps) {
        const [own, other] = fromOne ? (['one', 'two'] as const) : (['two', 'one'] as const)
        const ring = fromOne ? one : two
        if (action < 3) wires[other].push(seal(ring, `${own} ${action}`))
        else if (action === 3) wires[own].shift()
        const message = action === 4 ? wires[own].shift() : undefined
        if (message !== undefined) assert.match(open(ring, message), other === 'one' ? /^one \d$/ : /^two \d$/)
      }
      for (const message of wires.one) assert.match(open(one, message), /^two \d$/)
      for (const message of wires.two) assert.match(open(two, message), /^one \d$/)
    }),
    { numRuns: 25, seed: 1 },
  )
})

test('a MAC key is revealed once it can verify nothing any more, and only when it verified something', () => {
  const { one, two, keys } = rings()
  const { receivingMac } = deriveDataKeys(keys[1], keys[0].publicKey)
  assert.equal(open(two, seal(one, 'a')), 'a')
  const first = seal(two, 'b')
  assert.equal(first.oldMacKeys.length, 0)
  assert.equal(open(one, first), 'b')
  assert.equal(open(two, seal(one, 'c')), 'c')
  // Two has now seen One use Two's next key, so the pairing under which it read "a" is gone.
  const second = seal(two, 'd')
  assert.equal(second.oldMacKeys.length, 20)
  assert.ok(equalBytes(second.oldMacKeys, receivingMac))
  assert.equal(seal(two, 'e').oldMacKeys.length, 0)
})

test('a message that is changed, repeated, or under unknown keys is refused and moves nothing', () => {
  const { one, two } = rings()
  const message = seal(one, 'hello')
  const cases: readonly [string, DataMessage][] = [
    ['bad mac', { ...message, mac: flipped(message.mac) }],
    ['bad mac', { ...message, authenticated: flipped(message.authenticated) }],
    ['unknown key id', { ...message, senderKeyId: 2 }],
    ['unknown key id', { ...message, recipientKeyId: 3 }],
    ['unknown key id', { ...message, recipientKeyId: 0xffff_ffff, senderKeyId: 0xffff_ffff }],
    ['bad mac', { ...message, recipientKeyId: 2 }],
  ]
  for (const [reason, changed] of cases) {
    assert.equal(open(two, changed), reason)
    assert.deepEqual(two.keyIds, { own: 2, their: 1 })
  }
  assert.equal(open(two, message), 'hello')
  assert.equal(open(two, message), 'old counter')
  const later = [seal(one, 'second'), seal(one, 'third')]
  assert.equal(open(two, later[1] ?? assert.fail()), 'third')
  assert.equal(open(two, later[0] ?? assert.fail()), 'old counter')
})

test('an authentic message with an impossible next key or payload is refused', () => {
  for (const value of [0n, 1n, dhModulus - 1n, dhModulus]) {
    const { one, two } = rings()
    assert.equal(open(two, resealed(one, { nextDh: numberToBytes(value, dhBytes) })), 'bad next key')
    assert.deepEqual(two.keyIds, { own: 2, their: 1 })
  }
  const { one, two } = rings()
  assert.equal(open(two, resealed(one, { ciphertext: new Uint8Array(40).fill(0xee) })), 'bad payload')
  assert.deepEqual(two.keyIds, { own: 2, their: 1 })
})

test('a peer that rotates without being answered cannot make us hoard MAC keys', () => {
  const { one, two } = rings()
  for (let turn = 0; turn < 100; turn++) {
    assert.equal(open(two, seal(one, 'x')), 'x')
    // Two answers, but only the keys move: what it would reveal is taken for lost.
    const answer = two.forSending()
    answer.sent += 1n
    const plain = { ...tags, flags: 0, senderKeyId: answer.ownKeyId, recipientKeyId: answer.theirKeyId }
    const rest = { nextDh: two.nextPublicKey, counter: answer.sent, ciphertext: new Uint8Array() }
    const bytes = encodeData({ ...plain, ...rest, oldMacKeys: new Uint8Array() }, (under) =>
      hmac('sha1', answer.keys.sendingMac, under),
    )
    const message = decodeMessage(bytes)
    assert.ok(message?.kind === 'data')
    assert.equal(open(one, message), '')
  }
  assert.equal(two.takeOldMacKeys().length, 64)
})

test('payloads are a text and records', () => {
  const payload = {
    text: 'grüße',
    tlvs: [
      { type: 1, value: new Uint8Array() },
      { type: 9, value: Uint8Array.of(1, 2) },
    ],
  }
  assert.deepEqual(plain(decodePayload(encodePayload(payload))), payload)
  assert.deepEqual(plain(decodePayload(new Uint8Array())), { text: '', tlvs: [] })
  assert.deepEqual(plain(decodePayload(Uint8Array.of(65, 0))), { text: 'A', tlvs: [] })
  for (const bad of [[0xff], [65, 0, 0], [65, 0, 0, 1, 0], [65, 0, 0, 1, 0, 1], [65, 0, 0, 1, 0xff, 0xff, 1]]) {
    assert.equal(decodePayload(Uint8Array.from(bad)), undefined)
  }
})

/** A message whose MAC is right whatever it says. */
function resealed(ring: KeyRing, changes: Partial<DataMessage>): DataMessage {
  const message = seal(ring, 'hello')
  const { sendingMac } = ring.forSending().keys
  const again = decodeMessage(encodeData({ ...message, ...changes }, (bytes) => hmac('sha1', sendingMac, bytes)))
  assert.ok(again?.kind === 'data')
  return again
}

function plain(payload: ReturnType<typeof decodePayload>): typeof payload {
  return payload && { ...payload, tlvs: payload.tlvs.map(({ type, value }) => ({ type, value: value.slice() })) }
}

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  copy[7] = (copy[7] ?? 0) ^ 1
  return copy
}

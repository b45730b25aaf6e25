import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, fromHex } from '../../util/bytes.ts'
import { decodeMessage, encodeMessage } from './message.ts'
import { answerBindingRequest } from './server.ts'

const from = { address: '203.0.113.7', port: 40_000 }
const transactionId = fromHex('000102030405060708090a0b')!
const request = { messageClass: 'request', method: 1, transactionId, attributes: [] } as const

test('a Binding request is answered with the address it came from, under its transaction id', () => {
  const answer = decodeMessage(answerBindingRequest(encodeMessage(request), from)!)
  assert.equal(answer?.messageClass, 'success')
  assert.deepEqual(new Uint8Array(answer!.transactionId), transactionId)
  assert.deepEqual(answer?.attributes[0], { kind: 'xor-mapped-address', endpoint: from })
  assert.equal(answer?.fingerprint, 'absent')
})

test('a request with FINGERPRINT is answered with one', () => {
  const answer = answerBindingRequest(encodeMessage(request, { fingerprint: true }), from)!
  assert.equal(decodeMessage(answer)?.fingerprint, 'right')
})

const classicHeader = (length: number): Uint8Array =>
  concatBytes(Uint8Array.of(0, 1, 0, length), fromHex('00112233445566778899aabbccddeeff')!)

test('a request in the form of RFC 3489 gets MAPPED-ADDRESS under its 16-byte transaction id', () => {
  for (const bytes of [classicHeader(0), concatBytes(classicHeader(8), fromHex('0003000400000000')!)]) {
    const answer = answerBindingRequest(bytes, from)!
    assert.deepEqual(answer.slice(4, 20), bytes.slice(4, 20))
    const message = decodeMessage(answer, { classic: true })
    assert.deepEqual(message?.attributes[0], { kind: 'mapped-address', endpoint: from })
  }
})

test('a classic request to answer from another address is refused, not answered from the wrong one', () => {
  const answer = answerBindingRequest(concatBytes(classicHeader(8), fromHex('0003000400000006')!), from)!
  const message = decodeMessage(answer, { classic: true })
  assert.equal(message?.messageClass, 'error')
  assert.deepEqual(message?.attributes[1], { kind: 'unknown-attributes', types: [0x0003] })
})

test('an attribute that must be understood and is not gets a 420 that names it', () => {
  const unknown = { kind: 'other', type: 0x0026, value: new Uint8Array(4) } as const
  const answer = decodeMessage(answerBindingRequest(encodeMessage({ ...request, attributes: [unknown] }), from)!)
  assert.equal(answer?.messageClass, 'error')
  assert.deepEqual(answer?.attributes.slice(0, 2), [
    { kind: 'error-code', code: 420, reason: 'Unknown Attribute' },
    { kind: 'unknown-attributes', types: [0x0026] },
  ])
})

test('anything but a Binding request gets no answer', () => {
  assert.equal(answerBindingRequest(encodeMessage({ ...request, messageClass: 'indication' }), from), undefined)
  assert.equal(answerBindingRequest(encodeMessage({ ...request, messageClass: 'success' }), from), undefined)
  assert.equal(answerBindingRequest(encodeMessage({ ...request, method: 3 }), from), undefined)
  assert.equal(answerBindingRequest(new Uint8Array(19), from), undefined)
  const spoiled = encodeMessage(request, { fingerprint: true }).slice()
  spoiled[27] = (spoiled[27] ?? 0) ^ 1
  assert.equal(answerBindingRequest(spoiled, from), undefined)
})

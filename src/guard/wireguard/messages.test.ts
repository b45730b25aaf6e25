import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeHandshakeMessage, encodeCookieReply, encodeInitiation, encodeResponse } from './messages.ts'

const index = fc.nat(0xffff_ffff)
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

test('an initiation reads as it was written, with both macs after it', () => {
  fc.assert(
    fc.property(index, bytes(32), bytes(48), bytes(28), (sender, ephemeral, encryptedStatic, encryptedTimestamp) => {
      const written = encodeInitiation({ sender, ephemeral, encryptedStatic, encryptedTimestamp })
      assert.equal(written.length, 148)
      assert.deepEqual(written.subarray(116), new Uint8Array(32))
      const expected = { kind: 'initiation', sender, ephemeral, encryptedStatic, encryptedTimestamp }
      assert.deepEqual(decodeHandshakeMessage(written), expected)
    }),
  )
})

test('a response and a cookie reply read as they were written', () => {
  fc.assert(
    fc.property(index, index, bytes(32), bytes(16), (sender, receiver, ephemeral, encryptedNothing) => {
      const written = encodeResponse({ sender, receiver, ephemeral, encryptedNothing })
      assert.equal(written.length, 92)
      const expected = { kind: 'response', sender, receiver, ephemeral, encryptedNothing }
      assert.deepEqual(decodeHandshakeMessage(written), expected)
    }),
  )
  fc.assert(
    fc.property(index, bytes(24), bytes(32), (receiver, nonce, encryptedCookie) => {
      const written = encodeCookieReply({ receiver, nonce, encryptedCookie })
      assert.equal(written.length, 64)
      assert.deepEqual(decodeHandshakeMessage(written), { kind: 'cookie-reply', receiver, nonce, encryptedCookie })
    }),
  )
})

test('a message one byte longer or shorter, or of another type, is none', () => {
  const messages: readonly [number, number][] = [
    [1, 148],
    [2, 92],
    [3, 64],
  ]
  for (const [type, length] of messages) {
    for (const size of [0, 3, length - 1, length, length + 1]) {
      const datagram = new Uint8Array(size)
      if (size > 0) datagram[0] = type
      assert.equal(decodeHandshakeMessage(datagram) !== undefined, size === length, `type ${type}, ${size} bytes`)
    }
    for (const at of [1, 2, 3]) {
      const reserved = new Uint8Array(length)
      reserved[0] = type
      reserved[at] = 1
      assert.equal(decodeHandshakeMessage(reserved), undefined)
    }
  }
  for (const type of [0, 4, 5, 255])
    assert.equal(decodeHandshakeMessage(new Uint8Array(148).fill(type, 0, 1)), undefined)
})

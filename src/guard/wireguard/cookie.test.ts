import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../testing/virtual-tunnel.ts'
import { COOKIE_TIME } from './constants.ts'
import { CookieChecker, CookieJar } from './cookie.ts'
import { importKeyPair } from './crypto.ts'
import { type CookieReply, decodeHandshakeMessage } from './messages.ts'

const { publicKey } = importKeyPair(new Uint8Array(32).fill(5))
const from = { address: '192.0.2.7', port: 700 }

function parties(): { checker: CookieChecker; jar: CookieJar } {
  return { checker: new CookieChecker(publicKey, seededRandom(1)), jar: new CookieJar(publicKey) }
}

function reply(datagram: Uint8Array): CookieReply {
  const message = decodeHandshakeMessage(datagram)
  return message?.kind === 'cookie-reply' ? message : assert.fail('no cookie reply')
}

test('mac1 shows that the sender knows our public key', () => {
  const { checker, jar } = parties()
  const message = new Uint8Array(148).fill(1)
  jar.setMacs(message, 0)
  assert.ok(checker.hasValidMac1(message))
  message[20] = 9
  assert.equal(checker.hasValidMac1(message), false)
  const other = new Uint8Array(148).fill(1)
  new CookieJar(importKeyPair(new Uint8Array(32).fill(6)).publicKey).setMacs(other, 0)
  assert.equal(checker.hasValidMac1(other), false)
})

test('a cookie makes mac2 valid from its own address, for two minutes', () => {
  const { checker, jar } = parties()
  const message = new Uint8Array(92).fill(1)
  jar.setMacs(message, 0)
  assert.equal(checker.hasValidMac2(message, from, 0), false)
  const cookie = reply(checker.createReply(message, from, { receiver: 3, now: 0 }))
  assert.equal(cookie.receiver, 3)
  assert.ok(jar.consumeReply(cookie, 10))

  const second = new Uint8Array(92).fill(2)
  jar.setMacs(second, 100)
  assert.ok(checker.hasValidMac2(second, from, 100))
  assert.equal(checker.hasValidMac2(second, { ...from, port: 701 }, 100), false)
  assert.equal(checker.hasValidMac2(second, { ...from, address: '192.0.2.8' }, 100), false)
  assert.equal(checker.hasValidMac2(second, from, COOKIE_TIME), false, 'the secret has changed')

  const third = new Uint8Array(92).fill(3)
  jar.setMacs(third, 10 + COOKIE_TIME)
  assert.deepEqual(third.subarray(76), new Uint8Array(16).fill(3), 'no mac2 with an old cookie')
})

test('only the reply to the last message is taken, and only once', () => {
  const { checker, jar } = parties()
  const first = new Uint8Array(148).fill(1)
  const second = new Uint8Array(148).fill(2)
  jar.setMacs(first, 0)
  const toFirst = reply(checker.createReply(first, from, { receiver: 1, now: 0 }))
  assert.equal(new CookieJar(publicKey).consumeReply(toFirst, 0), false, 'nothing was sent')
  jar.setMacs(second, 0)
  assert.equal(jar.consumeReply(toFirst, 0), false, 'bound to the mac1 of the first')
  const toSecond = reply(checker.createReply(second, from, { receiver: 1, now: 0 }))
  const forged = {
    ...toSecond,
    encryptedCookie: toSecond.encryptedCookie.map((byte, at) => (at === 3 ? byte ^ 1 : byte)),
  }
  assert.equal(jar.consumeReply(forged, 0), false)
  assert.ok(jar.consumeReply(toSecond, 0))
  assert.equal(jar.consumeReply(toSecond, 0), false)
})

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import fc from 'fast-check'
import { SecretKey } from '../../../api/keys.ts'
import { fromHex } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import {
  type DhtPublicKey,
  incrementNonce,
  keyPairOf,
  type LongTermPublicKey,
  sharedKey,
  toxCryptoReady,
} from '../crypto.ts'
import { PeerBox } from '../peer-box.ts'
import {
  decodeCookie,
  decodeCookieRequest,
  decodeCookieResponse,
  encodeCookie,
  encodeCookieRequest,
  encodeCookieResponse,
} from './cookie.ts'
import { type CryptoData, decodeCryptoData, encodeCryptoData, nonceEnd } from './crypto-data.ts'
import { decodeHandshake, encodeHandshake, handshakeCookie } from './handshake.ts'
import { SessionCipher } from './session-cipher.ts'

const vectors: Readonly<Record<string, string>> = JSON.parse(
  readFileSync(new URL('../../../../../test/vectors/tox.json', import.meta.url), 'utf8'),
)

function vector(name: string): Uint8Array {
  return fromHex(vectors[name] ?? '') ?? assert.fail(name)
}

/** Gives the nonce of the vectors, whatever is asked for. */
const fixed: Random = { bytes: () => vector('nonce') }
const secretA = new SecretKey(vector('skA'))
const secretB = new SecretKey(vector('skB'))
const echo = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)

interface TestKeys {
  readonly longTermA: LongTermPublicKey
  readonly dhtA: DhtPublicKey
  readonly longTermB: LongTermPublicKey
  readonly dhtB: DhtPublicKey
}

function keys(): TestKeys {
  return {
    longTermA: keyPairOf<LongTermPublicKey>(secretA).publicKey,
    dhtA: keyPairOf<DhtPublicKey>(secretA).publicKey,
    longTermB: keyPairOf<LongTermPublicKey>(secretB).publicKey,
    dhtB: keyPairOf<DhtPublicKey>(secretB).publicKey,
  }
}

before(() => toxCryptoReady)

test('a cookie is made as in the vector, and only its own key opens it', () => {
  const { longTermA, dhtB } = keys()
  const contents = { time: 100, longTermKey: longTermA, dhtKey: dhtB }
  const key = vector('cookieKey')
  const cookie = encodeCookie(contents, { key, random: fixed })
  assert.deepEqual(cookie, vector('cookie_t100_realA_dhtB'))
  assert.deepEqual(decodeCookie(cookie, key), contents)
  assert.equal(decodeCookie(cookie, vector('skA')), undefined)
  assert.equal(decodeCookie(cookie.subarray(1), key), undefined)
})

test('a cookie request is made as in the vector, and read by the other side', () => {
  const { longTermB, dhtA, dhtB } = keys()
  const request = { dhtKey: dhtA, longTermKey: longTermB, echo }
  const bytes =
    encodeCookieRequest(request, { box: new PeerBox({ secretKey: secretA }), peer: dhtB, random: fixed }) ??
    assert.fail()
  assert.deepEqual(bytes, vector('cookieReq_realPkB_echo'))
  assert.deepEqual(decodeCookieRequest(bytes, new PeerBox({ secretKey: secretB }), 0), request)
})

test('a cookie response gives the cookie and the echo back, and has 161 bytes', () => {
  const { dhtA, dhtB } = keys()
  const cookie = vector('cookie_t100_realA_dhtB')
  const boxB = new PeerBox({ secretKey: secretB })
  const bytes = encodeCookieResponse({ cookie, echo }, { box: boxB, peer: dhtA, random: fixed }) ?? assert.fail()
  assert.equal(bytes.length, 161)
  const boxA = new PeerBox({ secretKey: secretA })
  assert.deepEqual(decodeCookieResponse(bytes, { box: boxA, peer: dhtB }, 0), { cookie, echo })
})

test('a crypto handshake is made as in the vector, and bound to its cookie', () => {
  const cookie = vector('cookie_t100_realA_dhtB')
  const key = vector('sharedAB')
  assert.deepEqual(sharedKey(keys().longTermB, secretA), key)
  const handshake = {
    baseNonce: new Uint8Array(24).fill(0x55),
    sessionKey: new Uint8Array(32).fill(0x66),
    otherCookie: cookie,
  }
  const bytes = encodeHandshake(handshake, { cookie, key, random: fixed })
  assert.equal(bytes.length, 385)
  assert.deepEqual(new Uint8Array(createHash('sha256').update(bytes).digest()), vector('handshakeSha512'))
  assert.deepEqual(handshakeCookie(bytes), cookie)
  assert.deepEqual(decodeHandshake(bytes, key), handshake)
  const otherCookie = bytes.slice()
  otherCookie[1] = (otherCookie[1] ?? 0) ^ 1
  assert.equal(decodeHandshake(otherCookie, key), undefined)
})

test('a crypto data packet comes back whole, its length 8 apart from the longest', () => {
  const session = { key: vector('sharedAB'), nonce: vector('nonce') }
  const packet = fc.uint8Array({ minLength: 1, maxLength: 1_373 }).map((bytes) => {
    bytes[0] = 1 + ((bytes[0] ?? 0) % 255)
    return bytes
  })
  const number = fc.integer({ min: 0, max: 0xffff_ffff })
  fc.assert(
    fc.property(number, number, packet, (receiveStart, own, body) => {
      const data: CryptoData = { receiveStart, number: own, packet: body }
      const bytes = encodeCryptoData(data, session)
      assert.equal((1_400 - bytes.length) % 8, 0)
      assert.ok(bytes.length <= 1_400)
      assert.equal(nonceEnd(bytes), 0x1617)
      assert.deepEqual(decodeCryptoData(bytes, session), { kind: 'data', data })
    }),
    { numRuns: 40, seed: 1 },
  )
  assert.equal(encodeCryptoData({ receiveStart: 0, number: 0, packet: Uint8Array.of(1) }, session).length, 32)
  const empty = encodeCryptoData({ receiveStart: 0, number: 0, packet: Uint8Array.of(0) }, session)
  assert.deepEqual(decodeCryptoData(empty, session), { kind: 'empty' })
})

test('a session cipher opens any packet up to 21845 ahead of the last, each once', () => {
  const baseNonce = new Uint8Array(24).fill(0xff)
  const key = vector('sharedAB')
  const cipher = new SessionCipher({ key, ownBaseNonce: baseNonce, peerBaseNonce: baseNonce })
  const at = (counter: number): Uint8Array =>
    encodeCryptoData(
      { receiveStart: 0, number: 0, packet: Uint8Array.of(1) },
      { key, nonce: incrementNonce(baseNonce, counter) },
    )
  let counter = 0
  for (const ahead of [0, 1, 2, 21_845, 21_845, 1, 21_845, 1, 21_845, 21_845]) {
    counter += ahead
    const opened = cipher.open(at(counter))
    if (opened === undefined || typeof opened === 'string') return assert.fail(`${counter}: ${opened}`)
    assert.equal(opened.counter, counter)
    assert.equal(cipher.accept(opened), true)
    assert.equal(cipher.open(at(counter)), 'replayed')
  }
  const late = cipher.open(at(counter - 1_000))
  if (late === undefined || typeof late === 'string') return assert.fail()
  assert.equal(cipher.accept(late), false)
  assert.equal(cipher.open(at(counter - 3_000)), 'replayed')
})

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { SecretKey } from '../../api/keys.ts'
import { fromHex, toHex, toUtf8 } from '../../util/bytes.ts'
import {
  incrementNonce,
  keyPairOf,
  longTermPublicKey,
  open,
  SharedKeyCache,
  seal,
  sha512,
  sharedKey,
  toxCryptoReady,
} from './crypto.ts'
import { decodeOnionAddress, decodePackedNodes, encodeOnionAddress, encodePackedNodes } from './packed-node.ts'
import { PeerBox } from './peer-box.ts'
import { formatToxId, nospamOf, parseToxId } from './tox-id.ts'

await toxCryptoReady

type Name = 'skA' | 'skB' | 'pkA' | 'pkB' | 'sharedAB' | 'nonce' | 'boxHello' | 'toxIdA' | 'packedUdp4' | 'packedTcp4'
const vectors: Readonly<Record<Name | 'ipPort19' | 'incFF' | 'incWrap', string>> = JSON.parse(
  readFileSync(new URL('../../../../test/vectors/tox.json', import.meta.url), 'utf8'),
)

const hex = (text: string): Uint8Array => fromHex(text)!
const a = keyPairOf(new SecretKey(hex(vectors.skA)))
const b = keyPairOf(new SecretKey(hex(vectors.skB)))
const nonce = hex(vectors.nonce)

test('public and shared keys, boxes and nonces are those of the interoperating vectors', () => {
  assert.equal(toHex(a.publicKey), vectors.pkA)
  assert.equal(toHex(b.publicKey), vectors.pkB)
  const key = sharedKey(b.publicKey, a.secretKey)!
  assert.equal(toHex(key), vectors.sharedAB)
  assert.deepEqual(sharedKey(a.publicKey, b.secretKey), key)
  const boxed = seal(key, nonce, toUtf8('hello'))
  assert.equal(toHex(boxed), vectors.boxHello)
  assert.deepEqual(open(key, nonce, boxed), toUtf8('hello'))
  assert.equal(toHex(incrementNonce(hex(`${'00'.repeat(22)}ffff`))), vectors.incFF)
  assert.equal(toHex(incrementNonce(new Uint8Array(24).fill(255))), vectors.incWrap)
  assert.equal(toHex(incrementNonce(hex('00'.repeat(24)), 65_537)), `${'00'.repeat(21)}010001`)
  assert.equal(toHex(sha512(toUtf8('abc'))).slice(0, 32), 'ddaf35a193617abacc417349ae204131')
})

test('a changed, short or foreign box does not open', () => {
  const key = sharedKey(b.publicKey, a.secretKey)!
  const boxed = seal(key, nonce, toUtf8('hello'))
  for (let at = 0; at < boxed.length; at += 1) {
    const changed = boxed.slice()
    changed[at] = changed[at]! ^ 1
    assert.equal(open(key, nonce, changed), undefined)
    assert.equal(open(key, nonce, boxed.subarray(0, at)), undefined)
  }
  assert.equal(open(key, incrementNonce(nonce), boxed), undefined)
})

test('a public key of low order gives no shared key', () => {
  assert.equal(sharedKey(new Uint8Array(32), a.secretKey), undefined)
  assert.equal(new SharedKeyCache(a.secretKey).get(new Uint8Array(32)), undefined)
})

test('a public key has no second name', () => {
  const second = b.publicKey.map((byte, at) => (at === 31 ? byte ^ 0x80 : byte))
  assert.equal(sharedKey(second, a.secretKey), undefined)
})

test('the cache of shared keys forgets the least recently used one', () => {
  const cache = new SharedKeyCache(a.secretKey, { capacity: 2 })
  const third = keyPairOf(new SecretKey(new Uint8Array(32).fill(3))).publicKey
  const first = cache.get(a.publicKey)
  cache.get(b.publicKey)
  assert.equal(cache.get(a.publicKey), first)
  cache.get(third)
  assert.equal(cache.size, 2)
  assert.equal(cache.peek(b.publicKey), undefined)
  assert.equal(cache.peek(a.publicKey), first)
})

test('unknown keys are tried at a limited rate and remembered only when they open something', () => {
  const box = new PeerBox({ secretKey: b.secretKey, unknownKeysPerSecond: 10 })
  const sealed = { nonce, boxed: seal(sharedKey(b.publicKey, a.secretKey)!, nonce, toUtf8('hello')) }
  for (let index = 0; index < 10; index += 1) {
    const stranger = keyPairOf(new SecretKey(new Uint8Array(32).fill(index + 40))).publicKey
    assert.equal(box.open(stranger, sealed, 0), undefined)
  }
  assert.equal(box.cachedKeys, 0)
  assert.equal(box.open(a.publicKey, sealed, 0), undefined)
  assert.equal(box.refused, 1)
  assert.deepEqual(box.open(a.publicKey, sealed, 100), toUtf8('hello'))
  assert.deepEqual(box.open(a.publicKey, sealed, 100), toUtf8('hello'), 'a known key costs no token')
  assert.equal(box.cachedKeys, 1)
})

test('a Tox ID is read and written as on the wire, and a wrong digit is noticed', () => {
  const id = { publicKey: longTermPublicKey(a.publicKey)!, nospam: nospamOf(hex('deadbeef'))! }
  assert.equal(formatToxId(id), vectors.toxIdA)
  assert.deepEqual(parseToxId(` ${vectors.toxIdA.toLowerCase()}\n`), id)
  assert.equal(parseToxId(vectors.toxIdA.replace('7B4E', '7B4F')), undefined)
  assert.equal(parseToxId(vectors.toxIdA.slice(2)), undefined)
  assert.equal(parseToxId('not a Tox ID'), undefined)
})

test('packed nodes and onion addresses are those of the vectors', () => {
  const [udp] = decodePackedNodes(hex(vectors.packedUdp4), 4)!
  assert.deepEqual(udp?.endpoint, { address: '203.0.113.5', port: 33_445 })
  assert.equal(udp?.transport, 'udp')
  const both = decodePackedNodes(hex(vectors.packedUdp4 + vectors.packedTcp4), 2)!
  assert.equal(both[1]?.transport, 'tcp')
  assert.equal(toHex(encodePackedNodes(both)), vectors.packedUdp4 + vectors.packedTcp4)
  assert.equal(decodePackedNodes(hex(vectors.packedUdp4 + vectors.packedTcp4), 1), undefined, 'one too many')
  assert.equal(decodePackedNodes(hex(vectors.packedUdp4).subarray(1), 4), undefined)
  assert.equal(decodePackedNodes(hex(vectors.packedUdp4).subarray(0, 38), 4), undefined)
  assert.equal(toHex(encodeOnionAddress(udp!.endpoint)), vectors.ipPort19)
  assert.deepEqual(decodeOnionAddress(hex(vectors.ipPort19)), udp?.endpoint)
  const ipv6 = { transport: 'udp', endpoint: { address: '2001:db8::1', port: 1 }, publicKey: udp!.publicKey } as const
  assert.deepEqual(decodePackedNodes(encodePackedNodes([ipv6]), 1), [ipv6])
  assert.deepEqual(decodeOnionAddress(encodeOnionAddress(ipv6.endpoint)), ipv6.endpoint)
})

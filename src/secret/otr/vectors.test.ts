import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ByteReader } from '../../util/byte-reader.ts'
import { compareBytes, fromHex, toHex } from '../../util/bytes.ts'
import { fingerprintOf } from './account.ts'
import { dhGenerator, dhPower } from './dh.ts'
import { DsaSigner, encodeDsaPublicKey, readDsaPublicKey, verifyDsa } from './dsa.ts'
import { bytesToNumber } from './encoding.ts'
import { deriveAkeSecrets, deriveDataKeys } from './key-derivation.ts'
import { TestRandom } from './two-ends.test-support.ts'

type Name = 'x' | 'y' | 'gx' | 'gy' | 's' | 'ssid' | 'c' | 'c_prime' | 'm1' | 'm2' | 'm1_prime' | 'm2_prime'
type DataName = 'x_send_aes' | 'x_send_mac' | 'x_recv_aes' | 'x_recv_mac'
type DsaName = 'p' | 'q' | 'g' | 'y' | 'x' | 'fingerprint' | 'msg32' | 'sig'
type Vectors = Readonly<Record<Name | DataName, string>> & {
  readonly x_is_high: boolean
  readonly dsa: Readonly<Record<DsaName, string>>
}

const vectors: Vectors = JSON.parse(readFileSync(new URL('../../../../test/vectors/otr.json', import.meta.url), 'utf8'))

function bytes(hex: string): Uint8Array {
  return fromHex(hex) ?? assert.fail('not hex')
}

const x = { privateKey: bytes(vectors.x), publicKey: bytes(vectors.gx) }
const y = { privateKey: bytes(vectors.y), publicKey: bytes(vectors.gy) }

test('powers of the group are those of the vectors', () => {
  assert.equal(toHex(dhPower(dhGenerator, x.privateKey)), vectors.gx)
  assert.equal(toHex(dhPower(dhGenerator, y.privateKey)), vectors.gy)
  assert.equal(toHex(dhPower(y.publicKey, x.privateKey)), vectors.s)
})

test('both ends derive the session id and the signature keys of the vectors', () => {
  for (const secrets of [deriveAkeSecrets(x, y.publicKey), deriveAkeSecrets(y, x.publicKey)]) {
    const { sessionId, reveal, signature } = secrets
    assert.equal(toHex(sessionId), vectors.ssid)
    assert.deepEqual([toHex(reveal.c), toHex(reveal.m1), toHex(reveal.m2)], [vectors.c, vectors.m1, vectors.m2])
    assert.deepEqual(
      [toHex(signature.c), toHex(signature.m1), toHex(signature.m2)],
      [vectors.c_prime, vectors.m1_prime, vectors.m2_prime],
    )
  }
})

test('the keys of data messages are those that libotr derives, mirrored at the other end', () => {
  const [mine, theirs] = [deriveDataKeys(x, y.publicKey), deriveDataKeys(y, x.publicKey)]
  assert.equal(compareBytes(x.publicKey, y.publicKey) > 0, vectors.x_is_high)
  assert.deepEqual([mine.sendingAes, mine.sendingMac, mine.receivingAes, mine.receivingMac].map(toHex), [
    vectors.x_send_aes,
    vectors.x_send_mac,
    vectors.x_recv_aes,
    vectors.x_recv_mac,
  ])
  assert.deepEqual(
    [theirs.receivingAes, theirs.receivingMac, theirs.sendingAes, theirs.sendingMac],
    [mine.sendingAes, mine.sendingMac, mine.receivingAes, mine.receivingMac],
  )
})

test('a key of libotr has the fingerprint libotr printed, and its signature verifies', () => {
  const [p, q, g, keyY] = [vectors.dsa.p, vectors.dsa.q, vectors.dsa.g, vectors.dsa.y].map((hex) =>
    bytesToNumber(bytes(hex)),
  )
  const key = { p: p!, q: q!, g: g!, y: keyY! }
  const encoded = encodeDsaPublicKey(key)
  assert.equal(toHex(fingerprintOf(encoded)), vectors.dsa.fingerprint)
  assert.deepEqual(readDsaPublicKey(new ByteReader(encoded)), key)
  assert.ok(verifyDsa(key, bytes(vectors.dsa.msg32), bytes(vectors.dsa.sig)))

  const signer = new DsaSigner({ ...key, x: bytesToNumber(bytes(vectors.dsa.x)) })
  const signature = signer.sign(bytes(vectors.dsa.msg32), new TestRandom(1))
  assert.ok(verifyDsa(key, bytes(vectors.dsa.msg32), signature))
})

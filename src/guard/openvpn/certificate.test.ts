import assert from 'node:assert/strict'
import { createPublicKey, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { SecretKey, tunnelPublicKey } from '../../api/keys.ts'
import { toHex } from '../../util/bytes.ts'
import { createCertificate, toPem } from './certificate.ts'
import { certificateSeed, isServer, staticKey } from './keys.ts'

const seed = (value: number): Uint8Array => new Uint8Array(32).fill(value)

test('a certificate is signed by its own key, valid for ever, and known by its fingerprint', () => {
  const { der, fingerprint, privateKey } = createCertificate(seed(1))
  const read = new X509Certificate(der)
  assert.ok(read.verify(read.publicKey))
  assert.ok(read.checkPrivateKey(privateKey))
  assert.deepEqual([read.subject, read.issuer], ['CN=punchguard', 'CN=punchguard'])
  assert.deepEqual([read.validFrom, read.validTo], ['Jan  1 00:00:00 1970 GMT', 'Dec 31 23:59:59 9999 GMT'])
  assert.equal(read.fingerprint256.replaceAll(':', '').toLowerCase(), toHex(fingerprint))
  assert.equal(read.publicKey.asymmetricKeyType, 'ed25519')
})

test('the same seed gives the same certificate, another seed another one', () => {
  assert.deepEqual(createCertificate(seed(1)).der, createCertificate(seed(1)).der)
  assert.notDeepEqual(createCertificate(seed(1)).fingerprint, createCertificate(seed(2)).fingerprint)
})

test('the key is the one of RFC 8410 §10.3', () => {
  const { privateKey } = createCertificate(
    new Uint8Array(Buffer.from('d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842', 'hex')),
  )
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  assert.equal(spki.toString('base64'), 'MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=')
})

test('PEM never has an empty line, whatever the length', () => {
  for (let length = 1; length < 200; length++) {
    const lines = toPem('KEY', new Uint8Array(length)).split('\n')
    assert.ok(lines.slice(1, -1).every((line) => line.length > 0 && line.length <= 64))
    assert.equal(Buffer.from(lines.slice(1, -1).join(''), 'base64').length, length)
  }
})

test('both ends derive the same static key, and exactly one of them is the server', () => {
  const one = tunnelPublicKey(seed(5))!
  const other = tunnelPublicKey(seed(6))!
  const presharedKey = new SecretKey(seed(7))
  const here = staticKey(presharedKey, { own: one, peer: other })
  assert.equal(here.reveal().length, 256)
  assert.deepEqual(here.reveal(), staticKey(presharedKey, { own: other, peer: one }).reveal())
  assert.notDeepEqual(here.reveal(), staticKey(new SecretKey(seed(8)), { own: one, peer: other }).reveal())
  assert.notDeepEqual(here.reveal(), staticKey(presharedKey, { own: one, peer: one }).reveal())
  assert.deepEqual([isServer({ own: one, peer: other }), isServer({ own: other, peer: one })], [true, false])
})

test('the seed of the certificate does not tell the private key', () => {
  const privateKey = new SecretKey(seed(9))
  const derived = certificateSeed(privateKey).reveal()
  assert.equal(derived.length, 32)
  assert.notDeepEqual(derived, privateKey.reveal())
  assert.deepEqual(derived, certificateSeed(privateKey).reveal())
})

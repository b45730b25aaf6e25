import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SecretKey } from '../../api/keys.ts'
import { systemRandom } from '../../util/random.ts'
import { areCredentials, randomCredentials, resumeAssociation } from './credentials.ts'

test('credentials we make have the form and the strength of RFC 8445 §5.3', () => {
  const credentials = randomCredentials(systemRandom)
  assert.ok(areCredentials(credentials))
  // At least 24 and 128 bits; ours have 48 and 192.
  assert.deepEqual([credentials.ufrag.length, credentials.password.length], [8, 32])
  assert.notDeepEqual(randomCredentials(systemRandom), credentials)
})

test('credentials too short, too long or of other characters are refused', () => {
  const password = 'p'.repeat(22)
  assert.ok(areCredentials({ ufrag: 'abcd', password }))
  for (const ufrag of ['', 'abc', 'a'.repeat(257), 'ab:cd', 'abcd\n', 'ab=d']) {
    assert.equal(areCredentials({ ufrag, password }), false, ufrag)
  }
  assert.equal(areCredentials({ ufrag: 'abcd', password: 'p'.repeat(21) }), false)
})

test('both ends derive the same association from a secret, mirrored by role', () => {
  const secret = new SecretKey(new Uint8Array(32).fill(1))
  const controlling = resumeAssociation({ secret, controlling: true })
  const controlled = resumeAssociation({ secret, controlling: false })
  assert.deepEqual(controlling, { local: controlled.remote, remote: controlled.local })
  assert.notDeepEqual(controlling.local, controlling.remote)
  assert.ok(areCredentials(controlling.local) && areCredentials(controlling.remote))
  const other = resumeAssociation({ secret: new SecretKey(new Uint8Array(32).fill(2)), controlling: true })
  assert.notEqual(other.local.ufrag, controlling.local.ufrag)
  // RFC 5869 with SHA-256, no salt, info "punchguard resume controlling": must never change between versions.
  assert.equal(controlling.local.ufrag, 'Ef1fUwN5')
})

import assert from 'node:assert/strict'
import { createPrivateKey, sign, verify } from 'node:crypto'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { PunchGuardError } from '../api/errors.ts'
import { toBase64 } from '../util/bytes.ts'
import { systemRandom } from '../util/random.ts'
import { createIdentity, encodeIdentity, parseIdentity } from './identity.ts'

test('a new identity has keys of the right shape and survives being stored', async () => {
  const identity = await createIdentity({ random: systemRandom })
  for (const key of [identity.toxSecretKey, identity.tunnelPrivateKey]) {
    const bytes = key.reveal()
    assert.equal(bytes.length, 32)
    assert.equal(bytes[0]! & 7, 0)
    assert.equal(bytes[31]! & 0xc0, 0x40)
  }
  assert.equal(identity.identitySeed.reveal().length, 32)
  assert.equal(identity.nospam.length, 4)
  assert.ok(identity.otrInstanceTag >= 0x100 && identity.otrInstanceTag <= 0xffffffff)
  const stored: unknown = JSON.parse(JSON.stringify(encodeIdentity(identity)))
  assert.deepEqual(encodeIdentity(parseIdentity(stored)), encodeIdentity(identity))
})

test('the OTR key is a DSA key of 1024 and 160 bits that signs', async () => {
  const { otrPrivateKey } = await createIdentity({ random: systemRandom })
  const key = createPrivateKey({ key: Buffer.from(otrPrivateKey.reveal()), format: 'der', type: 'pkcs8' })
  assert.deepEqual(key.asymmetricKeyDetails, { modulusLength: 1024, divisorLength: 160 })
  const message = Buffer.from('message')
  assert.ok(verify('sha1', message, key, sign('sha1', message, key)))
})

test('an identity printed or logged shows none of its secrets', async () => {
  const identity = await createIdentity({ random: systemRandom })
  const shown = inspect(identity, { depth: 5, showHidden: true }) + JSON.stringify(identity)
  for (const value of Object.values(encodeIdentity(identity) as Record<string, unknown>)) {
    if (typeof value === 'string' && value.length > 20) assert.ok(!shown.includes(value))
  }
  assert.match(shown, /\[secret\]/)
})

test('a damaged identity is refused with the place and without its content', async () => {
  const identity = await createIdentity({ random: systemRandom })
  const good = encodeIdentity(identity) as Record<string, unknown>
  const damages: Record<string, unknown> = {
    version: 2,
    toxSecretKey: 'AAAA',
    nospam: 'AAAAAAAA',
    otrPrivateKey: toBase64(identity.otrPrivateKey.reveal().subarray(0, -3)),
    otrInstanceTag: 255,
    identitySeed: `${toBase64(identity.identitySeed.reveal())}x`,
    tunnelPrivateKey: null,
  }
  for (const [key, value] of Object.entries(damages)) {
    assert.throws(
      () => parseIdentity({ ...good, [key]: value }),
      (error) => {
        assert.ok(error instanceof PunchGuardError && error.code === 'STATE_DAMAGED')
        assert.equal(error.message, `the stored identity is damaged (${key})`)
        assert.match(error.hint, /identity\.json/)
        return true
      },
    )
  }
  for (const value of [undefined, null, 'x', []]) {
    assert.throws(
      () => parseIdentity(value),
      (error) => error instanceof PunchGuardError && error.code === 'STATE_DAMAGED',
    )
  }
})

import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { PunchGuardError } from '../../api/errors.ts'
import { SecretKey } from '../../api/keys.ts'
import { ByteReader } from '../../util/byte-reader.ts'
import { toHex } from '../../util/bytes.ts'
import { generateOtrPrivateKey, otrAccount, randomInstanceTag } from './account.ts'
import { readDsaPublicKey, verifyDsa } from './dsa.ts'
import { storedKey, TestRandom } from './two-ends.test-support.ts'

const random = new TestRandom(1)

test('a generated key makes an account whose signatures verify', async () => {
  const account = otrAccount({ privateKey: await generateOtrPrivateKey(), instanceTag: randomInstanceTag(random) })
  const key = readDsaPublicKey(new ByteReader(account.publicKey)) ?? assert.fail()
  const message = random.bytes(32)
  const signature = account.sign(message, random)
  assert.equal(account.fingerprint.length, 20)
  assert.ok(verifyDsa(key, message, signature))
  assert.ok(!verifyDsa(key, random.bytes(32), signature))
})

test('signatures verify for any message, differ every time, and not when a bit is changed', () => {
  const account = otrAccount({ privateKey: storedKey(0), instanceTag: 0x100 })
  const key = readDsaPublicKey(new ByteReader(account.publicKey)) ?? assert.fail()
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(319), (message, bit) => {
      const signature = account.sign(message, random)
      assert.ok(verifyDsa(key, message, signature))
      assert.notEqual(toHex(account.sign(message, random)), toHex(signature))
      signature[bit >> 3] = (signature[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      assert.ok(!verifyDsa(key, message, signature))
    }),
    { numRuns: 12, seed: 1 },
  )
  const message = new Uint8Array(32)
  assert.ok(!verifyDsa(key, message, new Uint8Array(40)))
  assert.ok(!verifyDsa(key, message, new Uint8Array(40).fill(0xff)))
  assert.ok(!verifyDsa(key, message, account.sign(message, random).subarray(1)))
})

test('the same random bytes never sign two messages with one nonce', () => {
  const account = otrAccount({ privateKey: storedKey(0), instanceTag: 0x100 })
  const sameBytes = { bytes: (length: number) => new Uint8Array(length).fill(5) }
  const [one, two] = [1, 2].map((byte) => account.sign(new Uint8Array(32).fill(byte), sameBytes).slice(0, 20))
  assert.notDeepEqual(one, two)
})

test('a key or tag that is not one is refused in words that hold no secret', () => {
  const der = storedKey(0).reveal()
  const rsa = generateKeyPairSync('rsa', { modulusLength: 512 }).privateKey.export({ type: 'pkcs8', format: 'der' })
  const bad = [new Uint8Array(), der.subarray(0, 300), new Uint8Array(rsa), der.slice().fill(0, 40, 60)]
  // The private number is the last INTEGER: 0 and something above q are no keys.
  bad.push(der.slice().fill(0, der.length - 20), der.slice().fill(0xff, der.length - 20))
  for (const bytes of bad) {
    assert.throws(
      () => otrAccount({ privateKey: new SecretKey(bytes), instanceTag: 0x100 }),
      (error: unknown) => {
        assert.ok(error instanceof PunchGuardError && error.code === 'STATE_DAMAGED')
        const shown = inspect(error, { depth: 9, showHidden: true })
        return !shown.includes(toHex(der.subarray(-20))) && !shown.includes('cause')
      },
    )
  }
  for (const instanceTag of [0, 0xff, -1, 1.5, 2 ** 32, Number.NaN]) {
    assert.throws(() => otrAccount({ privateKey: storedKey(0), instanceTag }), PunchGuardError)
  }
})

test('an account shows no private number', () => {
  const account = otrAccount({ privateKey: storedKey(0), instanceTag: 0x100 })
  const x = BigInt(`0x${toHex(storedKey(0).reveal().subarray(-20))}`)
  const shown = `${inspect(account, { depth: 9, showHidden: true })} ${JSON.stringify(account)}`
  assert.ok(!shown.includes(`${x}`) && !shown.includes(x.toString(16)))
})

test('damaged PKCS#8 never throws anything but the one error', () => {
  const der = storedKey(0).reveal()
  let refused = 0
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.nat(255), (at, byte) => {
      const changed = der.slice()
      changed[at] = byte
      // Building a group from changed numbers takes OpenSSL long: look at what comes before them.
      if (at > 24) changed[at % 24] = byte
      try {
        otrAccount({ privateKey: new SecretKey(changed), instanceTag: 0x100 })
      } catch (error) {
        assert.ok(error instanceof PunchGuardError)
        refused += 1
      }
    }),
    { numRuns: 40, seed: 1 },
  )
  assert.ok(refused > 0)
})

test('instance tags are never among the reserved ones', () => {
  const words = [0, 0xff, 0x100]
  const scripted = {
    bytes: () => {
      const bytes = new Uint8Array(4)
      new DataView(bytes.buffer).setUint32(0, words.shift() ?? assert.fail())
      return bytes
    },
  }
  assert.equal(randomInstanceTag(scripted), 0x100)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { type IdentityPublicKey, type OtrFingerprint, otrFingerprint, SecretKey } from '../api/keys.ts'
import type { KeyAgreementRun, KeyAgreementStep } from '../api/roles.ts'
import { fromHex, toHex } from '../util/bytes.ts'
import { TestRandom } from './otr/two-ends.test-support.ts'
import { identityPublicKeyOf, PresharedKeyAgreement } from './preshared-key.ts'

function seed(byte: number): SecretKey {
  return new SecretKey(new Uint8Array(32).fill(byte))
}

function fingerprint(byte: number): OtrFingerprint {
  return otrFingerprint(new Uint8Array(20).fill(byte)) ?? assert.fail()
}

interface EndOptions {
  readonly ownSeed?: SecretKey
  readonly peerIdentity?: IdentityPublicKey
  readonly sessionId?: Uint8Array
  readonly ownFingerprint?: OtrFingerprint
  readonly peerFingerprint?: OtrFingerprint
  readonly context?: Uint8Array
}

const sessionId = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)

function initiator(options: EndOptions = {}): KeyAgreementRun {
  const { ownSeed = seed(1), peerIdentity = identityPublicKeyOf(seed(2)), context } = options
  const random = new TestRandom(1)
  return new PresharedKeyAgreement({ identitySeed: ownSeed, peerIdentity, random, ...(context && { context }) }).begin({
    initiator: true,
    sessionId: options.sessionId ?? sessionId,
    ownFingerprint: options.ownFingerprint ?? fingerprint(10),
    peerFingerprint: options.peerFingerprint ?? fingerprint(20),
  })
}

function responder(options: EndOptions = {}): KeyAgreementRun {
  const { ownSeed = seed(2), peerIdentity = identityPublicKeyOf(seed(1)), context } = options
  const random = new TestRandom(2)
  return new PresharedKeyAgreement({ identitySeed: ownSeed, peerIdentity, random, ...(context && { context }) }).begin({
    initiator: false,
    sessionId: options.sessionId ?? sessionId,
    ownFingerprint: options.ownFingerprint ?? fingerprint(20),
    peerFingerprint: options.peerFingerprint ?? fingerprint(10),
  })
}

function sent(step: KeyAgreementStep): Uint8Array {
  return step.send ?? assert.fail(`nothing was sent: ${step.refused}`)
}

/** Runs until the end or the first refusal; which message it was refused at. */
function run(a: KeyAgreementRun, b: KeyAgreementRun): { refused?: string; keys: (SecretKey | undefined)[] } {
  const response = b.receive(sent(a.start()))
  if (response.refused !== undefined) return { refused: `request: ${response.refused}`, keys: [] }
  const confirmation = a.receive(sent(response))
  if (confirmation.refused !== undefined) return { refused: `response: ${confirmation.refused}`, keys: [] }
  const last = b.receive(sent(confirmation))
  if (last.refused !== undefined) return { refused: `confirmation: ${last.refused}`, keys: [] }
  return { keys: [confirmation.presharedKey, last.presharedKey] }
}

test('both ends get the same key: the initiator with the response, the responder with the confirmation', () => {
  const [a, b] = [initiator(), responder()]
  assert.deepEqual(b.start(), {})
  const request = a.start()
  assert.equal(sent(request).length, 1249)
  assert.equal(request.presharedKey, undefined)
  const response = b.receive(sent(request))
  assert.equal(sent(response).length, 1217)
  assert.equal(response.presharedKey, undefined)
  const confirmation = a.receive(sent(response))
  assert.equal(sent(confirmation).length, 65)
  const last = b.receive(sent(confirmation))
  assert.equal(last.send, undefined)
  assert.ok(confirmation.presharedKey !== undefined && last.presharedKey !== undefined)
  assert.equal(confirmation.presharedKey.reveal().length, 32)
  assert.deepEqual(confirmation.presharedKey.reveal(), last.presharedKey.reveal())
})

test('the identity key is that of RFC 8032', () => {
  const secret = fromHex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60') ?? assert.fail()
  const expected = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'
  assert.equal(toHex(identityPublicKeyOf(new SecretKey(secret))), expected)
})

test('an end that is bound to anything else is refused', () => {
  const cases: readonly [string, EndOptions, EndOptions, RegExp][] = [
    ['initiator is not who was pinned', { ownSeed: seed(3) }, {}, /^request: another identity/],
    ['responder is not who was pinned', {}, { ownSeed: seed(3) }, /^response: another identity/],
    ['another session', {}, { sessionId: Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1) }, /^response: a signature/],
    ['another fingerprint', {}, { ownFingerprint: fingerprint(21) }, /^response: a signature/],
    ['another peer fingerprint', {}, { peerFingerprint: fingerprint(11) }, /^response: a signature/],
    ['another context', { context: Uint8Array.of(1) }, { context: Uint8Array.of(2) }, /^response: a signature/],
    ['a context at one end only', { context: Uint8Array.of(1) }, {}, /^response: a signature/],
  ]
  for (const [name, a, b, expected] of cases) {
    const { refused, keys } = run(initiator(a), responder(b))
    assert.match(refused ?? 'agreed', expected, name)
    assert.deepEqual(keys, [], name)
  }
})

test('the same context at both ends is agreed upon, and changes the key', () => {
  const context = new Uint8Array(64).fill(9)
  const [one, two] = run(initiator({ context }), responder({ context })).keys
  assert.ok(one && two)
  assert.deepEqual(one.reveal(), two.reveal())
  assert.notDeepEqual(one.reveal(), run(initiator(), responder()).keys[0]?.reveal())
})

test('every changed bit is refused, and ends the run', () => {
  const request = sent(initiator().start())
  const response = sent(responder().receive(request))
  fc.assert(
    fc.property(fc.nat(response.length * 8 - 1), (bit) => {
      const a = initiator()
      a.start()
      const step = a.receive(flipped(response, bit))
      assert.equal(typeof step.refused, 'string')
      assert.equal(step.presharedKey, undefined)
      assert.equal(typeof a.receive(response).refused, 'string')
    }),
    { numRuns: 25, seed: 1 },
  )
  fc.assert(
    fc.property(fc.nat(request.length * 8 - 1), (bit) => {
      const [a, b] = [initiator(), responder()]
      a.start()
      const step = b.receive(flipped(request, bit))
      // A changed ephemeral key gets an answer: the signature over it then tells the initiator.
      if (step.send === undefined) assert.equal(typeof step.refused, 'string')
      else assert.match(a.receive(step.send).refused ?? 'agreed', /signature/)
    }),
    { numRuns: 25, seed: 1 },
  )
  for (let bit = 0; bit < 65 * 8; bit += 37) {
    const [a, b] = [initiator(), responder()]
    const confirmation = sent(a.receive(sent(b.receive(sent(a.start())))))
    const step = b.receive(flipped(confirmation, bit))
    assert.equal(typeof step.refused, 'string')
    assert.equal(step.presharedKey, undefined)
    assert.equal(typeof b.receive(confirmation).refused, 'string')
  }
})

test('messages of another length, of another run or in the wrong place are refused', () => {
  const [a, b] = [initiator(), responder()]
  const request = sent(a.start())
  const response = sent(b.receive(request))
  const confirmation = sent(a.receive(response))
  const messages = [request, response, confirmation]
  for (const message of [...messages, new Uint8Array(), ...messages.map((whole) => whole.subarray(1))]) {
    if (message !== request) assert.equal(typeof responder().receive(message).refused, 'string')
    const fresh = initiator()
    assert.equal(typeof fresh.receive(message).refused, 'string')
  }
  const longer = new Uint8Array([...response, 0])
  const late = initiator()
  late.start()
  assert.equal(late.receive(longer).refused, 'a malformed response')
  // The confirmation of one run is worth nothing in the next one, in which the responder draws other numbers.
  const next = new PresharedKeyAgreement({
    identitySeed: seed(2),
    peerIdentity: identityPublicKeyOf(seed(1)),
    random: new TestRandom(3),
  }).begin({ initiator: false, sessionId, ownFingerprint: fingerprint(20), peerFingerprint: fingerprint(10) })
  assert.notDeepEqual(sent(next.receive(request)), response)
  assert.match(next.receive(confirmation).refused ?? 'agreed', /signature/)
})

test('an unusable X25519 or ML-KEM key is refused', () => {
  const request = sent(initiator().start())
  const zeroPoint = request.slice().fill(0, 33, 65)
  assert.match(responder().receive(zeroPoint).refused ?? 'agreed', /X25519/)
  // Coefficients of 4095 are above the modulus 3329.
  const tooLarge = request.slice().fill(0xff, 65, 65 + 1152)
  assert.match(responder().receive(tooLarge).refused ?? 'agreed', /ML-KEM/)
})

test('random bytes are refused and never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1300 }), fc.boolean(), (bytes, typed) => {
      if (typed && bytes.length > 0) bytes[0] = 1 + ((bytes[0] ?? 0) % 3)
      const a = initiator()
      a.start()
      assert.equal(typeof a.receive(bytes).refused, 'string')
      assert.equal(typeof responder().receive(bytes).refused, 'string')
    }),
    { numRuns: 40, seed: 1 },
  )
})

test('runs and results show no secret', () => {
  const [a, b] = [initiator(), responder()]
  const step = a.receive(sent(b.receive(sent(a.start()))))
  const shown = `${inspect(a, { depth: 9, showHidden: true })} ${inspect(step)} ${JSON.stringify(step)}`
  assert.ok(!shown.includes(toHex(step.presharedKey?.reveal() ?? new Uint8Array())))
  assert.ok(inspect(step).includes('[secret]'))
  assert.throws(
    () =>
      new PresharedKeyAgreement({
        identitySeed: new SecretKey(new Uint8Array(31).fill(0xab)),
        peerIdentity: identityPublicKeyOf(seed(1)),
        random: new TestRandom(1),
      }),
    (error: Error) => error instanceof RangeError && !error.message.includes('ab,ab') && !error.message.includes('171'),
  )
})

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = bytes.slice()
  changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return changed
}

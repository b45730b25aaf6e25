import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHex } from '../../util/bytes.ts'
import { alice, bob, securedEnds, TwoEnds } from './two-ends.test-support.ts'

test('both ends are secure after two round trips, with the same session and the right fingerprints', () => {
  const ends = new TwoEnds().start()
  for (let halfTrips = 0; halfTrips < 3; halfTrips++) ends.exchange()
  assert.ok(!ends.alice.secure)
  assert.ok(ends.bob.secure)
  ends.exchange()
  assert.ok(ends.alice.secure)
  ends.settle()
  const [a, b] = [ends.alice.events, ends.bob.events]
  assert.deepEqual([a.length, b.length], [1, 1])
  const [forAlice, forBob] = [a[0]!, b[0]!]
  assert.ok(forAlice.kind === 'secure' && forBob.kind === 'secure')
  assert.deepEqual(forAlice.fingerprint, bob.fingerprint)
  assert.deepEqual(forBob.fingerprint, alice.fingerprint)
  assert.deepEqual(forAlice.sessionId, forBob.sessionId)
  assert.equal(forAlice.sessionId.length, 8)
  assert.deepEqual([forAlice.half, forBob.half], ['first', 'second'])
})

test('messages arrive both ways, in order, and the keys move with every answer', () => {
  const ends = securedEnds()
  for (let turn = 0; turn < 30; turn++) {
    ends.say('alice', `ping ${turn}`)
    ends.settle()
    ends.say('bob', `pong ${turn} äöü`)
    ends.settle()
  }
  assert.deepEqual(
    ends.bob.messages,
    Array.from({ length: 30 }, (_, turn) => `ping ${turn}`),
  )
  assert.deepEqual(
    ends.alice.messages,
    Array.from({ length: 30 }, (_, turn) => `pong ${turn} äöü`),
  )
  const { state } = ends.alice.conversation
  assert.ok(state.kind === 'encrypted')
  assert.deepEqual(state.ring.keyIds, { own: 32, their: 31 })
  assert.deepEqual(ends.alice.dropped, {})
})

test('two ends that start with a D-H Commit at once agree in two round trips', () => {
  for (let seed = 1; seed <= 6; seed++) {
    const ends = new TwoEnds({ seed, pin: false }).start()
    for (let halfTrips = 0; halfTrips < 4; halfTrips++) ends.exchange()
    assert.ok(ends.alice.secure && ends.bob.secure)
    ends.settle()
    ends.say('alice', 'a')
    ends.say('bob', 'b')
    ends.settle()
    assert.deepEqual([ends.alice.messages, ends.bob.messages], [['b'], ['a']])
  }
})

test('the same seed gives the same session', () => {
  const [one, two] = [securedEnds({ seed: 7 }), securedEnds({ seed: 7 })].map(({ alice: end }) => {
    assert.ok(end.conversation.state.kind === 'encrypted')
    return toHex(end.conversation.state.agreement.sessionId)
  })
  assert.equal(one, two)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { REJECT_AFTER_TIME } from './constants.ts'
import { confirmNext, installAsInitiator, installAsResponder, isUsable, type Keypair, noKeypairs } from './keypair.ts'

function keypair(localIndex: number): Keypair {
  return { localIndex, created: 0, initiator: true, from: { address: '192.0.2.1', port: 1 } }
}

const [one, two, three] = [keypair(1), keypair(2), keypair(3)]

test("an initiator's keypair is current at once, and the old one still receives", () => {
  const first = installAsInitiator(noKeypairs, one)
  const second = installAsInitiator(first.keypairs, two)
  assert.deepEqual(second, { keypairs: { previous: [one], current: two, next: undefined }, removed: [] })
  assert.deepEqual(installAsInitiator(second.keypairs, three).removed, [one])
})

test("a responder's keypair waits as the next one until it is used", () => {
  const first = installAsInitiator(noKeypairs, one)
  const second = installAsResponder(first.keypairs, two)
  assert.deepEqual(second.keypairs, { previous: [], current: one, next: two })
  assert.deepEqual(second.removed, [])
  assert.deepEqual(confirmNext(second.keypairs).keypairs, { previous: [one], current: two, next: undefined })
  assert.deepEqual(installAsResponder(second.keypairs, three).removed, [two])
})

test('when both sides initiated, the one we answered and the one before still receive', () => {
  const answered = installAsResponder({ previous: [], current: one, next: undefined }, two)
  const own = installAsInitiator(answered.keypairs, three)
  assert.deepEqual(own, { keypairs: { previous: [two, one], current: three, next: undefined }, removed: [] })
})

test('answering a new initiation takes no keypair away that the peer may be sending with', () => {
  const old = { previous: [one], current: two, next: undefined }
  const answered = installAsResponder(old, three)
  assert.deepEqual(answered, { keypairs: { previous: [one], current: two, next: three }, removed: [] })
  assert.deepEqual(confirmNext(answered.keypairs).removed, [one])
})

test('a keypair is usable for REJECT_AFTER_TIME', () => {
  assert.ok(isUsable(one, REJECT_AFTER_TIME - 1))
  assert.equal(isUsable(one, REJECT_AFTER_TIME), false)
  assert.equal(isUsable(undefined, 0), false)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareBytes } from '../../util/bytes.ts'
import type { OtrAccount } from './account.ts'
import { type AkeContext, type AkeStep, type AuthState, beginAke, stepAke } from './ake.ts'
import { dhBytes, dhModulus } from './constants.ts'
import { mpi, numberToBytes } from './encoding.ts'
import { aesCounter, hash } from './key-derivation.ts'
import { type AkeMessage, decodeMessage } from './messages.ts'
import { alice, bob, stranger, TestRandom } from './two-ends.test-support.ts'

const none: AuthState = { kind: 'none' }

function contextOf(account: OtrAccount, seed: number, pinned?: OtrAccount): AkeContext {
  return { account, pinned: pinned?.fingerprint, random: new TestRandom(seed) }
}

function decoded(bytes: Uint8Array | undefined): AkeMessage {
  const message = bytes && decodeMessage(bytes)
  assert.ok(message !== undefined && message.kind !== 'data')
  return message
}

function moved(step: AkeStep): { readonly state: AuthState; readonly message: AkeMessage } {
  assert.ok(step.kind === 'moved', step.kind)
  return { state: step.state, message: decoded(step.send) }
}

/** Every message and state of one exchange that Bob began. */
function exchange(options: { readonly bobSeed?: number; readonly aliceSeed?: number } = {}) {
  const ours = contextOf(alice, options.aliceSeed ?? 1, bob)
  const theirs = contextOf(bob, options.bobSeed ?? 2, alice)
  const begun = beginAke(theirs)
  const commit = decoded(begun.send)
  const answered = moved(stepAke(none, commit, ours))
  const revealed = moved(stepAke(begun.state, answered.message, theirs))
  const agreed = stepAke(answered.state, revealed.message, ours)
  assert.ok(agreed.kind === 'agreed')
  return {
    ours,
    theirs,
    commit,
    key: answered.message,
    reveal: revealed.message,
    signature: decoded(agreed.send),
    awaitingDhKey: begun.state,
    awaitingRevealSignature: answered.state,
    awaitingSignature: revealed.state,
    agreed,
  }
}

test('an exchange gives both ends the same session, each the other key, and halves to compare', () => {
  const { theirs, signature, awaitingSignature, agreed } = exchange()
  const last = stepAke(awaitingSignature, signature, theirs)
  assert.ok(last.kind === 'agreed')
  assert.equal(last.send, undefined)
  assert.deepEqual(last.agreement.sessionId, agreed.agreement.sessionId)
  assert.deepEqual(last.agreement.fingerprint, alice.fingerprint)
  assert.deepEqual(agreed.agreement.fingerprint, bob.fingerprint)
  assert.deepEqual([last.agreement.half, agreed.agreement.half], ['first', 'second'])
  assert.deepEqual([last.agreement.theirKeyId, agreed.agreement.theirKeyId], [1, 1])
  assert.deepEqual(last.agreement.their, agreed.agreement.own.publicKey)
  assert.deepEqual(agreed.agreement.their, last.agreement.own.publicKey)
  assert.deepEqual([last.agreement.peerTag, agreed.agreement.peerTag], [alice.instanceTag, bob.instanceTag])
})

test('D-H Commit in none: a D-H Key is sent', () => {
  const { ours, commit } = exchange()
  const { state, message } = moved(stepAke(none, commit, ours))
  assert.deepEqual([state.kind, message.kind], ['awaiting-reveal-signature', 'dh-key'])
  assert.deepEqual([message.senderTag, message.receiverTag], [alice.instanceTag, bob.instanceTag])
})

test('D-H Commit in awaiting-dh-key: the higher hash wins', () => {
  const outcomes = new Set<string>()
  for (let seed = 1; seed <= 8; seed++) {
    const { ours, commit } = exchange({ bobSeed: 100 + seed })
    const own = beginAke(contextOf(alice, seed))
    assert.ok(own.state.kind === 'awaiting-dh-key' && commit.kind === 'dh-commit')
    const { state, message } = moved(stepAke(own.state, commit, ours))
    const higher = compareBytes(own.state.commit.hashedGx, commit.hashedGx) > 0
    outcomes.add(`${higher}`)
    if (higher) {
      assert.equal(state, own.state)
      assert.deepEqual(message, decoded(own.send))
    } else {
      assert.deepEqual([state.kind, message.kind], ['awaiting-reveal-signature', 'dh-key'])
    }
  }
  assert.deepEqual([...outcomes].sort(), ['false', 'true'])
})

test('our own D-H Commit in awaiting-dh-key is ignored', () => {
  const own = beginAke(contextOf(alice, 1))
  const step = stepAke(own.state, { ...decoded(own.send), senderTag: 0x9999 }, contextOf(alice, 1))
  assert.deepEqual(step, { kind: 'ignored', reason: 'own commit' })
})

test('D-H Commit in awaiting-reveal-signature: the same D-H Key goes out, and the newer commit counts', () => {
  const first = exchange()
  const second = beginAke(contextOf(bob, 9))
  const again = moved(stepAke(first.awaitingRevealSignature, decoded(second.send), first.ours))
  assert.deepEqual(again.message, first.key)
  const old = stepAke(again.state, first.reveal, first.ours)
  assert.deepEqual(old, { kind: 'ignored', reason: 'bad commitment' })
  const revealed = moved(stepAke(second.state, again.message, first.theirs))
  assert.equal(stepAke(again.state, revealed.message, first.ours).kind, 'agreed')
})

test('D-H Commit in awaiting-signature: a new D-H Key is sent', () => {
  const { theirs, awaitingSignature } = exchange()
  const { state, message } = moved(stepAke(awaitingSignature, decoded(beginAke(contextOf(alice, 5)).send), theirs))
  assert.deepEqual([state.kind, message.kind], ['awaiting-reveal-signature', 'dh-key'])
})

test('D-H Key in awaiting-dh-key: a Reveal Signature is sent', () => {
  const { theirs, awaitingDhKey, key } = exchange()
  const { state, message } = moved(stepAke(awaitingDhKey, key, theirs))
  assert.deepEqual([state.kind, message.kind], ['awaiting-signature', 'reveal-signature'])
})

test('D-H Key in awaiting-signature: the same one makes us repeat the Reveal Signature, another one is ignored', () => {
  const { theirs, awaitingSignature, key, reveal } = exchange()
  const again = moved(stepAke(awaitingSignature, key, theirs))
  assert.equal(again.state, awaitingSignature)
  assert.deepEqual(again.message, reveal)
  const other = exchange({ aliceSeed: 7 }).key
  assert.equal(stepAke(awaitingSignature, other, theirs).kind, 'ignored')
  assert.equal(stepAke(awaitingSignature, { ...key, senderTag: 0x7777 }, theirs).kind, 'ignored')
})

test('every other message in every other state is ignored', () => {
  const all = exchange()
  const { ours, commit, key, reveal, signature, agreed } = all
  const cells: readonly [AuthState, AkeMessage][] = [
    [none, key],
    [none, reveal],
    [none, signature],
    [all.awaitingDhKey, reveal],
    [all.awaitingDhKey, signature],
    [all.awaitingRevealSignature, key],
    [all.awaitingRevealSignature, signature],
    [all.awaitingSignature, reveal],
  ]
  for (const [state, message] of cells) {
    const step = stepAke(state, message, ours)
    assert.deepEqual(step, { kind: 'ignored', reason: 'unexpected in this state' }, `${message.kind} in ${state.kind}`)
  }
  assert.equal(commit.kind, 'dh-commit')
  assert.equal(agreed.kind, 'agreed')
})

test('a Reveal Signature or a Signature from another instance is ignored', () => {
  const { ours, theirs, reveal, signature, awaitingRevealSignature, awaitingSignature } = exchange()
  assert.equal(stepAke(awaitingRevealSignature, { ...reveal, senderTag: 0x7777 }, ours).kind, 'ignored')
  assert.equal(stepAke(awaitingSignature, { ...signature, senderTag: 0x7777 }, theirs).kind, 'ignored')
})

test('another key than the pinned one is refused, in either role', () => {
  const { reveal, signature, awaitingRevealSignature, awaitingSignature } = exchange()
  const refusedAlice = stepAke(awaitingRevealSignature, reveal, contextOf(alice, 1, stranger))
  assert.deepEqual(refusedAlice, { kind: 'refused', fingerprint: bob.fingerprint })
  const refusedBob = stepAke(awaitingSignature, signature, contextOf(bob, 1, stranger))
  assert.deepEqual(refusedBob, { kind: 'refused', fingerprint: alice.fingerprint })
})

test('an exchange with our own key is ignored', () => {
  const context = contextOf(alice, 1)
  const begun = beginAke(context)
  const answered = moved(stepAke(none, decoded(begun.send), context))
  const revealed = moved(stepAke(begun.state, answered.message, context))
  assert.deepEqual(stepAke(answered.state, revealed.message, context), { kind: 'ignored', reason: 'own key' })
})

test('group elements 0, 1, p-1 and p are ignored wherever they come', () => {
  const { ours, theirs, awaitingDhKey, key } = exchange()
  assert.ok(key.kind === 'dh-key' && awaitingDhKey.kind === 'awaiting-dh-key')
  for (const value of [0n, 1n, dhModulus - 1n, dhModulus, (1n << 1536n) - 1n]) {
    const element = numberToBytes(value, dhBytes)
    const step = stepAke(awaitingDhKey, { ...key, gy: element }, theirs)
    assert.deepEqual(step, { kind: 'ignored', reason: 'bad group element' })
    // The same value as g^x, committed to honestly.
    const forged = committedTo(element)
    const answered = moved(stepAke(none, forged.commit, ours))
    const last = stepAke(answered.state, forged.reveal, ours)
    assert.deepEqual(last, { kind: 'ignored', reason: 'bad group element' })
  }
})

test('every changed byte of a Reveal Signature or Signature is ignored', () => {
  const { ours, theirs, reveal, signature, awaitingRevealSignature, awaitingSignature } = exchange()
  assert.ok(reveal.kind === 'reveal-signature' && signature.kind === 'signature')
  for (const field of ['revealedKey', 'encryptedSignature', 'mac'] as const) {
    for (let at = 0; at < reveal[field].length; at += 7) {
      const step = stepAke(awaitingRevealSignature, { ...reveal, [field]: changed(reveal[field], at) }, ours)
      assert.equal(step.kind, 'ignored', `${field} ${at}`)
    }
  }
  for (const field of ['encryptedSignature', 'mac'] as const) {
    for (let at = 0; at < signature[field].length; at += 7) {
      const step = stepAke(awaitingSignature, { ...signature, [field]: changed(signature[field], at) }, theirs)
      assert.equal(step.kind, 'ignored', `${field} ${at}`)
    }
  }
})

test('a public key without its private key is worth nothing, in either role', () => {
  const impostor = { ...bob, sign: stranger.sign }
  const ours = contextOf(alice, 1, bob)
  const begun = beginAke(contextOf(impostor, 2))
  const answered = moved(stepAke(none, decoded(begun.send), ours))
  const revealed = moved(stepAke(begun.state, answered.message, contextOf(impostor, 2)))
  const asBob = stepAke(answered.state, revealed.message, ours)
  assert.deepEqual(asBob, { kind: 'ignored', reason: 'bad signature' })

  const own = beginAke(ours)
  const theirs = contextOf(impostor, 3)
  const key = moved(stepAke(none, decoded(own.send), theirs))
  const reveal = moved(stepAke(own.state, key.message, ours))
  const signed = stepAke(key.state, reveal.message, theirs)
  assert.ok(signed.kind === 'agreed')
  const asAlice = stepAke(reveal.state, decoded(signed.send), ours)
  assert.deepEqual(asAlice, { kind: 'ignored', reason: 'bad signature' })
})

test('a Signature of one exchange is worth nothing in another', () => {
  const [first, second] = [exchange(), exchange({ aliceSeed: 30 })]
  const step = stepAke(second.awaitingSignature, first.signature, second.theirs)
  assert.deepEqual(step, { kind: 'ignored', reason: 'bad signature' })
})

/** A D-H Commit of Bob's to any value, and a Reveal Signature that opens it. */
function committedTo(element: Uint8Array): { readonly commit: AkeMessage; readonly reveal: AkeMessage } {
  const tags = { senderTag: bob.instanceTag, receiverTag: alice.instanceTag }
  const revealedKey = new Uint8Array(16).fill(1)
  const value = mpi(element)
  const commit = { encryptedGx: aesCounter(revealedKey, 0n, value), hashedGx: hash('sha256', value) }
  const [encryptedSignature, mac] = [new Uint8Array(466), new Uint8Array(20)]
  return {
    commit: { kind: 'dh-commit', ...tags, ...commit },
    reveal: { kind: 'reveal-signature', ...tags, revealedKey, encryptedSignature, mac },
  }
}

function changed(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice()
  copy[at] = (copy[at] ?? 0) ^ 0x20
  return copy
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dhModulus, tlvTypes } from './constants.ts'
import { abortSmp, answerSmp, noSmp, receiveSmp, type SmpState, type SmpStep, startSmp } from './smp-machine.ts'
import { decodeQuestion, decodeSmpValues, encodeSmpValues, smpCounts } from './smp-values.ts'
import type { Tlv } from './tlv.ts'
import { TestRandom } from './two-ends.test-support.ts'

const random = new TestRandom(1)

function only(step: SmpStep): Tlv {
  assert.equal(step.send.length, 1)
  return step.send[0] ?? assert.fail()
}

/** Every step of a run in which A proves `x` to B, who has `y`. */
function run(x: bigint, y: bigint, question?: string) {
  const a1 = startSmp(noSmp, { x, question, random })
  const b1 = receiveSmp(noSmp, only(a1), random)
  const b2 = answerSmp(b1.state, y, random)
  const a2 = receiveSmp(a1.state, only(b2), random)
  const b3 = receiveSmp(b2.state, only(a2), random)
  const a3 = receiveSmp(a2.state, only(b3), random)
  return { a1, b1, b2, a2, b3, a3 }
}

const good = run(42n, 42n)

test('equal secrets are found equal by both ends', () => {
  assert.deepEqual([good.a3.result, good.b3.result], [true, true])
  assert.deepEqual([good.a3.state, good.b3.state], [noSmp, noSmp])
  assert.deepEqual(good.b1.asked, { question: undefined })
  const types = [good.a1, good.b2, good.a2, good.b3].map((step) => only(step).type)
  assert.deepEqual(types, [tlvTypes.smp1, tlvTypes.smp2, tlvTypes.smp3, tlvTypes.smp4])
})

test('different secrets are found different by both ends, and a question is shown', () => {
  const { a1, b1, a3, b3 } = run(42n, 43n, 'wie heißt der Hund?')
  assert.equal(only(a1).type, tlvTypes.smp1Question)
  assert.deepEqual(b1.asked, { question: 'wie heißt der Hund?' })
  assert.deepEqual([a3.result, b3.result], [false, false])
})

test('no value of 0, 1, p-1, p or more is accepted anywhere', () => {
  const cases: readonly [SmpState, SmpStep, number][] = [
    [noSmp, good.a1, smpCounts.smp1],
    [good.a1.state, good.b2, smpCounts.smp2],
    [good.b2.state, good.a2, smpCounts.smp3],
    [good.a2.state, good.b3, smpCounts.smp4],
  ]
  let tried = 0
  for (const [state, step, count] of cases) {
    const { type, value } = only(step)
    const values = decodeSmpValues(value, count) ?? assert.fail()
    for (let index = 0; index < count; index++) {
      for (const bad of [0n, 1n, dhModulus - 1n, dhModulus]) {
        const forged = { type, value: encodeSmpValues(values.with(index, bad)) }
        assertRefused(receiveSmp(state, forged, random), state)
        tried += 1
      }
    }
  }
  assert.equal(tried, 28 * 4)
})

test('values of another run are refused', () => {
  const other = run(42n, 42n)
  for (const [state, step] of [
    [good.a1.state, other.b2],
    [good.b2.state, other.a2],
    [good.a2.state, other.b3],
  ] as const) {
    assertRefused(receiveSmp(state, only(step), random), state)
  }
})

test('commitments equal to our own are refused: their ratio would make any secrets equal', () => {
  const drawn: Uint8Array[] = []
  const recording = { bytes: (length: number) => drawn[drawn.push(random.bytes(length)) - 1] ?? assert.fail() }
  const a1 = startSmp(noSmp, { x: 42n, question: undefined, random })
  const b1 = receiveSmp(noSmp, only(a1), random)
  const b2 = answerSmp(b1.state, 42n, recording)
  // A takes the exponent that B has drawn third for P and Q.
  const copying = (): { bytes: (length: number) => Uint8Array } => {
    const scripted = [drawn[2]]
    return { bytes: (length) => scripted.shift() ?? random.bytes(length) }
  }
  assertRefused(receiveSmp(a1.state, only(b2), copying()), a1.state)

  // To B: A makes the same commitments in a run with a B of the same exponents but other commitments.
  const again = [drawn[0], drawn[1]]
  const otherB = { bytes: (length: number) => again.shift() ?? random.bytes(length) }
  const copied = receiveSmp(a1.state, only(answerSmp(b1.state, 42n, otherB)), copying())
  const smp2 = decodeSmpValues(only(b2).value, smpCounts.smp2) ?? assert.fail()
  const smp3 = decodeSmpValues(only(copied).value, smpCounts.smp3) ?? assert.fail()
  assert.deepEqual([smp3[0], smp3[1]], [smp2[6], smp2[7]])
  assertRefused(receiveSmp(b2.state, only(copied), random), b2.state)
})

test('an unexpected message aborts the run, and an abort from the other end ends it in silence', () => {
  const states = [noSmp, good.b1.state, good.a1.state, good.b2.state, good.a2.state]
  const messages = [good.a1, good.b2, good.a2, good.b3].map(only)
  const expected = [messages[0], undefined, messages[1], messages[2], messages[3]]
  for (const [index, state] of states.entries()) {
    for (const message of messages) {
      if (message !== expected[index]) assertRefused(receiveSmp(state, message, random), state)
    }
    const aborted = receiveSmp(state, { type: tlvTypes.smpAbort, value: new Uint8Array() }, random)
    assert.deepEqual([aborted.state, aborted.send], [noSmp, []])
    assert.equal(aborted.result, state.kind === 'expect-1' ? undefined : false)
  }
})

test('a new run of ours aborts the one under way', () => {
  const step = startSmp(good.a1.state, { x: 1n, question: undefined, random })
  assert.deepEqual(
    step.send.map(({ type }) => type),
    [tlvTypes.smpAbort, tlvTypes.smp1],
  )
  assert.equal(step.result, false)
  assert.equal(step.state.kind, 'expect-2')
})

test('answering or aborting without a run does nothing', () => {
  assert.deepEqual(answerSmp(noSmp, 1n, random), { state: noSmp, send: [] })
  assert.deepEqual(abortSmp(noSmp), { state: noSmp, send: [] })
  assertRefused(abortSmp(good.b1.state), good.b1.state)
})

test('values are decoded only in the right number and to the last byte', () => {
  const encoded = encodeSmpValues([1n, 2n, dhModulus])
  assert.deepEqual(decodeSmpValues(encoded, 3), [1n, 2n, dhModulus])
  assert.equal(decodeSmpValues(encoded, 2), undefined)
  assert.equal(decodeSmpValues(new Uint8Array([...encoded, 0]), 3), undefined)
  for (let length = 0; length < encoded.length; length++) {
    assert.equal(decodeSmpValues(encoded.subarray(0, length), 3), undefined)
  }
  assert.equal(decodeSmpValues(new Uint8Array([0xff, 0xff, 0xff, 0xff]), 6), undefined)
  assert.equal(decodeQuestion(new Uint8Array(10).fill(65)), undefined)
  assert.equal(decodeQuestion(new Uint8Array([0xff, 0])), undefined)
  assert.equal(decodeQuestion(new Uint8Array(1100).fill(65, 0, 1099)), undefined)
})

/** The run is over, the other end is told so, and a run that was under way has proved nothing. */
function assertRefused(step: SmpStep, before: SmpState): void {
  assert.equal(step.state, noSmp)
  assert.equal(only(step).type, tlvTypes.smpAbort)
  assert.equal(step.result, before.kind === 'expect-1' ? undefined : false)
}

/** Hostile input to a whole conversation: it is counted, it costs nothing that was there, and it never throws. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { fromBase64, toHex } from '../../util/bytes.ts'
import { formatEncoded } from './text.ts'
import { alice, bob, type End, type EndName, securedEnds, TwoEnds } from './two-ends.test-support.ts'

/** One text of every kind that a conversation sends, in the order of an exchange, and who received it. */
function recorded(): readonly { readonly text: string; readonly to: EndName }[] {
  const texts: { text: string; to: EndName }[] = []
  const ends = new TwoEnds({ seed: 5 }).start()
  ends.settle((text, to) => texts.push({ text, to }) > 0)
  ends.say('alice', 'one')
  ends.say('bob', 'two')
  ends.settle((text, to) => texts.push({ text, to }) > 0)
  return texts
}

const valid = recorded()

function mutate(text: string, changes: readonly (readonly [number, number])[], length: number): string {
  const bytes = text.startsWith('?OTR:') ? fromBase64(text.slice(5, -1)) : undefined
  if (bytes === undefined || bytes.length === 0) return text.slice(0, length)
  for (const [at, byte] of changes) bytes[at % bytes.length] = byte
  return formatEncoded(bytes.subarray(0, length % 7 === 0 ? length % bytes.length : bytes.length))
}

const sample = fc.constantFrom(...valid)
const changes = fc.array(fc.tuple(fc.nat(5000), fc.nat(255)), { minLength: 1, maxLength: 3 })

function snapshot(end: End): unknown {
  const { state } = end.conversation
  return state.kind === 'encrypted' ? [toHex(state.agreement.sessionId), state.ring.keyIds, state.smp.kind] : state.kind
}

test('mutated messages of other conversations leave a secure one as it was', () => {
  const ends = securedEnds()
  const before = { alice: snapshot(ends.alice), bob: snapshot(ends.bob) }
  fc.assert(
    fc.property(sample, changes, fc.nat(2000), ({ text, to }, some, length) => {
      const end = ends[to]
      end.apply(end.conversation.receive(mutate(text, some, length), 0))
      end.sent.length = 0
      assert.deepEqual(snapshot(end), before[to])
    }),
    { numRuns: 250, seed: 1 },
  )
  assert.deepEqual([ends.alice.events, ends.bob.events], [[], []])
  for (const [name, other] of [
    ['alice', 'bob'],
    ['bob', 'alice'],
  ] as const) {
    assert.ok(Object.keys(ends[name].dropped).length > 0)
    ends.say(name, `from ${name}`)
    ends.settle()
    assert.deepEqual(ends[other].messages, [`from ${name}`])
  }
})

test('an exchange goes on while garbage comes in between all of its messages', () => {
  const ends = new TwoEnds({ seed: 9 }).start()
  let garbage = 0
  const inject = (end: End): void => {
    const sent = end.sent.length
    for (const { text } of valid) {
      // Not commits and queries: those are lawful beginnings of another exchange.
      if (!text.startsWith('?OTR:AAMR') && !text.startsWith('?OTR:AAMS') && !text.startsWith('?OTR:AAMD')) continue
      end.apply(end.conversation.receive(mutate(text, [[garbage * 37 + 11, garbage & 255]], 1), 0))
      garbage += 1
    }
    for (const text of ['?OTR:.', '?OTR:AAMK.', '?OTR|', '?OTR|100|200,1,2,x,', 'plain', '?OTRv2?']) {
      end.apply(end.conversation.receive(text, 0))
    }
    end.sent.length = sent
  }
  for (let rounds = 0; rounds < 8; rounds++) {
    inject(ends.alice)
    inject(ends.bob)
    ends.exchange()
  }
  assert.ok(ends.alice.secure && ends.bob.secure)
  assert.deepEqual([ends.alice.kinds, ends.bob.kinds], [['secure'], ['secure']])
  assert.ok(garbage > 50)
})

test('random texts are dropped in every state', () => {
  const ends = securedEnds()
  const waiting = new TwoEnds().start()
  const finished = securedEnds()
  finished.alice.apply(finished.alice.conversation.end(0))
  finished.settle()
  const parts = fc.constantFrom('?OTR', '|100|', '0,', '1,', ':', 'AAMC', 'AAMD', ' Error:', '.', '\0', 'é', '\ud800')
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 12 }), fc.string({ maxLength: 30 }), (some, more) => {
      for (const { conversation } of [ends.alice, waiting.alice, waiting.bob, finished.bob]) {
        for (const effect of conversation.receive(some.join('') + more, 0)) assert.equal(effect.kind, 'send')
      }
    }),
    { numRuns: 300, seed: 1 },
  )
  assert.ok(ends.alice.secure)
  assert.equal(finished.bob.conversation.state.kind, 'finished')
})

test('a fragment bomb is bounded and a message after it is read', () => {
  const ends = securedEnds()
  const [from, to] = [bob.instanceTag.toString(16), alice.instanceTag.toString(16)]
  const piece = 'A'.repeat(60_000)
  for (let index = 1; index <= 40; index++) {
    const text = `?OTR|${from}|${to},${index},65535,${piece},`
    assert.deepEqual(ends.alice.conversation.receive(text, 0), [])
  }
  for (let index = 1; index <= 32; index++) {
    assert.deepEqual(ends.alice.conversation.receive(`?OTR|${from}|${to},${index},32,${piece},`, 0), [])
  }
  assert.equal(ends.alice.dropped['fragment out of order'], 40 + 31)
  // A fragment inside a fragment is no way round the bounds.
  ends.alice.apply(ends.alice.conversation.receive(`?OTR|${from}|${to},1,1,?OTR|${from}|${to};1;1;x,`, 0))
  const { malformed } = ends.alice.dropped
  assert.equal(malformed, 1)
  ends.say('bob', 'after')
  ends.settle()
  assert.deepEqual(ends.alice.messages, ['after'])
})

test('what a conversation can be printed as holds no key of the device', () => {
  const ends = securedEnds()
  const shown = inspect(ends.alice.conversation, { depth: 3, showHidden: true })
  assert.ok(!shown.includes('sign'), 'private fields are not shown')
  assert.ok(!JSON.stringify(ends.alice.conversation.stats()).includes('key'))
})

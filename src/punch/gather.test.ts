import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemRandom } from '../util/random.ts'
import { type GatherEffect, Gatherer } from './gather.ts'
import { decodeMessage, encodeMessage, type ReceivedStunMessage } from './stun/message.ts'
import { answerBindingRequest } from './stun/server.ts'

const one = { address: '198.51.100.1', port: 3478 }
const two = { address: '198.51.100.2', port: 3478 }
const mapped = { address: '203.0.113.1', port: 20_000 }

function answerTo(effects: readonly GatherEffect[]): ReceivedStunMessage {
  const [effect] = effects
  assert.equal(effect?.kind, 'send')
  const answer = effect.kind === 'send' && answerBindingRequest(effect.bytes, mapped)
  const message = answer && decodeMessage(answer)
  assert.ok(message)
  return message
}

function gatherer(expected: number): Gatherer {
  return new Gatherer({ expected, random: systemRandom, now: 0 })
}

/** The times of sends until `until`. */
function sends(gathering: Gatherer, until: number): readonly number[] {
  const times: number[] = []
  for (;;) {
    const now = gathering.deadline
    if (now === undefined || now > until) return times
    for (const effect of gathering.tick(now)) if (effect.kind === 'send') times.push(now)
  }
}

test('every answer is told; gathering is finished with the last of them', () => {
  const gathering = gatherer(2)
  const [askedOne, askedTwo] = [gathering.ask(one, 0), gathering.ask(two, 0)]
  assert.deepEqual(gathering.receive(answerTo(askedOne), one, 40), [{ kind: 'mapped', server: one, endpoint: mapped }])
  assert.deepEqual(gathering.receive(answerTo(askedTwo), two, 50), [
    { kind: 'mapped', server: two, endpoint: mapped },
    { kind: 'finished' },
  ])
  assert.equal(gathering.deadline, undefined)
})

test('with one answer, gathering is finished after 500 ms; a later answer is still told', () => {
  const gathering = gatherer(2)
  const [askedOne, askedTwo] = [gathering.ask(one, 0), gathering.ask(two, 0)]
  gathering.receive(answerTo(askedOne), one, 40)
  assert.equal(gathering.tick(499).filter(({ kind }) => kind === 'finished').length, 0)
  assert.deepEqual(gathering.tick(500), [{ kind: 'finished' }])
  assert.deepEqual(gathering.receive(answerTo(askedTwo), two, 900), [{ kind: 'mapped', server: two, endpoint: mapped }])
})

test('servers that do not answer are asked in rounds of five, for ever', () => {
  const gathering = gatherer(1)
  assert.equal(gathering.ask(one, 0).length, 1)
  assert.deepEqual(sends(gathering, 12_000), [150, 450, 1050, 2250, 8450, 8600, 8900, 9500, 10_700])
})

test('without servers gathering is finished at once', () => {
  const gathering = gatherer(0)
  assert.equal(gathering.deadline, 0)
  assert.deepEqual(gathering.tick(0), [{ kind: 'finished' }])
})

test('answers from elsewhere, of other transactions, errors and empty ones are dropped', () => {
  const gathering = gatherer(1)
  const answer = answerTo(gathering.ask(one, 0))
  const message = { messageClass: 'success', method: 1, transactionId: answer.transactionId, attributes: [] } as const
  const decoded = (bytes: Uint8Array): ReceivedStunMessage => decodeMessage(bytes) ?? assert.fail('not STUN')
  gathering.receive(answer, two, 10)
  gathering.receive({ ...answer, transactionId: new Uint8Array(12) }, one, 10)
  gathering.receive(decoded(encodeMessage({ ...message, messageClass: 'error' })), one, 10)
  gathering.receive(decoded(encodeMessage(message)), one, 10)
  assert.deepEqual(gathering.dropped, { unmatched: 2, refused: 1, incomplete: 1 })
  assert.equal(gathering.answered, 0)
  assert.equal(gathering.receive(answer, one, 40)[0]?.kind, 'mapped')
})

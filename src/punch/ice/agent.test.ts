/** The agent by itself, its peer played by hand. Whole punches are in test/punch. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../../api/endpoint.ts'
import { systemRandom } from '../../util/random.ts'
import { findAttribute, type StunAttribute } from '../stun/attributes.ts'
import { shortTermKey } from '../stun/integrity.ts'
import { decodeMessage, encodeMessage, isAuthentic, type ReceivedStunMessage } from '../stun/message.ts'
import { type AgentEffect, IceAgent } from './agent.ts'
import { hostCandidate } from './candidate.ts'
import { encodeCheck, encodeCheckSuccess } from './connectivity-check.ts'
import type { IceCredentials } from './credentials.ts'

const ours: IceCredentials = { ufrag: 'ours', password: 'o'.repeat(22) }
const theirs: IceCredentials = { ufrag: 'theirs', password: 't'.repeat(22) }
const here: Endpoint = { address: '192.0.2.1', port: 1000 }
const there: Endpoint = { address: '192.0.2.2', port: 2000 }
const elsewhere: Endpoint = { address: '192.0.2.3', port: 3000 }

function agent(controlling = true): IceAgent {
  const made = new IceAgent({ credentials: ours, controlling, random: systemRandom })
  made.addLocalCandidate(hostCandidate(here, 0))
  return made
}

/** With the peer's description and one candidate, and the check that follows. */
function begun(controlling = true): { readonly machine: IceAgent; readonly check: ReceivedStunMessage } {
  const machine = agent(controlling)
  machine.setRemote(theirs, 0)
  const [check] = messages(machine.addRemoteCandidate(hostCandidate(there, 0), 0))
  assert.ok(check)
  return { machine, check }
}

function messages(effects: readonly AgentEffect[]): readonly ReceivedStunMessage[] {
  return effects.flatMap((effect) => {
    const message = effect.kind === 'send' ? decodeMessage(effect.bytes) : undefined
    return message === undefined ? [] : [message]
  })
}

function received(bytes: Uint8Array): ReceivedStunMessage {
  return decodeMessage(bytes) ?? assert.fail('not a STUN message')
}

const success = (check: ReceivedStunMessage, key = theirs): ReceivedStunMessage =>
  received(encodeCheckSuccess(check, here, key))

function request(
  options: { controlling?: boolean; tieBreaker?: bigint; useCandidate?: boolean } = {},
): ReceivedStunMessage {
  const { controlling = false, tieBreaker = 0n, useCandidate = false } = options
  const transactionId = systemRandom.bytes(12)
  const association = { local: theirs, remote: ours }
  return received(encodeCheck({ transactionId, association, role: { controlling, tieBreaker }, useCandidate }))
}

test('a check carries what RFC 8445 §7.1 wants: username, priority, role, integrity, fingerprint', () => {
  const { check } = begun()
  assert.deepEqual(findAttribute(check.attributes, 'username'), { kind: 'username', text: 'theirs:ours' })
  assert.deepEqual(findAttribute(check.attributes, 'priority')?.priority, 1_862_270_975)
  assert.ok(findAttribute(check.attributes, 'ice-controlling'))
  assert.equal(findAttribute(check.attributes, 'use-candidate'), undefined)
  assert.equal(check.fingerprint, 'right')
  assert.ok(isAuthentic(check, shortTermKey(theirs.password)))
})

test('nothing is sent before the description; checks to six candidates leave 20 ms apart, best first', () => {
  const machine = agent()
  for (let index = 0; index < 6; index++) {
    const endpoint = { address: there.address, port: 2000 + index }
    assert.deepEqual(machine.addRemoteCandidate(hostCandidate(endpoint, index), 0), [])
  }
  assert.equal(machine.deadline, undefined)
  const sent = machine.setRemote(theirs, 1000).flatMap((one) => (one.kind === 'send' ? [[1000, one.to.port]] : []))
  for (;;) {
    const now = machine.deadline ?? Number.NaN
    if (!(now < 1120)) break
    for (const effect of machine.tick(now)) if (effect.kind === 'send') sent.push([now, effect.to.port])
  }
  assert.deepEqual(sent, [
    [1000, 2000],
    [1020, 2001],
    [1040, 2002],
    [1060, 2003],
    [1080, 2004],
    [1100, 2005],
  ])
  // Six pairs 20 ms apart: the first is checked again 120 ms after its check.
  assert.equal(machine.deadline, 1120)
})

test('every send is a transaction of its own, and an answer to an earlier one counts with its own round trip', () => {
  const { machine, check } = begun()
  const [again] = messages(machine.tick(100))
  assert.ok(again)
  assert.notDeepEqual(again.transactionId, check.transactionId)
  const nomination = machine.receive(success(check), there, 150)
  assert.equal(messages(nomination).length, 1)
  const [selected] = machine
    .receive(success(messages(nomination)[0] ?? check), there, 200)
    .filter((effect) => effect.kind === 'selected')
  assert.ok(selected?.kind === 'selected')
  assert.equal(selected.selection.roundTrip, 150)
  assert.deepEqual(selected.selection.mapped, here)
  assert.equal(machine.deadline, undefined)
})

test('a nomination is repeated every 100 ms and taken back after two seconds without an answer', () => {
  const { machine, check } = begun()
  machine.receive(success(check), there, 40)
  const nominations: number[] = []
  for (;;) {
    const now = machine.deadline ?? Number.NaN
    if (!(now <= 2040)) break
    for (const message of messages(machine.tick(now))) {
      if (findAttribute(message.attributes, 'use-candidate')) nominations.push(now)
    }
  }
  assert.equal(nominations.length, 19)
  assert.equal(machine.stats().validPairs, 0)
})

test('an early request, before the description, is answered and leads to a triggered check later', () => {
  const machine = agent()
  const [answer, ...more] = messages(machine.receive(request(), elsewhere, 0))
  assert.equal(answer?.messageClass, 'success')
  assert.deepEqual(findAttribute(answer?.attributes ?? [], 'xor-mapped-address')?.endpoint, elsewhere)
  assert.deepEqual(more, [])
  const effects = machine.setRemote(theirs, 30)
  assert.deepEqual(
    effects.map((effect) => effect.kind === 'send' && effect.to),
    [elsewhere],
  )
})

test('a nomination by the peer selects the pair once our own check of it succeeded', () => {
  const { machine, check } = begun(false)
  const nominated = machine.receive(request({ controlling: true, useCandidate: true }), there, 10)
  assert.equal(
    nominated.some(({ kind }) => kind === 'selected'),
    false,
  )
  const done = machine.receive(success(check), there, 40)
  assert.equal(
    done.some(({ kind }) => kind === 'selected'),
    true,
  )
})

test('an answer from elsewhere, or under another password, proves nothing', () => {
  const { machine, check } = begun()
  const before = machine.stats()
  machine.receive(success(check), elsewhere, 10)
  machine.receive(success(check, ours), there, 10)
  machine.receive(received(encodeMessage({ ...check, messageClass: 'success' })), there, 10)
  assert.deepEqual(machine.stats(), { ...before, dropped: { asymmetric: 1, integrity: 2 } })
  assert.equal(machine.receive(success(check), there, 20).length > 0, true)
})

test('a request that is refused leaves the agent as it was', () => {
  const { machine } = begun(false)
  const before = machine.stats()
  const signed = (attributes: readonly StunAttribute[]): ReceivedStunMessage =>
    received(
      encodeMessage(
        { messageClass: 'request', method: 1, transactionId: systemRandom.bytes(12), attributes },
        { key: shortTermKey(ours.password), fingerprint: true },
      ),
    )
  const username: StunAttribute = { kind: 'username', text: 'ours:theirs' }
  const codes = [
    signed([username, { kind: 'other', type: 0x0030, value: new Uint8Array(4) }]),
    signed([username, { kind: 'ice-controlling', tieBreaker: 1n }]),
    signed([username, { kind: 'priority', priority: 1 }]),
  ].flatMap((bad) =>
    messages(machine.receive(bad, elsewhere, 1)).map(({ attributes }) => findAttribute(attributes, 'error-code')?.code),
  )
  assert.deepEqual(codes, [420, 400, 400])
  assert.deepEqual(machine.stats(), { ...before, dropped: { 'unknown-attribute': 1, 'bad-request': 2 } })
})

test('of two controlling agents the one with the larger tie-breaker answers 487, the other one switches', () => {
  const larger = begun(true)
  const [answer] = messages(larger.machine.receive(request({ controlling: true, tieBreaker: 0n }), there, 1))
  assert.equal(findAttribute(answer?.attributes ?? [], 'error-code')?.code, 487)
  assert.equal(larger.machine.stats().controlling, true)
  const smaller = begun(true)
  const [accepted] = messages(
    smaller.machine.receive(request({ controlling: true, tieBreaker: 2n ** 64n - 1n }), there, 1),
  )
  assert.equal(accepted?.messageClass, 'success')
  assert.equal(smaller.machine.stats().controlling, false)
})

test('a 487 turns our role around, changes the tie-breaker and checks the pair again', () => {
  const { machine, check } = begun(false)
  const conflict = received(
    encodeMessage(
      { ...check, messageClass: 'error', attributes: [{ kind: 'error-code', code: 487, reason: '' }] },
      { key: shortTermKey(theirs.password) },
    ),
  )
  const [again] = messages(machine.receive(conflict, there, 40))
  assert.ok(again)
  const [before, after] = [
    findAttribute(check.attributes, 'ice-controlled')?.tieBreaker,
    findAttribute(again.attributes, 'ice-controlling')?.tieBreaker,
  ]
  assert.ok(before !== undefined && after !== undefined && before !== after)
  // The same answer once more finds no transaction, and does not turn it back.
  machine.receive(conflict, there, 50)
  assert.equal(machine.stats().controlling, true)
  assert.equal(machine.stats().roleSwitches, 1)
})

test('new credentials of the peer void its candidates and every transaction of before', () => {
  const { machine, check } = begun()
  machine.setRemote({ ufrag: 'again', password: 'a'.repeat(22) }, 50)
  assert.equal(machine.stats().pairs, 0)
  assert.equal(machine.claims(check.transactionId), false)
  // A request under the old description is answered, but opens nothing.
  const effects = machine.receive(request(), there, 60)
  assert.equal(messages(effects).length, 1)
  assert.equal(machine.stats().pairs, 0)
})

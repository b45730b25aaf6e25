/** The resumption by itself, its peer played by hand. Two of them together are in test/punch/resume.test.ts. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../api/endpoint.ts'
import { SecretKey } from '../api/keys.ts'
import { systemRandom } from '../util/random.ts'
import { encodeCheck, encodeCheckSuccess } from './ice/connectivity-check.ts'
import { type Association, resumeAssociation } from './ice/credentials.ts'
import { type ResumeEffect, ResumeProbe } from './resume.ts'
import { decodeMessage, type ReceivedStunMessage } from './stun/message.ts'

const association = resumeAssociation({ secret: new SecretKey(new Uint8Array(32)), controlling: true })
const here: Endpoint = { address: '192.0.2.1', port: 1000 }
const cached: Endpoint = { address: '192.0.2.2', port: 2000 }
const fresh: Endpoint = { address: '192.0.2.3', port: 3000 }

function createResume(): ResumeProbe {
  return new ResumeProbe({ association, controlling: true, remote: cached, random: systemRandom, now: 0 })
}

function read(bytes: Uint8Array): ReceivedStunMessage {
  return decodeMessage(bytes) ?? assert.fail('not a STUN message')
}

function request(used: Association = association): ReceivedStunMessage {
  const mirrored = { local: used.remote, remote: used.local }
  const role = { controlling: false, tieBreaker: 0n }
  return read(encodeCheck({ transactionId: systemRandom.bytes(12), association: mirrored, role }))
}

function probes(
  effects: readonly ResumeEffect[],
): readonly { readonly message: ReceivedStunMessage; readonly to: Endpoint }[] {
  return effects.flatMap((effect) => {
    if (effect.kind !== 'send') return []
    const message = read(effect.bytes)
    return message.messageClass === 'request' ? [{ message, to: effect.to }] : []
  })
}

function answerTo(effects: readonly ResumeEffect[]): ReceivedStunMessage {
  const [probe] = probes(effects)
  assert.ok(probe)
  return read(encodeCheckSuccess(probe.message, here, association.remote))
}

test('the cached endpoint is probed every 100 ms for 2 s, then every 500 ms', () => {
  const resume = createResume()
  const times: number[] = []
  for (let now = resume.deadline ?? 0; now < 4000; now = resume.deadline ?? Number.NaN) {
    now = Math.max(0, now)
    for (const { to } of probes(resume.tick(now))) {
      assert.equal(to, cached)
      times.push(now)
    }
  }
  assert.deepEqual(times.slice(0, 3), [0, 100, 200])
  assert.deepEqual(times.slice(-4), [2000, 2500, 3000, 3500])
  assert.equal(times.length, 24)
})

test('an answer ends it, with the endpoint, our address and the round trip', () => {
  const resume = createResume()
  const answer = answerTo(resume.tick(0))
  assert.deepEqual(resume.receive(answer, cached, 40), [{ kind: 'found', remote: cached, mapped: here, roundTrip: 40 }])
  assert.equal(resume.deadline, undefined)
  // The peer may not be so far: it is answered still.
  assert.equal(resume.receive(request(), cached, 50).length, 1)
})

test('a peer that is heard from elsewhere is answered and probed there too', () => {
  const resume = createResume()
  resume.tick(0)
  const effects = resume.receive(request(), fresh, 10)
  assert.deepEqual(
    effects.map((effect) => effect.kind === 'send' && effect.to),
    [fresh, fresh],
  )
  const [found] = resume.receive(answerTo(effects), fresh, 50)
  assert.deepEqual(found, { kind: 'found', remote: fresh, mapped: here, roundTrip: 40 })
})

test('requests from many places keep the cached endpoint and the last three others', () => {
  const resume = createResume()
  resume.tick(0)
  for (let port = 1; port <= 10; port++) resume.receive(request(), { ...fresh, port }, 1)
  assert.deepEqual(
    probes(resume.tick(200)).map(({ to }) => to.port),
    [2000, 8, 9, 10],
  )
})

test('an answer from another endpoint, and a request of somebody else, are dropped', () => {
  const resume = createResume()
  const answer = answerTo(resume.tick(0))
  assert.deepEqual(resume.receive(answer, fresh, 10), [])
  const somebody = { ...association, remote: { ...association.remote, ufrag: 'somebody' } }
  assert.deepEqual(resume.receive(request(somebody), cached, 20), [])
  assert.deepEqual(resume.dropped, { asymmetric: 1, username: 1 })
  assert.equal(resume.receive(answer, cached, 30).length, 1)
})

/** The probe by itself, its peer played by hand. How long death takes to notice is in test/punch/path.test.ts. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../api/endpoint.ts'
import { SecretKey } from '../api/keys.ts'
import { systemRandom } from '../util/random.ts'
import { encodeCheck, encodeCheckSuccess } from './ice/connectivity-check.ts'
import { type Association, resumeAssociation } from './ice/credentials.ts'
import { PathProbe, type ProbeEffect } from './probe.ts'
import { decodeMessage, type ReceivedStunMessage } from './stun/message.ts'

const ours: Association = {
  local: { ufrag: 'ours', password: 'o'.repeat(22) },
  remote: { ufrag: 'theirs', password: 't'.repeat(22) },
}
const here: Endpoint = { address: '192.0.2.1', port: 1000 }
const old: Endpoint = { address: '192.0.2.2', port: 2000 }
const fresh: Endpoint = { address: '192.0.2.3', port: 3000 }
const other: Endpoint = { address: '192.0.2.4', port: 4000 }

function createProbe(controlling = false, largestPacket?: number): PathProbe {
  return new PathProbe({
    association: ours,
    controlling,
    remote: old,
    mapped: here,
    roundTrip: 40,
    largestPacket,
    random: systemRandom,
    now: 0,
  })
}

function read(bytes: Uint8Array): ReceivedStunMessage {
  return decodeMessage(bytes) ?? assert.fail('not a STUN message')
}

/** A request of the peer's. */
function request(
  options: { readonly useCandidate?: boolean; readonly association?: Association } = {},
): ReceivedStunMessage {
  const { local, remote } = options.association ?? ours
  return read(
    encodeCheck({
      transactionId: systemRandom.bytes(12),
      association: { local: remote, remote: local },
      role: { controlling: true, tieBreaker: 0n },
      useCandidate: options.useCandidate ?? false,
    }),
  )
}

/** The probes among the effects that go to `to`. */
function probesTo(effects: readonly ProbeEffect[], to: Endpoint): readonly ReceivedStunMessage[] {
  return effects.flatMap((effect) => {
    if (effect.kind !== 'send' || effect.to !== to) return []
    const message = read(effect.bytes)
    return message.messageClass === 'request' ? [message] : []
  })
}

function answer(probes: readonly ReceivedStunMessage[], association: Association = ours): ReceivedStunMessage {
  const [probe] = probes
  assert.ok(probe)
  return read(encodeCheckSuccess(probe, here, association.remote))
}

const moved = (effects: readonly ProbeEffect[]): readonly Endpoint[] =>
  effects.flatMap((effect) => (effect.kind === 'moved' ? [effect.remote] : []))

test('a peer heard from elsewhere is asked there and where it was, and answered', () => {
  const probe = createProbe()
  const effects = probe.receive(request(), fresh, 100)
  assert.deepEqual(
    effects.map((effect) => effect.kind === 'send' && effect.to),
    [fresh, fresh, old],
  )
  assert.deepEqual(probe.remote, old)
})

test('how wide the path is is asked with whole checks of that size, and each with a plain one', () => {
  const probe = createProbe(false, 1452)
  assert.equal(probe.deadline, 0)
  const sizes = (effects: readonly ProbeEffect[]): readonly unknown[] =>
    effects.map((effect) => (effect.kind === 'send' ? [effect.bytes.length, effect.whole === true] : effect.kind))
  const first = probe.tick(0)
  const [asked, plain] = probesTo(first, old)
  assert.ok(asked && plain)
  assert.deepEqual(sizes(first), [
    [1280 - 28, true],
    [plain.bytes.length, false],
  ])
  // The peer answers it like any check, and shortly.
  const success = answer([asked])
  assert.ok(success.bytes.length < 100)
  assert.deepEqual(probe.receive(success, old, 40), [])
  const second = probe.tick(40)
  assert.deepEqual(sizes(second)[0], [1452 - 28, true])
  assert.deepEqual(sizes(probe.receive(answer(probesTo(second, old)), old, 80)), ['resized'])
  assert.equal(probe.mtu, 1452)
  assert.deepEqual(probe.receive(answer(probesTo(second, old)), old, 90), [])
  assert.equal(probe.stats().mtuProbesSent, 2)
  assert.equal(probe.roundTrip, 40)
})

test('silence about sizes is no silence of the path, and a lost path is not asked', () => {
  const probe = createProbe(false, 1452)
  for (let now = 0; now < 10_000; now += 100) {
    // Everything but what was filled up is answered.
    for (const asked of probesTo([...probe.tick(now), ...probe.check(now)], old)) {
      if (asked.bytes.length < 200) probe.receive(answer([asked]), old, now + 40)
    }
  }
  assert.equal(probe.mtu, undefined)
  assert.deepEqual(
    probe.tick(10_000).filter(({ kind }) => kind === 'lost'),
    [],
  )
  for (let now = 10_100; now < 20_000; now += 200) probe.tick(now)
  assert.equal(probe.deadline, undefined)
  const { mtuProbesSent } = probe.stats()
  probe.tick(200_000)
  assert.equal(probe.stats().mtuProbesSent, mtuProbesSent)
})

test('the path moves when the new endpoint answers and the old one does not for 200 ms', () => {
  const probe = createProbe()
  const effects = probe.receive(request(), fresh, 100)
  assert.deepEqual(moved(probe.receive(answer(probesTo(effects, fresh)), fresh, 140)), [])
  assert.deepEqual(moved(probe.tick(299)), [])
  assert.equal(probe.deadline, 300)
  assert.deepEqual(moved(probe.tick(300)), [fresh])
  assert.deepEqual(probe.remote, fresh)
  assert.equal(probe.stats().moves, 1)
})

test('the path stays when the old endpoint answers too', () => {
  const probe = createProbe()
  const effects = probe.receive(request(), fresh, 100)
  probe.receive(answer(probesTo(effects, fresh)), fresh, 120)
  probe.receive(answer(probesTo(effects, old)), old, 140)
  assert.deepEqual(moved(probe.tick(300)), [])
  assert.deepEqual(probe.remote, old)
  assert.equal(probe.deadline, 140 + 3300)
})

test('an answer to a probe from before the peer was heard elsewhere does not hold the path', () => {
  const probe = createProbe()
  const before = probesTo(probe.check(50), old)
  const effects = probe.receive(request(), fresh, 100)
  probe.receive(answer(before), old, 105)
  probe.receive(answer(probesTo(effects, fresh)), fresh, 140)
  assert.deepEqual(moved(probe.tick(300)), [fresh])
})

test('a pair that the peer nominates is moved to as soon as it answers, whether or not the old one lives', () => {
  const probe = createProbe()
  const effects = probe.receive(request({ useCandidate: true }), fresh, 100)
  assert.deepEqual(probesTo(effects, old), [])
  assert.deepEqual(moved(probe.receive(answer(probesTo(effects, fresh)), fresh, 140)), [fresh])
})

test('an endpoint that was heard only once does not displace one that the peer nominated', () => {
  const probe = createProbe()
  const effects = probe.receive(request({ useCandidate: true }), fresh, 100)
  assert.deepEqual(probesTo(probe.receive(request(), other, 110), other), [])
  assert.deepEqual(moved(probe.receive(answer(probesTo(effects, fresh)), fresh, 140)), [fresh])
})

test('a new endpoint that does not answer is asked every 200 ms and forgotten after 1.6 s', () => {
  const probe = createProbe()
  const [first] = probesTo(probe.receive(request(), fresh, 0), old)
  assert.ok(first)
  // The old one answers later than the settling time would have it, and keeps the path alive.
  const asked: number[] = []
  for (let now = 200; now < 3000; now += 200) {
    const effects = probe.tick(now)
    if (probesTo(effects, fresh).length > 0) asked.push(now)
  }
  assert.deepEqual(asked, [200, 400, 600, 800, 1000, 1200, 1400])
  assert.deepEqual(probe.remote, old)
})

test('an answer from another endpoint than the one asked proves nothing', () => {
  const probe = createProbe()
  const asked = probesTo(probe.check(100), old)
  probe.receive(answer(asked), fresh, 140)
  assert.deepEqual(probe.stats().dropped, { asymmetric: 1 })
  assert.equal(probe.deadline, 300)
  probe.receive(answer(asked), old, 150)
  assert.equal(probe.deadline, 150 + 3300)
  // Once answered, the transaction is over.
  probe.receive(answer(asked), old, 160)
  assert.deepEqual(probe.stats().dropped, { asymmetric: 1, unmatched: 1 })
})

const secret = new SecretKey(new Uint8Array(32).fill(9))
const resumed = resumeAssociation({ secret, controlling: false })

test('a restarted peer takes the path over with its first answer under the accepted secret', () => {
  const probe = createProbe()
  probe.accept(resumed)
  assert.ok(probe.answersTo(resumed.local.ufrag))
  // From the old endpoint: the machine kept its port.
  const effects = probe.receive(request({ association: resumed }), old, 100)
  assert.deepEqual(moved(probe.receive(answer(probesTo(effects, old), resumed), old, 140)), [])
  assert.deepEqual(probe.remote, old)
  // From now on under the new association alone.
  const asked = probesTo(probe.check(200), old)
  probe.receive(answer(asked, resumed), old, 240)
  assert.equal(probe.deadline, 240 + 3300)
  assert.deepEqual(probe.receive(request(), old, 300), [])
  assert.deepEqual(probe.stats().dropped, { username: 1 })
})

test('a request under the accepted secret alone changes nothing: it may be a replay', () => {
  const probe = createProbe()
  probe.accept(resumed)
  probe.receive(request({ association: resumed }), fresh, 100)
  const asked = probesTo(probe.check(110), old)
  probe.receive(answer(asked), old, 150)
  assert.equal(probe.receive(request(), old, 160).length, 1)
  assert.deepEqual(probe.remote, old)
})

test('a revoked secret is not answered', () => {
  const probe = createProbe()
  probe.accept(resumed)[Symbol.dispose]()
  assert.equal(probe.answersTo(resumed.local.ufrag), false)
  assert.deepEqual(probe.receive(request({ association: resumed }), fresh, 100), [])
})

test('a request with our ufrag but another name for the peer is not for this path', () => {
  const probe = createProbe()
  const remote = { ...ours.remote, ufrag: 'somebody' }
  assert.deepEqual(probe.receive(request({ association: { ...ours, remote } }), old, 100), [])
  assert.deepEqual(probe.stats().dropped, { username: 1 })
})

test('a lost path says so once, still answers, and moves no more', () => {
  const probe = createProbe()
  const lost: string[] = []
  for (let now = 3300; now <= 6000; now += 200) {
    for (const effect of probe.tick(now)) if (effect.kind === 'lost') lost.push(effect.reason)
  }
  assert.deepEqual(lost, ['no answer from 192.0.2.2:2000 for 4.9 s'])
  assert.equal(probe.deadline, undefined)
  assert.deepEqual(
    probe.receive(request(), fresh, 7000).map(({ kind }) => kind),
    ['send'],
  )
  assert.equal(probe.deadline, undefined)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Consent } from './consent.ts'

/** Ticks at every deadline; the times of probes, and the end if there is one. */
function run(consent: Consent, until: number): { readonly probes: readonly number[]; readonly expiredAt?: number } {
  const probes: number[] = []
  for (;;) {
    const now = consent.deadline
    if (now === undefined || now > until) return { probes }
    const action = consent.tick(now)
    if (action.kind === 'probe') probes.push(now)
    if (action.kind === 'expired') return { probes, expiredAt: now }
  }
}

test('the controlling side of a silent path probes at 3 s, every 200 ms from there, and gives up at 4.6 s', () => {
  assert.deepEqual(run(new Consent({ controlling: true, now: 0 }), 60_000), {
    probes: [3000, 3200, 3400, 3600, 3800, 4000, 4200, 4400],
    expiredAt: 4600,
  })
})

test('the controlled side begins at 3.3 s and gives up at 4.9 s', () => {
  const { probes, expiredAt } = run(new Consent({ controlling: false, now: 0 }), 60_000)
  assert.deepEqual([probes[0], probes.length, expiredAt], [3300, 8, 4900])
})

test('the controlled side keeps quiet as long as it hears requests', () => {
  const consent = new Consent({ controlling: false, now: 0 })
  for (let now = 3000; now <= 60_000; now += 3000) {
    assert.deepEqual(run(consent, now).probes, [])
    consent.heard(now)
  }
})

test('requests alone do not keep the controlling side content: it wants answers', () => {
  const consent = new Consent({ controlling: true, now: 0 })
  consent.heard(1000)
  assert.equal(consent.deadline, 3000)
})

test('time in which this program stood still does not count as silence of the peer', () => {
  const consent = new Consent({ controlling: true, now: 0 })
  consent.check(0)
  // A stall of five seconds: the answer to the probe waits in the socket.
  assert.deepEqual(consent.tick(5000), { kind: 'probe' })
  const { probes, expiredAt } = run(consent, 60_000)
  assert.deepEqual([probes.length, expiredAt], [6, 6400])
})

test('an answer ends the quick probes and starts the time anew', () => {
  const consent = new Consent({ controlling: true, now: 0 })
  assert.deepEqual(consent.check(500), { kind: 'probe' })
  assert.deepEqual(consent.check(510), { kind: 'none' })
  assert.deepEqual(run(consent, 1000).probes, [700, 900])
  consent.answered(1050)
  assert.equal(consent.deadline, 4050)
})

test('a peer that is heard but does not answer has twice the time', () => {
  const consent = new Consent({ controlling: true, now: 0 })
  consent.check(0)
  consent.heard(100)
  assert.equal(run(consent, 60_000).expiredAt, 3200)
})

test('expired is said once, with the time since the last answer, and stays', () => {
  const consent = new Consent({ controlling: true, now: 0 })
  consent.check(200)
  for (let now = 400; now < 1800; now += 200) assert.deepEqual(consent.tick(now), { kind: 'probe' })
  assert.deepEqual(consent.tick(1800), { kind: 'expired', silence: 1800 })
  consent.answered(1900)
  assert.deepEqual(consent.tick(2000), { kind: 'none' })
  assert.deepEqual(consent.check(2000), { kind: 'none' })
  assert.equal(consent.expired, true)
  assert.equal(consent.deadline, undefined)
})

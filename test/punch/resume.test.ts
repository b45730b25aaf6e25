/** Meeting again without signalling, where the path was last time. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PunchGuardError } from '../../src/api/errors.ts'
import { SecretKey } from '../../src/api/keys.ts'
import { connect, createLab, createPuncher, type Device, eim, type Lab, restrictive, Watched } from './lab.ts'

const secret = (fill = 7): SecretKey => new SecretKey(new Uint8Array(32).fill(fill))

/** The program of one device begins anew, on its old port. */
async function restart(lab: Lab, device: Device, seed: number): Promise<ReturnType<typeof createPuncher>> {
  await device.puncher[Symbol.asyncDispose]()
  return createPuncher(lab.clock, device.socket, seed)
}

test('two restarted devices meet at their old endpoints within a round trip', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const paths = await connect(lab)
  const [remoteOfA, remoteOfB] = [paths.a.status().remote, paths.b.status().remote]
  const [a, b] = [await restart(lab, lab.a, 90), await restart(lab, lab.b, 91)]
  const signal = new AbortController().signal
  const begun = lab.clock.now()
  const resumedA = new Watched(a.resume({ remote: remoteOfA, secret: secret(), controlling: true, signal }), lab.clock)
  const resumedB = new Watched(b.resume({ remote: remoteOfB, secret: secret(), controlling: false, signal }), lab.clock)
  await lab.clock.until(() => resumedA.settled && resumedB.settled, 5000)
  assert.ok(resumedA.value && resumedB.value)
  assert.deepEqual([resumedA.at, resumedB.at], [begun + 40, begun + 40])
  assert.equal(resumedA.value.status().kind, 'cached')
  assert.equal(resumedA.value.status().roundTrip, 40)
  const [lostA, lostB] = [resumedA.value, resumedB.value].map((path) => new Watched(path.lost, lab.clock))
  await lab.clock.advance(30_000)
  assert.equal(lostA?.settled || lostB?.settled, false)
  assert.deepEqual([resumedA.value.stats().probesSent, resumedB.value.stats().probesSent], [9, 0])
})

test('both sides may begin at any time, through 20 % loss', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const lab = createLab({ a: restrictive, b: restrictive, seed })
    const paths = await connect(lab)
    const [remoteOfA, remoteOfB] = [paths.a.status().remote, paths.b.status().remote]
    const [a, b] = [await restart(lab, lab.a, 90 + seed), await restart(lab, lab.b, 190 + seed)]
    lab.network.weather = { delay: 20, loss: 0.2, jitter: 20 }
    const signal = new AbortController().signal
    const resumedA = new Watched(
      a.resume({ remote: remoteOfA, secret: secret(), controlling: true, signal }),
      lab.clock,
    )
    await lab.clock.advance(seed * 500)
    const begun = lab.clock.now()
    const resumedB = new Watched(
      b.resume({ remote: remoteOfB, secret: secret(), controlling: false, signal }),
      lab.clock,
    )
    assert.equal(await lab.clock.until(() => resumedA.settled && resumedB.settled, 3000), true, `seed ${seed}`)
    assert.ok(lab.clock.now() - begun < 2500)
  }
})

test('a peer that runs on keeps its path when the other side restarts and resumes', async () => {
  for (const restarted of ['a', 'b'] as const) {
    const lab = createLab({ a: restrictive, b: restrictive })
    const paths = await connect(lab)
    const [gone, stays] = restarted === 'a' ? [paths.a, paths.b] : [paths.b, paths.a]
    stays.acceptResume({ secret: secret(), controlling: restarted === 'b' })
    const lost = new Watched(stays.lost, lab.clock)
    const { remote } = gone.status()
    const puncher = await restart(lab, lab[restarted], 90)
    await lab.clock.advance(700)
    const begun = lab.clock.now()
    const resumed = new Watched(
      puncher.resume({
        remote,
        secret: secret(),
        controlling: restarted === 'a',
        signal: new AbortController().signal,
      }),
      lab.clock,
    )
    await lab.clock.until(() => resumed.settled, 2000)
    assert.equal(resumed.at, begun + 40)
    const lostAgain = new Watched(resumed.value?.lost ?? Promise.reject(new Error('no path')), lab.clock)
    await lab.clock.advance(60_000)
    assert.equal(lost.settled || lostAgain.settled, false)
    assert.deepEqual(stays.status().remote, resumed.value?.status().mapped)
  }
})

test('a peer that restarts behind a rebound NAT is followed to its new endpoint', async () => {
  const lab = createLab({ a: eim('endpoint-independent'), b: eim('endpoint-independent') })
  const { a, b } = await connect(lab)
  b.acceptResume({ secret: secret(), controlling: false })
  const { remote } = a.status()
  const old = b.status().remote
  const puncher = await restart(lab, lab.a, 90)
  lab.a.socket.nat?.rebind()
  const moves: unknown[] = []
  b.subscribe((to) => moves.push(to))
  const resumed = puncher.resume({ remote, secret: secret(), controlling: true, signal: new AbortController().signal })
  const watched = new Watched(resumed, lab.clock)
  await lab.clock.advance(500)
  assert.ok(watched.value)
  assert.equal(moves.length, 1)
  assert.notDeepEqual(b.status().remote, old)
  assert.deepEqual(b.status().remote, watched.value.status().mapped)
})

test('without its secret, or with the wrong one, nobody resumes and the living path notices nothing', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const { a, b } = await connect(lab)
  const acceptance = b.acceptResume({ secret: secret(), controlling: false })
  const stop = new AbortController()
  const wrong = new Watched(
    lab.a.puncher.resume({ remote: a.status().remote, secret: secret(8), controlling: true, signal: stop.signal }),
    lab.clock,
  )
  const sameRole = new Watched(
    lab.a.puncher.resume({ remote: a.status().remote, secret: secret(), controlling: false, signal: stop.signal }),
    lab.clock,
  )
  await lab.clock.advance(10_000)
  acceptance[Symbol.dispose]()
  const late = new Watched(
    lab.a.puncher.resume({ remote: a.status().remote, secret: secret(), controlling: true, signal: stop.signal }),
    lab.clock,
  )
  await lab.clock.advance(10_000)
  assert.equal(wrong.settled || sameRole.settled || late.settled, false)
  assert.equal(b.status().roundTrip, 40)
  stop.abort(new PunchGuardError('TIMEOUT', 'time is up', { hint: '' }))
  await lab.clock.advance(0)
  assert.ok(wrong.error instanceof PunchGuardError)
  assert.equal(wrong.error.code, 'PUNCH_NO_PATH')
  // Every 100 ms for 2 s, then every 500 ms until 20 s.
  assert.match(
    wrong.error.message,
    /^time is up: no answer from 203\.0\.113\.2:\d+, where the peer was before, to 57 probes$/,
  )
})

test('a replayed resume request moves nothing', async () => {
  const lab = createLab({ a: eim('endpoint-independent'), b: eim('endpoint-independent') })
  const { a, b } = await connect(lab)
  b.acceptResume({ secret: secret(), controlling: false })
  const { remote } = a.status()
  // Captured on the way of an attempt that never arrived.
  let captured: Uint8Array | undefined
  lab.network.pass = (bytes, { to }) => {
    if (bytes[0] === 0 && to.address === remote.address && captured === undefined) captured = bytes.slice()
    return false
  }
  const stop = new AbortController()
  const attempt = new Watched(
    lab.a.puncher.resume({ remote, secret: secret(), controlling: true, signal: stop.signal }),
    lab.clock,
  )
  stop.abort(new Error('enough'))
  lab.network.pass = () => true
  assert.ok(captured)
  lab.b.socket.arrive(captured, { from: { address: '203.0.113.99', port: 9 }, to: remote })
  const lost = new Watched(b.lost, lab.clock)
  await lab.clock.advance(30_000)
  assert.equal(lost.settled, false)
  assert.equal(b.stats().moves, 0)
  assert.equal(String(attempt.error), 'Error: enough')
})

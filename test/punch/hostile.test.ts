/** Strangers, garbage and forgeries: counted, unanswered where an answer would help them, and without effect. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Endpoint } from '../../src/api/endpoint.ts'
import { SecretKey } from '../../src/api/keys.ts'
import { encodeCheck, encodeCheckSuccess } from '../../src/punch/ice/connectivity-check.ts'
import { type Association, randomCredentials } from '../../src/punch/ice/credentials.ts'
import { decodeMessage, encodeMessage } from '../../src/punch/stun/message.ts'
import { seededRandom } from './hand-clock.ts'
import { connect, createLab, type Lab, punch, restrictive, Watched } from './lab.ts'

const stranger: Endpoint = { address: '203.0.113.66', port: 6666 }

function inject(lab: Lab, bytes: Uint8Array, from: Endpoint = stranger): void {
  const { address, port } = lab.b.socket
  lab.b.socket.arrive(bytes, { from, to: { address, port } })
}

/** Every datagram that reaches b's address while `during` runs. */
async function capture(
  lab: Lab,
  during: () => Promise<unknown>,
): Promise<readonly { bytes: Uint8Array; from: Endpoint }[]> {
  const captured: { bytes: Uint8Array; from: Endpoint }[] = []
  lab.network.pass = (bytes, { from, to }) => {
    if (to.address === lab.b.socket.address) captured.push({ bytes: bytes.slice(), from })
    return true
  }
  await during()
  lab.network.pass = () => true
  return captured
}

test('a request without our ufrag, or with a forged MESSAGE-INTEGRITY, gets no answer and makes no pair', async () => {
  const lab = createLab({ a: restrictive, b: undefined })
  // Until b knows a, everything from a is held up, so that b's state is all about the injected datagrams.
  lab.network.pass = () => false
  const opened = await punch(lab, { limit: 300 })
  const described = lab.a.exchange.heard.find((one) => one.kind === 'description')
  assert.ok(described?.kind === 'description')
  const random = seededRandom(3)
  const remote = { ufrag: described.ufrag, password: described.password }
  const local = randomCredentials(random)
  const role = { controlling: true, tieBreaker: 1n }
  const check = (association: Association): Uint8Array =>
    encodeCheck({ transactionId: random.bytes(12), association, role, useCandidate: true })
  const before = { sent: lab.b.socket.sent, dropped: lab.b.puncher.stats().dropped }
  await lab.clock.advance(0)
  inject(lab, check({ local, remote: randomCredentials(random) }))
  inject(lab, check({ local, remote: { ...remote, password: randomCredentials(random).password } }))
  assert.equal(lab.b.socket.sent, before.sent)
  assert.deepEqual(lab.b.puncher.stats().dropped, { ...before.dropped, username: 1 })
  assert.equal(opened.b.settled, false)
})

test('responses that nobody asked for, or signed by nobody, change nothing', async () => {
  const lab = createLab({ a: restrictive, b: undefined })
  const { b } = await connect(lab)
  const random = seededRandom(4)
  const forged = randomCredentials(random)
  let asked: ReturnType<typeof decodeMessage>
  lab.network.pass = (bytes, { from }) => {
    if (from.address !== lab.b.socket.address) return true
    asked = decodeMessage(bytes.slice()) ?? asked
    return false
  }
  b.check()
  assert.ok(asked)
  const before = b.status()
  const { remote } = before
  // The right transaction from the right place under the wrong password: an off-path guesser who saw too much.
  inject(lab, encodeCheckSuccess(asked, { address: '192.0.2.1', port: 1 }, forged), remote)
  inject(lab, encodeCheckSuccess({ ...asked, transactionId: random.bytes(12) }, stranger, forged), remote)
  inject(
    lab,
    encodeMessage({ messageClass: 'error', method: 1, transactionId: asked.transactionId, attributes: [] }),
    remote,
  )
  assert.deepEqual(b.status(), before)
  assert.deepEqual(b.stats().dropped, { integrity: 2 })
  assert.deepEqual(lab.b.puncher.stats().dropped, { unmatched: 1 })
})

test('a datagram that follows the peer from a stranger is answered to the stranger, but the path stays', async () => {
  const lab = createLab({ a: restrictive, b: undefined })
  const { b } = await connect(lab)
  const captured = await capture(lab, () => lab.clock.advance(10_000))
  assert.ok(captured.length > 0)
  const before = b.status().remote
  for (const { bytes } of captured) inject(lab, bytes)
  await lab.clock.advance(10_000)
  assert.deepEqual(b.status().remote, before)
  assert.equal(b.stats().moves, 0)
})

test('mutated checks and random bytes never throw, never move a path and never open one', async () => {
  const lab = createLab({ a: restrictive, b: undefined })
  const captured = await capture(lab, () => connect(lab))
  const { b } = await connect(lab)
  const before = b.status()
  const samples = captured.map(({ bytes }) => bytes)
  assert.ok(samples.length >= 2)
  fc.assert(
    fc.property(
      fc.constantFrom(...samples),
      fc.array(fc.record({ at: fc.nat(150), value: fc.nat(255) }), { minLength: 1, maxLength: 4 }),
      fc.uint8Array({ maxLength: 100 }),
      (sample, changes, noise) => {
        const bytes = sample.slice()
        for (const { at, value } of changes) if (at < bytes.length) bytes[at] = value
        inject(lab, bytes)
        inject(lab, noise)
      },
    ),
    { numRuns: 1000, seed: 8445 },
  )
  await lab.clock.advance(10_000)
  assert.deepEqual(b.status().remote, before.remote)
  assert.equal(b.stats().moves, 0)
  const {
    received,
    dropped: { malformed = 0 },
  } = lab.b.puncher.stats()
  assert.ok(received >= 2000)
  assert.ok(malformed > 1000)
})

test('mutated checks neither complete a punch nor a resumption that waits for its peer', async () => {
  const lab = createLab({ a: restrictive, b: undefined })
  const secret = new SecretKey(new Uint8Array(32).fill(1))
  // Everything that a sends to b is captured and arrives only in mutated form.
  const captured: Uint8Array[] = []
  lab.network.pass = (bytes, { to }) => {
    if (to.address === lab.b.socket.address && bytes[0] === 0) captured.push(bytes.slice())
    return to.address !== lab.b.socket.address
  }
  const { signal } = new AbortController()
  const opened = await punch(lab, { limit: 300 })
  const remote = { address: lab.b.socket.address, port: lab.b.socket.port }
  const resumeA = lab.a.puncher.resume({ remote, secret, controlling: true, signal })
  const resumed = new Watched(
    lab.b.puncher.resume({ remote: { address: '203.0.113.1', port: 9 }, secret, controlling: false, signal }),
    lab.clock,
  )
  resumeA.catch(() => {})
  await lab.clock.advance(500)
  assert.ok(captured.length >= 6)
  const { sent } = lab.b.socket
  fc.assert(
    fc.property(fc.constantFrom(...captured), fc.nat(150), fc.integer({ min: 1, max: 255 }), (sample, at, flip) => {
      const bytes = sample.slice()
      const place = at % bytes.length
      bytes[place] = (bytes[place] ?? 0) ^ flip
      inject(lab, bytes)
    }),
    { numRuns: 1000, seed: 7675 },
  )
  assert.equal(lab.b.socket.sent, sent)
  assert.equal(opened.b.settled || resumed.settled, false)
  await lab.clock.advance(5000)
  assert.equal(opened.b.settled || resumed.settled, false)
})

test('mutated and reordered messages of the peer never throw, and a punch still succeeds after them', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const random = seededRandom(5)
  const opening = punch(lab, { limit: 90 })
  await opening
  const generation = fc.oneof(fc.constant(1_699_999_999), fc.integer({ max: 1_699_999_999 }), fc.constant(Number.NaN))
  fc.assert(
    fc.property(
      generation,
      fc.string(),
      fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()),
      fc.oneof(fc.integer(), fc.double()),
      (number, text, address, port) => {
        const candidate = {
          kind: 'host',
          endpoint: { address, port },
          foundation: text,
          priority: Math.floor(random.number() * 2 ** 33),
        } as const
        lab.b.exchange.deliver({ kind: 'description', generation: number, ufrag: text, password: text })
        lab.b.exchange.deliver({ kind: 'candidate', generation: number, candidate })
        lab.b.exchange.deliver({ kind: 'candidate', generation: 1_700_000_000, candidate })
        lab.b.exchange.deliver({ kind: 'end-of-candidates', generation: number })
      },
    ),
    { numRuns: 300, seed: 8838 },
  )
  const { a, b } = await opening
  assert.equal(await lab.clock.until(() => a.settled && b.settled, 5000), true)
})

/** New generations on the same socket, and what is left over of old ones. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, createLab, punch, restrictive, Watched } from './lab.ts'

test('a new generation on the same socket opens a second path while the first one lives', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const first = await connect(lab)
  const second = await connect(lab)
  await lab.clock.advance(20_000)
  for (const path of [first.a, first.b, second.a, second.b]) {
    assert.equal(path.status().roundTrip, 40)
    await path[Symbol.asyncDispose]()
  }
  assert.deepEqual(first.a.status().remote, second.a.status().remote)
  assert.deepEqual([lab.a.puncher.stats().parties, lab.b.puncher.stats().parties], [0, 0])
})

test('generations rise over calls and over restarts of the program', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  await connect(lab)
  await connect(lab)
  const generations = lab.b.exchange.heard.flatMap((one) => (one.kind === 'description' ? [one.generation] : []))
  assert.equal(new Set(generations).size, 2)
  assert.deepEqual(generations, [...generations].sort())
  assert.equal(generations[0], 1_700_000_000)
})

test('messages of an older generation are dropped and counted, and do no harm', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  await connect(lab)
  const old = [...lab.a.exchange.heard]
  const controller = new AbortController()
  const again = new Watched(
    lab.a.puncher.open({ exchange: lab.a.exchange, controlling: true, signal: controller.signal }),
    lab.clock,
  )
  const other = new Watched(
    lab.b.puncher.open({ exchange: lab.b.exchange, controlling: false, signal: controller.signal }),
    lab.clock,
  )
  await lab.clock.advance(60)
  for (const message of old) lab.a.exchange.deliver(message)
  assert.equal(await lab.clock.until(() => again.settled && other.settled, 2000), true)
  assert.ok(again.value && other.value)
})

test('a peer that begins again in the middle of our punch is followed to its new generation', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const signal = new AbortController().signal
  const a = new Watched(lab.a.puncher.open({ exchange: lab.a.exchange, controlling: true, signal }), lab.clock)
  const givenUp = new AbortController()
  const first = new Watched(
    lab.b.puncher.open({ exchange: lab.b.exchange, controlling: false, signal: givenUp.signal }),
    lab.clock,
  )
  await lab.clock.advance(95)
  const reason = new Error('began again')
  givenUp.abort(reason)
  const second = new Watched(lab.b.puncher.open({ exchange: lab.b.exchange, controlling: false, signal }), lab.clock)
  assert.equal(await lab.clock.until(() => a.settled && second.settled, 2000), true)
  assert.equal(first.error, reason)
  assert.ok(a.value && second.value)
  assert.deepEqual(a.value.status().remote, second.value.status().mapped)
})

test('an abort gives the socket back to others at once', async () => {
  const lab = createLab({ a: restrictive, b: restrictive })
  const controller = new AbortController()
  const opened = new Watched(
    lab.a.puncher.open({ exchange: lab.a.exchange, controlling: true, signal: controller.signal }),
    lab.clock,
  )
  await lab.clock.advance(30)
  controller.abort(new Error('enough'))
  const { sent } = lab.a.socket
  await lab.clock.advance(60_000)
  assert.equal(String(opened.error), 'Error: enough')
  assert.equal(lab.a.socket.sent, sent)
  assert.equal(lab.a.puncher.stats().parties, 0)
  const { a } = await punch(lab)
  assert.ok(a.value)
})

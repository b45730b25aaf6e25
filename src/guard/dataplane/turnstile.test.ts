import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Turnstile } from './turnstile.ts'
import { control } from './worker-messages.ts'

const rounds = 20_000

/** Adds to a number that is not atomic, as the counter of a session is, `rounds` times. */
const adder = `
  import { workerData } from 'node:worker_threads'
  const { Turnstile } = await import(workerData.module)
  const { memory, own, number } = workerData
  const turnstile = new Turnstile(memory, own)
  for (let round = 0; round < ${rounds}; round++) {
    if (!turnstile.enter()) throw new Error('nobody said stop')
    number[0] = number[0] + 1
    turnstile.leave()
  }
`

function ownControl(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(16))
}

function startThread(source: string, data: object): Worker {
  const module = new URL('./turnstile.js', import.meta.url).href
  const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`)
  return new Worker(url, { workerData: { module, own: ownControl(), ...data } })
}

test('what threads do inside, they do one after another', async () => {
  const memory = Turnstile.memory()
  const number = new Float64Array(new SharedArrayBuffer(8))
  const threads = [0, 1].map(() => startThread(adder, { memory, number }))
  const statuses = await Promise.all(threads.map(async (thread) => once(thread, 'exit')))
  assert.deepEqual(statuses, [[0], [0]])
  assert.equal(number[0], 2 * rounds)
})

/** Goes in and out without a pause until told to end, and counts how often. */
const busy = `
  import { workerData } from 'node:worker_threads'
  const { Turnstile } = await import(workerData.module)
  const { memory, own, entries } = workerData
  const turnstile = new Turnstile(memory, own)
  while (Atomics.load(entries, 1) === 0) {
    turnstile.enter()
    Atomics.add(entries, 0, 1)
    for (const end = performance.now() + 0.2; performance.now() < end; );
    turnstile.leave()
  }
`

test('who goes in and out without a pause keeps nobody out', async () => {
  const memory = Turnstile.memory()
  const entries = new Int32Array(new SharedArrayBuffer(8))
  const thread = startThread(busy, { memory, entries })
  const ended = once(thread, 'exit')
  const turnstile = new Turnstile(memory, ownControl())
  while (Atomics.load(entries, 0) === 0) await setTimeout(1)
  let late = 0
  for (let round = 0; round < 100; round++) {
    const before = Atomics.load(entries, 0)
    assert.ok(turnstile.enter())
    // One may have come while we looked; more, only if we were not running between looking and asking.
    if (Atomics.load(entries, 0) - before > 1) late++
    turnstile.leave()
  }
  Atomics.store(entries, 1, 1)
  assert.deepEqual(await ended, [0])
  assert.ok(late <= 5, `overtaken in ${late} of 100 rounds`)
})

test('who is told to stop does not wait for one that never leaves, and does not get in', () => {
  const memory = Turnstile.memory()
  const own = ownControl()
  assert.ok(new Turnstile(memory, ownControl()).enter())
  const other = new Turnstile(memory, own)
  own[control.stop] = 1
  assert.equal(other.enter(), false)
})

test('whoever leaves lets the next one in', () => {
  const turnstile = new Turnstile(Turnstile.memory(), ownControl())
  for (let round = 0; round < 3; round++) {
    assert.ok(turnstile.enter())
    turnstile.leave()
  }
})

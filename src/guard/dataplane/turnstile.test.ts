import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { Turnstile } from './turnstile.ts'
import { control } from './worker-messages.ts'

const rounds = 100_000

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

test('what threads do inside, they do one after another', async () => {
  const memory = Turnstile.memory()
  const number = new Float64Array(new SharedArrayBuffer(8))
  const module = new URL('./turnstile.js', import.meta.url).href
  const source = new URL(`data:text/javascript,${encodeURIComponent(adder)}`)
  const threads = [0, 1].map(() => new Worker(source, { workerData: { module, memory, own: ownControl(), number } }))
  const statuses = await Promise.all(threads.map(async (thread) => once(thread, 'exit')))
  assert.deepEqual(statuses, [[0], [0]])
  assert.equal(number[0], 2 * rounds)
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

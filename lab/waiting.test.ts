import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limited } from './waiting.ts'

const never = new AbortController().signal

test('what happens in time is passed on, also when it fails', async () => {
  const limit = { within: 10_000, what: 'it', signal: never }
  assert.equal(await limited(Promise.resolve(7), limit), 7)
  await assert.rejects(limited(Promise.reject(new Error('broken')), limit), /broken/)
})

test('what does not happen in time is said in words', async () => {
  const waiting = limited(new Promise(() => {}), { within: 5, what: 'the answer', signal: never })
  await assert.rejects(waiting, { code: 'TIMEOUT', message: 'the answer did not happen within 0.005 s' })
})

test('a wish to stop ends the waiting with its reason', async () => {
  const stopping = new AbortController()
  const waiting = limited(new Promise(() => {}), { within: 10_000, what: 'it', signal: stopping.signal })
  stopping.abort(new Error('stopped'))
  await assert.rejects(waiting, /stopped/)
})

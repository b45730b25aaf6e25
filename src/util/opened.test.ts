import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openTogether } from './opened.ts'

function resource(name: string, closed: string[], fails = false): AsyncDisposable {
  return {
    [Symbol.asyncDispose]: async () => {
      closed.push(name)
      if (fails) throw new Error(`${name} does not close`)
    },
  }
}

test('what was opened is closed in reverse, once, and a failure to close one does not keep the others open', async () => {
  const closed: string[] = []
  const opened = await openTogether(async (all) => {
    all.add(resource('first', closed))
    all.add(resource('second', closed, true))
    all.add(resource('third', closed))
    return all
  })
  assert.deepEqual(closed, [])
  await assert.rejects(opened[Symbol.asyncDispose](), /second does not close/)
  await opened[Symbol.asyncDispose]()
  assert.deepEqual(closed, ['third', 'second', 'first'])
})

test('when opening fails half-way, what is open already is closed and the failure is told', async () => {
  const closed: string[] = []
  const opening = openTogether(async (all) => {
    all.add(resource('first', closed))
    all.add(resource('second', closed, true))
    throw new Error('the third does not open')
  })
  await assert.rejects(opening, /the third does not open/)
  assert.deepEqual(closed, ['second', 'first'])
})

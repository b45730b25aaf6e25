import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PunchMessage } from '../api/roles.ts'
import { PunchMailbox } from './punch-mailbox.ts'

const description = (generation: number): PunchMessage => ({
  kind: 'description',
  generation,
  ufrag: 'abcd',
  password: 'abcdefghijklmnopqrstuvwx',
})
const end = (generation: number): PunchMessage => ({ kind: 'end-of-candidates', generation })

function attempt(mailbox: PunchMailbox): { readonly seen: string[]; readonly subscription: Disposable } {
  const seen: string[] = []
  const subscription = mailbox
    .exchange(() => {})
    .subscribe((message) => seen.push(`${message.kind} ${message.generation}`))
  return { seen, subscription }
}

test('messages that came before the attempt are given to it from the beginning', () => {
  const mailbox = new PunchMailbox()
  assert.equal(mailbox.receive(description(1)), true)
  assert.equal(mailbox.receive(end(1)), false)
  assert.equal(mailbox.waiting, true)
  assert.deepEqual(attempt(mailbox).seen, ['description 1', 'end-of-candidates 1'])
  assert.equal(mailbox.waiting, false)
})

test('the first generation that begins during an attempt belongs to it, a second one asks for a new attempt', () => {
  const mailbox = new PunchMailbox()
  const first = attempt(mailbox)
  assert.equal(mailbox.receive(description(3)), false)
  assert.equal(mailbox.receive(end(3)), false)
  assert.equal(mailbox.receive(description(4)), true)
  assert.equal(mailbox.receive(end(4)), false)
  assert.deepEqual(first.seen, ['description 3', 'end-of-candidates 3'])
  first.subscription[Symbol.dispose]()
  assert.deepEqual(attempt(mailbox).seen, ['description 4', 'end-of-candidates 4'])
})

test('a later attempt waits for a generation that no earlier one had', () => {
  const mailbox = new PunchMailbox()
  const first = attempt(mailbox)
  mailbox.receive(description(1))
  first.subscription[Symbol.dispose]()
  const second = attempt(mailbox)
  assert.deepEqual(second.seen, [])
  assert.equal(mailbox.receive(end(1)), false)
  assert.equal(mailbox.receive(description(2)), false)
  assert.deepEqual(second.seen, ['description 2'])
})

test('older generations, and candidates without a description, are dropped and counted', () => {
  const mailbox = new PunchMailbox()
  mailbox.receive(description(5))
  assert.equal(mailbox.receive(description(4)), false)
  assert.equal(mailbox.receive(end(6)), false)
  assert.equal(mailbox.receive(end(0)), false)
  assert.equal(mailbox.dropped, 3)
  assert.deepEqual(attempt(mailbox).seen, ['description 5'])
})

test('a generation is bounded', () => {
  const mailbox = new PunchMailbox()
  mailbox.receive(description(1))
  for (let i = 0; i < 1000; i++) mailbox.receive(end(1))
  assert.equal(attempt(mailbox).seen.length, 64)
  assert.equal(mailbox.dropped, 1001 - 64)
})

test('a new conversation starts counting again', () => {
  const mailbox = new PunchMailbox()
  mailbox.receive(description(9))
  attempt(mailbox).subscription[Symbol.dispose]()
  mailbox.reset()
  assert.equal(mailbox.receive(description(1)), true)
  assert.deepEqual(attempt(mailbox).seen, ['description 1'])
})

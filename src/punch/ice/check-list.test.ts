import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PunchCandidate } from '../../api/roles.ts'
import { hostCandidate, peerReflexiveCandidate, serverReflexiveCandidate } from './candidate.ts'
import { CheckList } from './check-list.ts'
import { nominationDueAt } from './nomination.ts'
import { type CandidatePair, checkInterval } from './pair.ts'

const server = { address: '198.51.100.1', port: 3478 }
const near = hostCandidate({ address: '192.168.1.2', port: 1000 }, 0)
const far = serverReflexiveCandidate({ address: '203.0.113.1', port: 1000 }, server, 0)

function listOf(...candidates: readonly PunchCandidate[]): CheckList {
  const list = new CheckList(true)
  for (const candidate of candidates) list.add(candidate)
  return list
}

test('pairs wait in the order of their priority', () => {
  const list = listOf(far, near)
  assert.deepEqual(
    list.pairs.map(({ remote }) => remote.kind),
    ['host', 'server-reflexive'],
  )
  assert.equal(list.takeDue(0, 20)?.remote, near)
})

test('one endpoint makes one pair, however often and by whatever name it is told', () => {
  const list = listOf(far, far, peerReflexiveCandidate(far.endpoint, 5))
  assert.equal(list.size, 1)
  assert.equal(list.pairs[0]?.remote.kind, 'server-reflexive')
})

test('a peer-reflexive candidate takes kind and priority of the signalled one that comes later', () => {
  const list = listOf(peerReflexiveCandidate(far.endpoint, 5))
  const before = list.pairs[0]?.priority ?? 0n
  list.add(far)
  assert.equal(list.pairs[0]?.remote, far)
  assert.ok((list.pairs[0]?.priority ?? 0n) > before)
})

test('the list takes 32 pairs and no more', () => {
  const list = new CheckList(true)
  const added = Array.from({ length: 40 }, (_, index) =>
    list.add(hostCandidate({ address: '192.0.2.1', port: 1000 + index }, index)),
  )
  assert.equal(added.filter((pair) => pair !== undefined).length, 32)
})

test('a pair is triggered once at a time, and is waiting again', () => {
  const list = listOf(near)
  const [pair] = list.pairs
  assert.ok(pair)
  pair.state = { kind: 'in-progress', firstSentAt: 0, sentAt: 0 }
  list.trigger(pair)
  list.trigger(pair)
  assert.equal(pair.state.kind, 'waiting')
  assert.equal(list.takeTriggered(), pair)
  assert.equal(list.hasTriggered, false)
})

test('checks of a pair are repeated quickly for two seconds, then ever more rarely, but for ever', () => {
  const at = (age: number, pairs = 3): number => checkInterval({ pairs, pacing: 20, age })
  assert.deepEqual(
    [0, 1999, 2000, 5000, 10_000, 600_000].map((age) => at(age)),
    [100, 100, 200, 500, 1000, 1000],
  )
  // RFC 8445 §14.3: with many pairs each waits until all had their turn.
  assert.equal(at(0, 10), 200)
})

function succeed(pair: CandidatePair | undefined, validAt: number, roundTrip: number): void {
  assert.ok(pair)
  pair.state = { kind: 'succeeded', validAt, roundTrip, mapped: near.endpoint }
}

test('the only valid pair is nominated at once when no better one is left', () => {
  const list = listOf(near, far)
  assert.equal(nominationDueAt(list.pairs), undefined)
  succeed(list.pairs[0], 500, 40)
  assert.deepEqual(nominationDueAt(list.pairs), { pair: list.pairs[0], at: Number.NEGATIVE_INFINITY })
})

test('a better pair is waited for until its first check is a round trip old, within 50 and 100 ms', () => {
  for (const [roundTrip, patience] of [
    [2, 50],
    [70, 70],
    [300, 100],
  ] as const) {
    const list = listOf(near, far)
    const [better, worse] = list.pairs
    assert.ok(better)
    succeed(worse, 30, roundTrip)
    better.state = { kind: 'in-progress', firstSentAt: 10, sentAt: 30 }
    assert.deepEqual(nominationDueAt(list.pairs), { pair: worse, at: 10 + patience })
  }
})

test('a better pair that was not even checked is not waited for longer than 100 ms', () => {
  const list = listOf(near, far)
  succeed(list.pairs[1], 30, 10)
  assert.equal(nominationDueAt(list.pairs)?.at, 130)
})

test('a nomination by a peer that lost the controlling role is void', () => {
  const list = listOf(near)
  const [pair] = list.pairs
  assert.ok(pair)
  pair.nominated = true
  list.setControlling(false)
  assert.equal(pair.nominated, false)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PunchMessage } from '../api/roles.ts'
import { hostCandidate } from './ice/candidate.ts'
import { Announcement, PeerTrickle } from './trickle.ts'

const description = (generation: number, ufrag = 'abcd'): PunchMessage => ({
  kind: 'description',
  generation,
  ufrag,
  password: 'p'.repeat(22),
})
const candidate = (generation: number, port = 1000): PunchMessage => ({
  kind: 'candidate',
  generation,
  candidate: hostCandidate({ address: '192.0.2.1', port }, 0),
})
const kinds = (peer: PeerTrickle, ...messages: readonly PunchMessage[]): readonly string[] =>
  messages.flatMap((message) => peer.receive(message).map(({ kind }) => kind))

test('a description and its candidates come through, repetitions of the description do not', () => {
  const peer = new PeerTrickle()
  assert.deepEqual(kinds(peer, description(5), candidate(5), description(5), candidate(5, 2)), [
    'description',
    'candidate',
    'candidate',
  ])
})

test('candidates that come before their description wait for it', () => {
  const peer = new PeerTrickle()
  assert.deepEqual(kinds(peer, candidate(5), candidate(6), candidate(6, 2)), [])
  assert.deepEqual(kinds(peer, description(6)), ['description', 'candidate', 'candidate'])
  assert.deepEqual(kinds(peer, candidate(5), description(5)), [])
  assert.deepEqual(peer.dropped, { 'older-generation': 2 })
})

test('early candidates are bounded', () => {
  const peer = new PeerTrickle()
  for (let port = 1; port <= 40; port++) peer.receive(candidate(5, port))
  assert.deepEqual(peer.dropped, { 'too-many-candidates': 8 })
  assert.equal(kinds(peer, description(5)).length, 33)
})

test('a newer generation, or a new name in the same one, begins anew', () => {
  const peer = new PeerTrickle()
  assert.deepEqual(kinds(peer, description(5), description(7), description(7, 'efgh')), Array(3).fill('description'))
  assert.deepEqual(kinds(peer, candidate(5)), [])
})

test('the end of candidates is that of its generation', () => {
  const peer = new PeerTrickle()
  peer.receive(description(5))
  peer.receive({ kind: 'end-of-candidates', generation: 6 })
  assert.equal(peer.complete, false)
  peer.receive({ kind: 'end-of-candidates', generation: 5 })
  assert.equal(peer.complete, true)
  peer.receive(description(6))
  assert.equal(peer.complete, false)
})

test('a description with impossible credentials or generation changes nothing', () => {
  const peer = new PeerTrickle()
  peer.receive(description(5))
  assert.deepEqual(kinds(peer, description(6, 'a:b'), description(Number.NaN), description(6.5)), [])
  assert.deepEqual(peer.dropped, { malformed: 3 })
  assert.deepEqual(kinds(peer, candidate(5)), ['candidate'])
})

test('what was said is repeated after 4, 8 and 16 s more, then every 16 s', () => {
  const announcement = new Announcement(0)
  announcement.add(description(5))
  announcement.add(candidate(5))
  const times: number[] = []
  while (announcement.deadline < 60_000) {
    const now = announcement.deadline
    assert.deepEqual(announcement.tick(now - 1), [])
    assert.equal(announcement.tick(now).length, 2)
    times.push(now)
  }
  assert.deepEqual(times, [4000, 12_000, 28_000, 44_000])
})

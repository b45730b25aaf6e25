import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PeerStateKind } from '../api/device.ts'
import type { Path } from '../api/roles.ts'
import { advance, explain, mayFollow, type SessionState } from './state.ts'

const path: Path = {
  status: () => ({ kind: 'host', remote: { address: '192.0.2.1', port: 1 }, mapped: undefined, roundTrip: 1 }),
  lost: new Promise(() => {}),
  subscribe: () => ({ [Symbol.dispose]: () => {} }),
  check: () => {},
  acceptResume: () => ({ [Symbol.dispose]: () => {} }),
  [Symbol.asyncDispose]: async () => {},
}

const all: Readonly<Record<PeerStateKind, SessionState>> = {
  down: { kind: 'down' },
  resuming: { kind: 'resuming' },
  reaching: { kind: 'reaching', reason: 'looking for b', hint: 'switch it on' },
  securing: { kind: 'securing' },
  punching: { kind: 'punching', attempt: 2 },
  joining: { kind: 'joining', path },
  connected: { kind: 'connected', path },
  healing: { kind: 'healing', reason: 'no answer for 1.8 s' },
  waiting: { kind: 'waiting', until: 5, reason: 'no path' },
  refused: { kind: 'refused', fingerprint: 'ABCD' },
}
const kinds = Object.keys(all) as PeerStateKind[]

test('every transition is allowed or refused as drawn', () => {
  const allowed = new Map<PeerStateKind, string>([
    ['down', 'resuming reaching securing punching refused'],
    ['resuming', 'down resuming reaching securing punching joining waiting refused'],
    ['reaching', 'down resuming reaching securing punching joining waiting refused'],
    ['securing', 'down resuming reaching securing punching joining waiting refused'],
    ['punching', 'down resuming reaching securing punching joining waiting refused'],
    ['joining', 'down reaching joining connected healing waiting refused'],
    ['connected', 'down reaching connected healing refused'],
    ['healing', 'down reaching joining healing waiting refused'],
    ['waiting', 'down resuming reaching securing punching waiting refused'],
    ['refused', 'down'],
  ])
  for (const from of kinds) {
    assert.equal(kinds.filter((to) => mayFollow(from, to)).join(' '), allowed.get(from), `after ${from}`)
  }
})

test('a state that may not follow is a bug and changes nothing', () => {
  assert.throws(() => advance(all.down, all.connected), /cannot go from down to connected/)
  assert.throws(() => advance(all.refused, all.reaching), /cannot go from refused to reaching/)
  assert.equal(advance(all.joining, all.connected), all.connected)
})

test('connected is reached only through joining, and every state leads there', () => {
  assert.deepEqual(
    kinds.filter((from) => mayFollow(from, 'connected')),
    ['joining', 'connected'],
  )
  for (const from of kinds) {
    const reachable = new Set<PeerStateKind>([from])
    for (const state of reachable) for (const to of kinds) if (mayFollow(state, to)) reachable.add(to)
    assert.ok(reachable.has('connected'), `from ${from}`)
  }
})

test('every state comes with its reason', () => {
  for (const kind of kinds) assert.ok(explain(all[kind], 'b').reason.length > 5, kind)
  assert.match(explain(all.refused, 'b').hint ?? '', /punchguard forget b/)
})

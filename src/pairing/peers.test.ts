import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, PunchGuardError } from '../api/errors.ts'
import { identityPublicKey, otrFingerprint, SecretKey, tunnelPublicKey } from '../api/keys.ts'
import { systemRandom } from '../util/random.ts'
import type { Card } from './card.ts'
import { encodePeers, findPeer, type PinnedPeers, parsePeers, pinPeer, rememberMeeting, unpinPeer } from './peers.ts'

const now = 1_790_000_000_000
const own = makeCard('laptop')

function makeCard(name: string): Card {
  return {
    name,
    toxId: systemRandom.bytes(38),
    otrFingerprint: otrFingerprint(systemRandom.bytes(20))!,
    identityKey: identityPublicKey(systemRandom.bytes(32))!,
    tunnelKey: tunnelPublicKey(systemRandom.bytes(32))!,
  }
}

function refused(action: () => unknown, code: ErrorCode): PunchGuardError {
  try {
    action()
  } catch (error) {
    assert.ok(error instanceof PunchGuardError, String(error))
    assert.equal(error.code, code)
    return error
  }
  assert.fail('accepted')
}

function pinned(...cards: readonly Card[]): PinnedPeers {
  return cards.reduce<PinnedPeers>((peers, card) => pinPeer(peers, card, { now, own }).peers, [])
}

test('a pinned peer is found by its name until it is forgotten', () => {
  const peers = pinned(makeCard('home'), makeCard('office'))
  assert.equal(findPeer(peers, 'office').name, 'office')
  const fewer = unpinPeer(peers, 'office')
  assert.deepEqual(
    fewer.map((peer) => peer.name),
    ['home'],
  )
  assert.equal(refused(() => findPeer(peers, 'hoem'), 'PEER_UNKNOWN').hint, 'did you mean "home"?')
  assert.match(refused(() => unpinPeer(fewer, 'office'), 'PEER_UNKNOWN').hint, /the peers are: home/)
  assert.match(refused(() => findPeer([], 'office'), 'PEER_UNKNOWN').hint, /punchguard pair/)
})

test('names stay unique: a second "home" and one called as we are get a number', () => {
  const peers = pinned(
    makeCard('home'),
    makeCard('home'),
    makeCard('laptop'),
    makeCard('home'),
    makeCard('x'.repeat(32)),
    makeCard('x'.repeat(32)),
  )
  assert.deepEqual(
    peers.map((peer) => peer.name),
    ['home', 'home-2', 'laptop-2', 'home-3', 'x'.repeat(32), `${'x'.repeat(30)}-2`],
  )
})

test('pinned keys are never replaced', () => {
  const card = makeCard('home')
  const peers = pinned(card)
  refused(() => pinPeer(peers, { ...card, name: 'elsewhere' }, { now, own }), 'PEER_EXISTS')
  const forged = { ...makeCard('home'), toxId: card.toxId }
  const error = refused(() => pinPeer(peers, forged, { now, own }), 'PEER_REFUSED')
  assert.match(error.message, /keys are not the pinned ones/)
  assert.match(error.hint, /forget home/)
  refused(() => pinPeer(peers, { ...card, otrFingerprint: own.otrFingerprint }, { now, own }), 'CARD_INVALID')
  assert.equal(peers.length, 1)
})

test('our own card is refused', () => {
  refused(() => pinPeer([], { ...own, name: 'other' }, { now, own }), 'CARD_INVALID')
})

test('peers are stored and read back, with and without a last meeting', () => {
  const presharedKey = new SecretKey(systemRandom.bytes(32))
  const remote = { address: '203.0.113.5', port: 41641 }
  const peers = rememberMeeting(pinned(makeCard('home'), makeCard('office')), 'home', { remote, presharedKey })
  const stored: unknown = JSON.parse(JSON.stringify(encodePeers(peers)))
  const read = parsePeers(stored)
  assert.deepEqual(encodePeers(read), encodePeers(peers))
  assert.deepEqual(read[0]?.cached?.remote, remote)
  assert.deepEqual(read[0]?.cached?.presharedKey.reveal(), presharedKey.reveal())
  assert.equal(read[1]?.cached, undefined)
})

test('what the guard of a peer told of itself is kept with the last meeting, and may be missing', () => {
  const cached = { remote: { address: '203.0.113.5', port: 1 }, presharedKey: new SecretKey(new Uint8Array(32)) }
  const guardParameters = Uint8Array.of(1, 2, 3)
  const peers = rememberMeeting(pinned(makeCard('home'), makeCard('office')), 'home', { ...cached, guardParameters })
  const text = JSON.stringify(encodePeers(rememberMeeting(peers, 'office', cached)))
  const [home, office] = parsePeers(JSON.parse(text))
  assert.deepEqual(home?.cached?.guardParameters, guardParameters)
  assert.equal(office?.cached?.guardParameters, undefined)
  const long = Buffer.alloc(257).toString('base64')
  refused(() => parsePeers(JSON.parse(text.replace('"AQID"', `"${long}"`))), 'STATE_DAMAGED')
})

test('a meeting with a peer that was forgotten meanwhile leaves nothing behind', () => {
  const peers = pinned(makeCard('home'))
  const cached = { remote: { address: '203.0.113.5', port: 1 }, presharedKey: new SecretKey(new Uint8Array(32)) }
  assert.deepEqual(rememberMeeting(peers, 'office', cached), peers)
})

test('a damaged list of peers is refused', () => {
  const stored = JSON.stringify(encodePeers(pinned(makeCard('home'), makeCard('office'))))
  parsePeers(JSON.parse(stored))
  const damages: readonly (readonly [string | RegExp, string])[] = [
    ['"office"', '"home"'],
    ['"office"', '"../office"'],
    ['"version":1', '"version":9'],
    [/"toxId":"[^"]{4}/, '"toxId":"'],
    [/"tunnelKey":"[^"]*"/, '"tunnelKey":7'],
    [/"pinnedAt":\d+/, '"pinnedAt":"yesterday"'],
    [/"pinnedAt":\d+/, '"pinnedAt":1,"cached":{"remote":{"address":"nowhere","port":1},"presharedKey":""}'],
  ]
  for (const [from, to] of damages) {
    const damaged = stored.replace(from, to)
    assert.notEqual(damaged, stored)
    assert.match(refused(() => parsePeers(JSON.parse(damaged)), 'STATE_DAMAGED').hint, /peers\.json/)
  }
})

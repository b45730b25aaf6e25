import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { type ErrorCode, PunchGuardError } from '../api/errors.ts'
import { identityPublicKey, otrFingerprint, tunnelPublicKey } from '../api/keys.ts'
import { toHex } from '../util/bytes.ts'
import { systemRandom } from '../util/random.ts'
import { type Card, formatCard } from './card.ts'
import {
  defaultValidity,
  encodeInvites,
  expireInvites,
  findInvite,
  formatInvite,
  type InviteBook,
  issueInvite,
  parseInvite,
  parseInvites,
  useInvite,
} from './invite.ts'

const now = Math.round(1_790_000_000_000)
const card = makeCard('home')
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

function issue(book: InviteBook = [], validFor?: number) {
  return issueInvite(book, { card, random: systemRandom, now, ...(validFor !== undefined && { validFor }) })
}

function refused(action: () => unknown, code: ErrorCode): PunchGuardError {
  try {
    action()
  } catch (error) {
    assert.ok(error instanceof PunchGuardError, String(error))
    assert.equal(error.code, code, error.message)
    return error
  }
  assert.fail('accepted')
}

test('an invite is read on the other device as it was issued', () => {
  const { invite } = issue()
  const text = formatInvite(invite)
  assert.match(text, /^pgi1[a-z2-7]+$/)
  const read = parseInvite(text, { now, own })
  assert.deepEqual(read.card, card)
  assert.deepEqual(read.id, invite.id)
  assert.deepEqual(read.secret.reveal(), invite.secret.reveal())
  assert.equal(read.expires, invite.expires)
  assert.ok(invite.expires >= now + defaultValidity && invite.expires < now + defaultValidity + 1000)
})

test('every truncation and every change of one character of an invite is refused', () => {
  const text = formatInvite(issue().invite)
  for (let length = 0; length < text.length; length++) {
    refused(() => parseInvite(text.slice(0, length), { now, own }), 'INVITE_INVALID')
  }
  for (let at = 0; at < text.length; at++) {
    for (const other of 'abcdefghijklmnopqrstuvwxyz234567018') {
      if (other === text[at]) continue
      refused(() => parseInvite(text.slice(0, at) + other + text.slice(at + 1), { now, own }), 'INVITE_INVALID')
    }
  }
})

test('a card where an invite is wanted says so, and what to do with it', () => {
  const error = refused(() => parseInvite(formatCard(card), { now, own }), 'INVITE_INVALID')
  assert.equal(error.message, 'this is a card, not an invite')
  assert.match(error.hint, /punchguard import/)
})

test('an expired invite is refused, with a word about the clock when it is long expired', () => {
  const text = formatInvite(issue([], 60_000).invite)
  parseInvite(text, { now: now + 59_000, own })
  const soon = refused(() => parseInvite(text, { now: now + 61_001, own }), 'INVITE_EXPIRED')
  assert.match(soon.message, /just now/)
  const dayAhead = refused(() => parseInvite(text, { now: now + 24 * 3_600_000, own }), 'INVITE_EXPIRED')
  assert.match(dayAhead.message, /24 hours ago/)
  assert.match(dayAhead.hint, /clock/)
})

test('a device whose clock is a day behind takes an invite all the same', () => {
  parseInvite(formatInvite(issue().invite), { now: now - 24 * 3_600_000, own })
})

test('our own invite is refused', () => {
  refused(() => parseInvite(formatInvite(issue().invite), { now, own: { ...card, name: 'x' } }), 'INVITE_OWN')
})

test('an invite is used once', () => {
  const { book, invite } = issue()
  assert.equal(findInvite(book, invite.id, { now })?.state.kind, 'open')
  const after = useInvite(book, invite.id, { now, by: 'laptop' })
  assert.equal(findInvite(after, invite.id, { now })?.state.kind, 'used')
  refused(() => useInvite(after, invite.id, { now, by: 'thief' }), 'INVITE_USED')
  assert.equal(findInvite(book, invite.id, { now })?.state.kind, 'open')
  refused(() => useInvite(book, systemRandom.bytes(8), { now, by: 'x' }), 'INVITE_INVALID')
})

test('an invite that nobody used expires, and its secret is forgotten', () => {
  const { book, invite } = issue([], 60_000)
  refused(() => useInvite(book, invite.id, { now: now + 61_000, by: 'x' }), 'INVITE_EXPIRED')
  const later = expireInvites(book, now + 61_000)
  assert.deepEqual(later[0]?.state, { kind: 'expired' })
})

test('the book keeps at most 32 invites: finished ones go first, then the oldest open one', () => {
  let book: InviteBook = []
  const ids: Uint8Array[] = []
  for (let count = 0; count < 32; count++) {
    const issued = issue(book)
    book = issued.book
    ids.push(issued.invite.id)
  }
  book = useInvite(book, ids[5]!, { now, by: 'x' })
  book = issue(book).book
  assert.equal(book.length, 32)
  assert.equal(findInvite(book, ids[5]!, { now }), undefined)
  assert.equal(findInvite(book, ids[0]!, { now })?.state.kind, 'open')
  book = issue(book).book
  assert.equal(book.length, 32)
  assert.equal(findInvite(book, ids[0]!, { now }), undefined)
})

test('the book is stored and read back in all its states', () => {
  let { book, invite } = issue()
  book = useInvite(book, invite.id, { now, by: 'laptop' })
  book = issue(book, 20_000).book
  book = issue(expireInvites(book, now + 30_000)).book
  assert.deepEqual(
    book.map((record) => record.state.kind),
    ['used', 'expired', 'open'],
  )
  const stored: unknown = JSON.parse(JSON.stringify(encodeInvites(book)))
  assert.deepEqual(encodeInvites(parseInvites(stored)), encodeInvites(book))
  assert.deepEqual(parseInvites(encodeInvites([])), [])
})

test('a damaged book is refused, whatever the damage, and never shows a secret', () => {
  const { book, invite } = issue()
  const stored = JSON.stringify(encodeInvites(book))
  assert.doesNotMatch(inspect(book, { depth: 9 }) + inspect(invite), new RegExp(toHex(invite.secret.reveal())))
  for (const value of [undefined, null, 7, 'x', {}, { version: 2, invites: [] }, { version: 1, invites: 'x' }]) {
    refused(() => parseInvites(value), 'STATE_DAMAGED')
  }
  void fc.assert(
    fc.property(fc.nat(stored.length - 1), fc.constantFrom('', 'x', '"', '0', '}'), (at, replacement) => {
      let value: unknown
      try {
        value = JSON.parse(stored.slice(0, at) + replacement + stored.slice(at + 1))
      } catch {
        return
      }
      try {
        parseInvites(value)
      } catch (error) {
        assert.ok(error instanceof PunchGuardError && error.code === 'STATE_DAMAGED')
      }
    }),
    { numRuns: 500, seed: 5 },
  )
})

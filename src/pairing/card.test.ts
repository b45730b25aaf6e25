import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { PunchGuardError } from '../api/errors.ts'
import { identityPublicKey, otrFingerprint, tunnelPublicKey } from '../api/keys.ts'
import { type Card, decodeCard, encodeCard, formatCard, parseCard, sameKeys, shareKey } from './card.ts'
import { formatCode } from './code-text.ts'

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

function bytes(length: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: length, maxLength: length })
}

const names = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?$/)
const cards: fc.Arbitrary<Card> = fc.record(
  {
    name: names,
    toxId: bytes(38),
    otrFingerprint: bytes(20).map((key) => otrFingerprint(key)!),
    identityKey: bytes(32).map((key) => identityPublicKey(key)!),
    tunnelKey: bytes(32).map((key) => tunnelPublicKey(key)!),
  },
  { noNullPrototype: true },
)

function sampleCard(): Card {
  return fc.sample(cards, { numRuns: 1, seed: 11 })[0]!
}

function refused(text: string): PunchGuardError {
  try {
    parseCard(text)
  } catch (error) {
    assert.ok(error instanceof PunchGuardError, String(error))
    assert.equal(error.code, 'CARD_INVALID')
    return error
  }
  assert.fail(`accepted: ${text}`)
}

test('what is written as a card is read back', () => {
  void fc.assert(
    fc.property(cards, (card) => {
      assert.deepEqual(parseCard(formatCard(card)), card)
      assert.deepEqual(decodeCard(encodeCard(card)), card)
    }),
    { numRuns: 200, seed: 1 },
  )
})

test('a card survives capitals, line breaks and spaces', () => {
  const card = sampleCard()
  const text = formatCard(card)
  assert.match(text, /^pg1[a-z2-7]+$/)
  assert.deepEqual(parseCard(text.toUpperCase()), card)
  assert.deepEqual(parseCard(`  ${text.replace(/.{40}/g, '$&\r\n  ')}\n`), card)
})

test('every truncation of a card is refused', () => {
  const text = formatCard(sampleCard())
  for (let length = 0; length < text.length; length++) refused(text.slice(0, length))
  assert.equal(refused(text.slice(0, 40)).message, `this card is cut off after 40 of ${text.length} characters`)
  for (let length = 7; length < text.length; length++) assert.match(refused(text.slice(0, length)).message, /cut off/)
  assert.equal(refused('pg1').message, 'this card is cut off')
})

test('every change of one character of a card is refused', () => {
  const text = formatCard(sampleCard())
  let changes = 0
  for (let at = 0; at < text.length; at++) {
    for (const other of `${alphabet}0189-_`) {
      if (other === text[at]) continue
      refused(text.slice(0, at) + other + text.slice(at + 1))
      changes++
    }
  }
  assert.ok(changes > 30 * text.length)
})

test('a character too many, one too few and two that changed places are refused', () => {
  const text = formatCard(sampleCard())
  for (let at = 0; at < text.length; at++) {
    refused(text.slice(0, at) + text.slice(at + 1))
    refused(`${text.slice(0, at)}q${text.slice(at)}`)
    if (at > 2 && text[at] !== text[at + 1] && at + 1 < text.length) {
      refused(text.slice(0, at) + text[at + 1] + text[at] + text.slice(at + 2))
    }
  }
})

test('each kind of damage is named', () => {
  const text = formatCard(sampleCard())
  const middle = text[100] === 'a' ? 'b' : 'a'
  assert.equal(refused(text.slice(0, 100) + middle + text.slice(101)).message, 'this card has a typing error')
  assert.match(refused(`${text.slice(0, 100)}0${text.slice(101)}`).message, /typing error at character 101/)
  assert.match(refused(text.replace('pg1', 'pg2')).message, /made by a newer version/)
  assert.match(refused(`${text}aaaaaaaa`).message, /goes on after its last character/)
  assert.equal(refused(text.replace('pg1', 'pgi1')).message, 'this is an invite, not a card')
  assert.match(refused(text.replace('pg1', 'pgi1')).hint, /punchguard pair CODE/)
  assert.equal(refused('hello').message, 'this is not a card')
  assert.equal(refused('  \n').message, 'there is no card')
  assert.match(refused(formatCode('card', new Uint8Array(10))).message, /content that makes no sense/)
})

test('a name that could play tricks on a terminal or a path is refused', () => {
  const card = sampleCard()
  for (const name of ['', '../x', 'a b', '\u001b[2J', '-rf', 'x'.repeat(33), 'ä']) {
    refused(formatCard({ ...card, name }))
  }
})

test('no text makes the parser throw anything but its own error', () => {
  const text = formatCard(sampleCard())
  const damaged = fc
    .tuple(fc.nat(text.length), fc.nat(text.length), fc.string({ maxLength: 8 }))
    .map(([from, to, more]) => text.slice(0, Math.min(from, to)) + more + text.slice(Math.max(from, to)))
  const input = fc.oneof(
    fc.string(),
    damaged,
    fc.base64String().map((body) => `pg1${body}`),
  )
  void fc.assert(
    fc.property(input, (candidate) => {
      try {
        parseCard(candidate)
      } catch (error) {
        assert.ok(error instanceof PunchGuardError)
      }
    }),
    { numRuns: 1000, seed: 3 },
  )
  refused('pg1'.padEnd(1_000_000, 'a'))
})

test('cards of one device are told from cards that share only some keys', () => {
  const [card, other] = [sampleCard(), fc.sample(cards, { numRuns: 1, seed: 12 })[0]!]
  const renamed = { ...card, name: 'other' }
  assert.ok(sameKeys(card, renamed) && shareKey(card, renamed))
  assert.ok(!sameKeys(card, other) && !shareKey(card, other))
  const swapped = { ...card, tunnelKey: other.tunnelKey }
  assert.ok(!sameKeys(card, swapped) && shareKey(card, swapped))
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fragmentText, longestText, parseFragment, Reassembly } from './fragment.ts'
import { formatEncoded, formatError, type OtrText, parseText, queryText } from './text.ts'

test('texts are told apart as the specification orders them', () => {
  const base = '\x20\x09\x20\x20\x09\x09\x09\x09\x20\x09\x20\x09\x20\x09\x20\x20'
  const [v1, v2, v3] = [
    '\x20\x09\x20\x09\x20\x20\x09\x20',
    '\x20\x20\x09\x09\x20\x20\x09\x20',
    '\x20\x20\x09\x09\x20\x20\x09\x09',
  ]
  const offer = (offersVersion3: boolean): OtrText => ({ kind: 'offer', offersVersion3 })
  const cases: readonly [string, OtrText][] = [
    [queryText, offer(true)],
    ['?OTRv23?', offer(true)],
    ['?OTR?v23?', offer(true)],
    ['hello ?OTRv3? and\n<b>bob</b> has requested', offer(true)],
    ['?OTR?', offer(false)],
    ['?OTRv2?', offer(false)],
    ['?OTRv?', offer(false)],
    [`text${base}${v1}${v3} more`, offer(true)],
    [`text${base}${v1}${v2}`, offer(false)],
    [`text${base}`, offer(false)],
    [formatError('3 is not a version: ?OTRv3?'), { kind: 'error' }],
    ['?OTR:AAM=.', { kind: 'encoded', bytes: Uint8Array.of(0, 3) }],
    ['before ?OTR:AA\r\nM=. after', { kind: 'encoded', bytes: Uint8Array.of(0, 3) }],
    ['?OTR:AAM=', { kind: 'malformed' }],
    ['?OTR:AAM.', { kind: 'malformed' }],
    ['?OTR:===.', { kind: 'malformed' }],
    ['?OTR:AAN=?.', { kind: 'malformed' }],
    ['?OTR,1,2,piece,', { kind: 'malformed' }],
    ['?OTR|5a73a599|27e31597,1,2,piece', { kind: 'malformed' }],
    ['hello', { kind: 'plaintext' }],
    ['', { kind: 'plaintext' }],
    ['x'.repeat(65_537), { kind: 'malformed' }],
  ]
  for (const [text, expected] of cases) assert.deepEqual(parseText(text), expected, text.slice(0, 60))
  assert.deepEqual(parseText(formatEncoded(Uint8Array.of(0, 3))), { kind: 'encoded', bytes: Uint8Array.of(0, 3) })
})

test('fragments parse with any number of leading zeros, and within their bounds only', () => {
  const good = { senderTag: 0x5a73_a599, receiverTag: 0, index: 1, count: 3, piece: '?OTR:AAMC' }
  assert.deepEqual(parseFragment('?OTR|5a73a599|00000000,00001,00003,?OTR:AAMC,'), good)
  assert.deepEqual(parseFragment('?OTR|0005A73A599|0,1,3,?OTR:AAMC,'), good)
  assert.deepEqual(parseFragment('?OTR|5a73a599|0,3,3,,'), { ...good, index: 3, piece: '' })
  for (const text of [
    '?OTR|5a73a599|0,0,3,x,',
    '?OTR|5a73a599|0,4,3,x,',
    '?OTR|5a73a599|0,1,65536,x,',
    '?OTR|15a73a599|0,1,3,x,',
    '?OTR|5a73a599,1,3,x,',
    '?OTR|5a73a599|0,-1,3,x,',
    '?OTR|5a73a599|0,1,3,x,y,',
    '?OTR|5a73a599|0,1,3,x',
    '?OTR|x|0,1,3,x,',
  ]) {
    assert.equal(parseFragment(text), undefined, text)
  }
})

test('a fragmented text fits the transport and comes together again', () => {
  fc.assert(
    fc.property(fc.integer({ min: 40, max: 1400 }), fc.integer({ min: 0, max: 20_000 }), (maximumBytes, length) => {
      const text = Array.from({ length: Math.min(length, longestText(maximumBytes)) }, (_, i) => i % 10).join('')
      const pieces = fragmentText(text, { senderTag: 0x100, receiverTag: 0xffff_ffff, maximumBytes })
      assert.ok(pieces.every((piece) => piece.length <= maximumBytes))
      assert.ok(pieces.length <= 32)
      if (pieces.length === 1) return assert.equal(pieces[0], text)
      const reassembly = new Reassembly()
      const results = pieces.map((piece) => reassembly.add(parseFragment(piece) ?? assert.fail()))
      assert.deepEqual(results.at(-1), { kind: 'whole', text })
      assert.equal(results.filter(({ kind }) => kind === 'pending').length, pieces.length - 1)
      return undefined
    }),
    { numRuns: 60, seed: 1 },
  )
})

test('a text that needs more than 32 pieces is not sent', () => {
  const options = { senderTag: 0x100, receiverTag: 0x101, maximumBytes: 100 }
  assert.equal(fragmentText('x'.repeat(longestText(100)), options).length, 32)
  assert.throws(() => fragmentText('x'.repeat(longestText(100) + 1), options), RangeError)
})

test('a gap, a swap, a repetition or another sender forgets everything', () => {
  const piece = (index: number, senderTag = 0x100) => ({
    senderTag,
    receiverTag: 0x200,
    index,
    count: 3,
    piece: `${index}`,
  })
  const run = (...pieces: ReturnType<typeof piece>[]): string[] => {
    const reassembly = new Reassembly()
    return pieces.map((one) => reassembly.add(one).kind)
  }
  assert.deepEqual(run(piece(1), piece(2), piece(3)), ['pending', 'pending', 'whole'])
  assert.deepEqual(run(piece(1), piece(3), piece(2), piece(3)), ['pending', 'dropped', 'dropped', 'dropped'])
  assert.deepEqual(run(piece(1), piece(2), piece(2), piece(3)), ['pending', 'pending', 'dropped', 'dropped'])
  assert.deepEqual(run(piece(2)), ['dropped'])
  assert.deepEqual(run(piece(1), piece(2, 0x101), piece(3)), ['pending', 'dropped', 'dropped'])
  assert.deepEqual(run(piece(1), piece(1), piece(2), piece(3)), ['pending', 'pending', 'pending', 'whole'])
  assert.deepEqual(run(piece(1), { ...piece(2), count: 4 }), ['pending', 'dropped'])
})

test('a fragment bomb is forgotten at 32 pieces or 64 KiB', () => {
  const reassembly = new Reassembly()
  const tags = { senderTag: 0x100, receiverTag: 0x200 }
  assert.equal(reassembly.add({ ...tags, index: 1, count: 33, piece: 'x' }).kind, 'dropped')
  const kinds: string[] = []
  for (let index = 1; index <= 32; index++) {
    kinds.push(reassembly.add({ ...tags, index, count: 32, piece: 'x'.repeat(4000) }).kind)
  }
  assert.equal(kinds.indexOf('dropped'), 16)
  assert.ok(!kinds.includes('whole'))
})

test('any text is parsed without throwing, in a time that does not explode', () => {
  const parts = fc.constantFrom('?OTR', '|', ',', ':', 'v3', '?', ' Error:', '0', 'AAM', '.', '\t', ' ', '\n', 'é', '=')
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 40 }), fc.string({ maxLength: 50, unit: 'binary' }), (some, more) => {
      parseText(some.join(''))
      parseText(`${some.join('')}${more}`)
    }),
    { numRuns: 300, seed: 1 },
  )
  for (const bomb of ['?OTR|', '?OTR', '?OTR|0,', '?OTR:A', ' \t', '?OTRv', '?OTR|1|1,1,1,']) {
    parseText(bomb.repeat(Math.floor(65_536 / bomb.length)))
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBase64, toHex, toUtf8 } from '../../util/bytes.ts'
import { decodeMessage, encodeDhCommit } from './messages.ts'
import { formatEncoded, formatError } from './text.ts'
import { alice, bob, type EndName, securedEnds, stranger, TestRandom, TwoEnds } from './two-ends.test-support.ts'

/** The kind of the binary message in a text. */
function kindOf(text: string): string | undefined {
  return decodeMessage(fromBase64(text.slice(5, -1)) ?? new Uint8Array())?.kind
}

function sessionOf(ends: TwoEnds, name: EndName): string {
  const { state } = ends[name].conversation
  assert.ok(state.kind === 'encrypted', `${name} is ${state.kind}`)
  return toHex(state.agreement.sessionId)
}

/** Both ends have the same session, and messages pass both ways. */
function assertTalking(ends: TwoEnds): void {
  assert.equal(sessionOf(ends, 'alice'), sessionOf(ends, 'bob'))
  const seen = { alice: ends.alice.messages.length, bob: ends.bob.messages.length }
  ends.say('alice', 'to bob')
  ends.say('bob', 'to alice')
  ends.settle()
  assert.deepEqual(ends.bob.messages.slice(seen.bob), ['to bob'])
  assert.deepEqual(ends.alice.messages.slice(seen.alice), ['to alice'])
}

test('both ends are secure after two round trips, with the same session and the right fingerprints', () => {
  const ends = new TwoEnds().start()
  for (let halfTrips = 0; halfTrips < 3; halfTrips++) ends.exchange()
  assert.ok(!ends.alice.secure)
  assert.ok(ends.bob.secure)
  ends.exchange()
  assert.ok(ends.alice.secure)
  ends.settle()
  assert.deepEqual([ends.alice.kinds, ends.bob.kinds], [['secure'], ['secure']])
  const [forAlice, forBob] = [ends.alice.events[0], ends.bob.events[0]]
  assert.ok(forAlice?.kind === 'secure' && forBob?.kind === 'secure')
  assert.deepEqual(forAlice.fingerprint, bob.fingerprint)
  assert.deepEqual(forBob.fingerprint, alice.fingerprint)
  assert.deepEqual(forAlice.sessionId, forBob.sessionId)
  assert.equal(forAlice.sessionId.length, 8)
  assert.deepEqual([forAlice.half, forBob.half], ['first', 'second'])
  assert.deepEqual([ends.alice.conversation.deadline, ends.bob.conversation.deadline], [undefined, undefined])
})

test('messages arrive both ways, in order, and the keys move with every answer', () => {
  const ends = securedEnds()
  for (let turn = 0; turn < 30; turn++) {
    ends.say('alice', `ping ${turn}`)
    ends.settle()
    ends.say('bob', `pong ${turn} äöü`)
    ends.settle()
  }
  const turns = Array.from({ length: 30 }, (_, turn) => turn)
  assert.deepEqual(
    ends.bob.messages,
    turns.map((turn) => `ping ${turn}`),
  )
  assert.deepEqual(
    ends.alice.messages,
    turns.map((turn) => `pong ${turn} äöü`),
  )
  const { state } = ends.alice.conversation
  assert.ok(state.kind === 'encrypted')
  assert.deepEqual(state.ring.keyIds, { own: 32, their: 31 })
  assert.deepEqual(
    [ends.alice.conversation.stats(), ends.bob.conversation.stats()].map((stats) => [
      stats.messagesSent,
      stats.messagesReceived,
    ]),
    [
      [30, 30],
      [30, 30],
    ],
  )
})

test('two ends that start with a D-H Commit at once agree in two round trips', () => {
  for (let seed = 1; seed <= 6; seed++) {
    const ends = new TwoEnds({ seed, pin: false }).start()
    for (let halfTrips = 0; halfTrips < 4; halfTrips++) ends.exchange()
    assert.ok(ends.alice.secure && ends.bob.secure)
    ends.settle()
    assertTalking(ends)
  }
})

test('the end that leads needs no query, the other one only asks', () => {
  const ends = new TwoEnds().start()
  assert.deepEqual(ends.alice.sent.map(kindOf), ['dh-commit'])
  assert.deepEqual(ends.bob.sent, ['?OTRv3?'])
})

test('the same seed gives the same session', () => {
  assert.equal(sessionOf(securedEnds({ seed: 7 }), 'alice'), sessionOf(securedEnds({ seed: 7 }), 'alice'))
})

test('an end that forgot everything is secure again in two and a half round trips after it starts', () => {
  for (const name of ['alice', 'bob'] as const) {
    const ends = securedEnds()
    const old = sessionOf(ends, name)
    ends[name] = ends.fresh(name)
    ends[name].apply(ends[name].conversation.start(ends.now))
    for (let halfTrips = 0; halfTrips < 5; halfTrips++) ends.exchange()
    assertTalking(ends)
    assert.notEqual(sessionOf(ends, name), old)
  }
})

test('an end that comes back with another instance tag is agreed with as well', () => {
  const ends = securedEnds()
  ends.bob = ends.fresh('bob', { ...bob, instanceTag: 0x5555 })
  ends.bob.apply(ends.bob.conversation.start(ends.now))
  ends.settle()
  assertTalking(ends)
})

test('a loss of any message of the exchange is made good by the clock, at either end', () => {
  for (const kind of ['dh-commit', 'dh-key', 'reveal-signature', 'signature']) {
    for (const leads of [true, false]) {
      const ends = new TwoEnds()
      // When only Bob starts, his query makes Alice begin; when only Alice does, there is no query.
      const starter = ends[leads ? 'alice' : 'bob']
      starter.apply(starter.conversation.start(0))
      const other = ends[leads ? 'bob' : 'alice']
      other.apply(other.conversation.start(0))
      other.sent.length = 0
      let lost = 0
      ends.settle((text) => kindOf(text) !== kind || lost++ > 0)
      assert.ok(lost > 0, kind)
      assert.ok(ends.untilSecure(15_000), `${kind} lost`)
      ends.settle()
      assertTalking(ends)
    }
  }
})

test('losses, repetitions and reordering for a while never end in anything but an agreement', () => {
  for (let seed = 1; seed <= 12; seed++) {
    const random = new TestRandom(1000 + seed)
    const ends = new TwoEnds({ seed }).start()
    for (let step = 0; step < 25; step++) {
      for (const side of [ends.alice, ends.bob]) {
        if (random.below(4) === 0) side.sent.reverse()
        if (random.below(4) === 0) side.sent.push(...side.sent.slice(0, 1))
        const due = side.conversation.deadline
        if (random.below(5) === 0 && due !== undefined) {
          ends.now = Math.max(ends.now, due)
          side.apply(side.conversation.tick(ends.now))
        }
        if (random.below(3) === 0) side.apply(side.conversation.send('noise', ends.now))
      }
      if (random.below(20) === 0) ends.bob = ends.fresh('bob')
      if (ends.bob.conversation.state.kind === 'plaintext') ends.bob.apply(ends.bob.conversation.start(ends.now))
      ends.exchange(() => random.below(3) > 0)
    }
    assert.ok(ends.untilSecure(200_000), `seed ${seed}`)
    // The last Signature may have been lost: Alice then learns of it by what she says.
    for (let tries = 0; tries < 3 && sessionOf(ends, 'alice') !== sessionOf(ends, 'bob'); tries++) {
      ends.say('alice', 'still there?')
      ends.say('bob', 'still there?')
      ends.pass(10_000)
      assert.ok(ends.untilSecure(200_000), `seed ${seed}`)
    }
    assertTalking(ends)
  }
})

test('attempts that nobody answers come ever more slowly, and again quickly after the next start', () => {
  const { alice: end } = new TwoEnds()
  end.apply(end.conversation.start(0))
  const waits: number[] = []
  let now = 0
  for (let attempt = 0; attempt < 8; attempt++) {
    const due = end.conversation.deadline ?? assert.fail()
    waits.push(due - now)
    assert.deepEqual(end.conversation.tick(due - 1), [])
    end.apply(end.conversation.tick(due))
    now = due
  }
  assert.ok(waits.every((wait, index) => wait >= 0.75 * Math.min(5_000 * 2 ** index, 60_000)))
  assert.ok(waits.every((wait, index) => wait <= 1.25 * Math.min(5_000 * 2 ** index, 60_000)))
  assert.equal(end.sent.length, 9)
  end.apply(end.conversation.stop())
  assert.equal(end.conversation.deadline, undefined)
  end.apply(end.conversation.start(now))
  assert.ok((end.conversation.deadline ?? 0) <= now + 6_250)
})

test('nothing is received before the start, after the end, or in plaintext', () => {
  const ends = new TwoEnds()
  ends.alice.apply(ends.alice.conversation.start(0))
  ends.settle()
  assert.deepEqual(ends.bob.dropped, { closed: 1 })
  const talking = securedEnds()
  const before = talking.bob.dropped
  for (const text of [
    'hello',
    '',
    '<b>hi</b>',
    'hello \x20\x09\x20\x20\x09\x09\x09\x09\x20\x09\x20\x09\x20\x09\x20\x20',
  ]) {
    talking.bob.apply(talking.bob.conversation.receive(text, 0))
  }
  assert.deepEqual([talking.bob.events, talking.bob.sent], [[], []])
  assert.deepEqual(talking.bob.dropped, { ...before, plaintext: 3, 'other version': 1 })
})

test('an end of the conversation is told, and starts anew when somebody asks', () => {
  const ends = securedEnds()
  ends.alice.apply(ends.alice.conversation.end(0))
  ends.settle()
  assert.deepEqual(ends.bob.kinds, ['finished'])
  assert.equal(ends.bob.conversation.state.kind, 'finished')
  assert.equal(ends.bob.conversation.send('too late', 0), undefined)
  assert.equal(ends.alice.conversation.send('too late', 0), undefined)
  assert.equal(ends.bob.conversation.deadline, undefined)
  ends.alice.apply(ends.alice.conversation.start(0))
  ends.settle()
  assertTalking(ends)
})

test('a stranger is refused before the conversation is secure, and that is final', () => {
  for (const leads of [true, false]) {
    const ends = new TwoEnds()
    // The stranger answers in Bob's place, having pinned nobody.
    ends.bob = new TwoEnds({ pin: false, seed: 99 }).fresh('bob', stranger)
    const first = leads ? ends.alice : ends.bob
    const second = leads ? ends.bob : ends.alice
    first.apply(first.conversation.start(0))
    second.apply(second.conversation.start(0))
    second.sent.length = 0
    ends.settle()
    assert.deepEqual(ends.alice.events, [{ kind: 'refused', fingerprint: stranger.fingerprint }])
    assert.equal(ends.alice.conversation.state.kind, 'refused')
    assert.equal(ends.alice.conversation.send('no', 0), undefined)
    assert.deepEqual(ends.alice.conversation.start(1), [])
    assert.deepEqual(ends.alice.conversation.receive('?OTRv3?', 1), [])
    assert.equal(ends.alice.conversation.deadline, undefined)
  }
})

test('a stranger cannot end a conversation with the pinned device', () => {
  const ends = securedEnds()
  const impostor = new TwoEnds({ pin: false, seed: 99 }).fresh('bob', stranger)
  impostor.apply(impostor.conversation.start(0))
  for (let rounds = 0; rounds < 4; rounds++) {
    for (const text of impostor.sent.splice(0)) ends.alice.apply(ends.alice.conversation.receive(text, 0))
    for (const text of ends.alice.sent.splice(0)) impostor.apply(impostor.conversation.receive(text, 0))
  }
  assert.equal(ends.alice.dropped['wrong key'], 1)
  assert.deepEqual(ends.alice.events, [])
  assertTalking(ends)
})

test('texts of other instances, with reserved tags or from ourselves are dropped', () => {
  const ends = securedEnds()
  const body = { encryptedGx: new Uint8Array(196), hashedGx: new Uint8Array(32) }
  const cases: readonly [number, number, string][] = [
    [0xff, 0, 'bad instance tag'],
    [0, alice.instanceTag, 'bad instance tag'],
    [0x5000, 0xff, 'bad instance tag'],
    [0x5000, 1, 'bad instance tag'],
    [0x5000, 0x6000, 'other instance'],
    [alice.instanceTag, 0, 'own instance tag'],
  ]
  const counts: Record<string, number> = {}
  for (const [senderTag, receiverTag, reason] of cases) {
    const text = formatEncoded(encodeDhCommit({ senderTag, receiverTag, ...body }))
    const fragment = `?OTR|${senderTag.toString(16)}|${receiverTag.toString(16)},1,2,${text.slice(0, 20)},`
    for (const each of [text, fragment]) assert.deepEqual(ends.alice.conversation.receive(each, 0), [])
    counts[reason] = (counts[reason] ?? 0) + 2
  }
  for (const [reason, count] of Object.entries(counts)) assert.equal(ends.alice.dropped[reason], count, reason)
  ends.say('bob', 'x')
  const bytes = fromBase64((ends.bob.sent.pop() ?? '').slice(5, -1)) ?? assert.fail()
  assert.equal(decodeMessage(bytes)?.receiverTag, alice.instanceTag)
  new DataView(bytes.buffer).setUint32(3, 0x5000)
  assert.deepEqual(ends.alice.conversation.receive(formatEncoded(bytes), 0), [])
  assert.equal(ends.alice.dropped['other instance'], (counts['other instance'] ?? 0) + 1)
  assertTalking(ends)
})

test('a hint that the keys are lost makes us agree again, but not more often than every two seconds', () => {
  const ends = securedEnds()
  const error = formatError('what?')
  assert.deepEqual(ends.alice.conversation.receive(error, 1_000), [])
  assert.equal(ends.alice.conversation.deadline, 2_000)
  assert.equal(ends.alice.conversation.tick(2_000).length, 1)
  for (let now = 2_000; now < 5_000; now += 100) assert.deepEqual(ends.alice.conversation.receive(error, now), [])
  assert.ok(ends.alice.secure)
  assertTalking(ends)
})

test('an unreadable message gets an error reply at most every five seconds, and none when it asks for silence', () => {
  const ends = securedEnds()
  ends.say('alice', 'x')
  const text = ends.alice.sent.pop() ?? assert.fail()
  const bytes = fromBase64(text.slice(5, -1)) ?? assert.fail()
  bytes[bytes.length - 10] = (bytes[bytes.length - 10] ?? 0) ^ 1
  const changed = formatEncoded(bytes)
  const replies = (now: number): number => ends.bob.conversation.receive(changed, now).length
  assert.deepEqual([0, 1, 4_999, 5_000, 5_001, 10_000].map(replies), [1, 0, 0, 1, 0, 1])
  assert.equal(ends.bob.conversation.stats().errorReplies, 3)
  assert.equal(ends.bob.dropped['bad mac'], 6)
  bytes[11] = 1
  assert.deepEqual(ends.bob.conversation.receive(formatEncoded(bytes), 30_000), [])
  assert.ok(ends.bob.secure)
  assert.deepEqual(ends.bob.conversation.receive(text, 30_000), [{ kind: 'message', text: 'x' }])
})

test('a message for a conversation that we have forgotten makes us begin', () => {
  const ends = securedEnds()
  ends.bob = ends.fresh('bob')
  ends.bob.apply(ends.bob.conversation.start(0))
  ends.bob.sent.length = 0
  ends.say('alice', 'are you there?')
  ends.now = 3_000
  ends.settle()
  assert.deepEqual(ends.bob.messages, [])
  assertTalking(ends)
})

test('after a minute without a word of ours, what comes in is answered with a heartbeat', () => {
  const ends = securedEnds()
  ends.now = 59_999
  ends.say('alice', 'one')
  ends.settle()
  assert.equal(ends.bob.sent.length, 0)
  ends.now = 60_000
  ends.say('alice', 'two')
  ends.exchange()
  assert.deepEqual(ends.bob.sent.map(kindOf), ['data'])
  ends.settle()
  assert.deepEqual([ends.bob.messages, ends.alice.messages], [['one', 'two'], []])
})

test('long messages travel in pieces, and one that is too long is refused at once', () => {
  const ends = securedEnds({ maximumTextBytes: 200 })
  const longest = ends.alice.conversation.maximumMessageBytes
  ends.say('alice', 'x'.repeat(longest))
  assert.ok(ends.alice.sent.length > 20 && ends.alice.sent.every((text) => text.length <= 200))
  ends.settle()
  assert.deepEqual(ends.bob.messages, ['x'.repeat(longest)])
  assert.throws(() => ends.alice.conversation.send('x'.repeat(longest + 1), 0), RangeError)
  assert.throws(() => ends.alice.conversation.send('a\0b', 0), RangeError)
  assertTalking(ends)
})

test('any other text between two fragments makes the first one forgotten', () => {
  for (const between of ['hello', '?OTR:AA==.', formatError('x')]) {
    const ends = securedEnds({ maximumTextBytes: 400 })
    ends.say('alice', 'x'.repeat(200))
    const [first = '', second = '', ...more] = ends.alice.sent.splice(0)
    assert.equal(more.length, 0)
    for (const text of [first, between, second]) ends.bob.apply(ends.bob.conversation.receive(text, 0))
    assert.deepEqual(ends.bob.messages, [])
    for (const text of [first, second]) ends.bob.apply(ends.bob.conversation.receive(text, 0))
    assert.deepEqual(ends.bob.messages, ['x'.repeat(200)])
  }
})

test('the SMP tells both ends whether they know the same secret', () => {
  for (const [secret, equal] of [
    ['the same', true],
    ['another', false],
  ] as const) {
    const ends = securedEnds()
    ends.alice.apply(ends.alice.conversation.startSmp({ secret: toUtf8('the same'), question: 'q?' }, 0))
    ends.settle()
    assert.deepEqual(ends.bob.events, [{ kind: 'smp-asked', question: 'q?' }])
    ends.bob.apply(ends.bob.conversation.answerSmp(toUtf8(secret), 0))
    ends.settle()
    assert.deepEqual(ends.alice.events, [{ kind: 'smp-result', equal }])
    assert.deepEqual(ends.bob.events.at(-1), { kind: 'smp-result', equal })
    assertTalking(ends)
  }
})

test('an SMP run that is aborted or cut off by a new exchange proves nothing', () => {
  const aborted = securedEnds()
  aborted.alice.apply(aborted.alice.conversation.startSmp({ secret: toUtf8('s') }, 0))
  aborted.settle()
  aborted.bob.apply(aborted.bob.conversation.abortSmp(0))
  aborted.settle()
  assert.deepEqual(aborted.alice.events, [{ kind: 'smp-result', equal: false }])

  const cut = securedEnds()
  cut.alice.apply(cut.alice.conversation.startSmp({ secret: toUtf8('s') }, 0))
  cut.alice.sent.length = 0
  cut.bob = cut.fresh('bob')
  cut.bob.apply(cut.bob.conversation.start(0))
  cut.settle()
  assert.deepEqual(cut.alice.kinds, ['smp-result', 'secure'])
  assert.deepEqual(cut.alice.events[0], { kind: 'smp-result', equal: false })
  assert.deepEqual(new TwoEnds().alice.conversation.startSmp({ secret: toUtf8('s') }, 0), [
    { kind: 'smp-result', equal: false },
  ])
})

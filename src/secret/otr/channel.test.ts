import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OtrFingerprint } from '../../api/keys.ts'
import type { SecretEvent, SecretState } from '../../api/roles.ts'
import { toHex, toUtf8 } from '../../util/bytes.ts'
import type { OtrAccount } from './account.ts'
import { OtrChannel } from './channel.ts'
import { OtrConversation, type OtrEffects } from './conversation.ts'
import { HandClock, type SignalEnd, signalPair } from './signal-pair.test-support.ts'
import { alice, bob, stranger, TestRandom } from './two-ends.test-support.ts'

/** One way, ms. */
const halfTrip = 50

class Device {
  readonly signal: SignalEnd
  readonly channel: OtrChannel
  readonly events: SecretEvent[] = []
  readonly #clock: HandClock
  /** Virtual time of every event. */
  readonly times: number[] = []

  constructor(
    signal: SignalEnd,
    options: { account: OtrAccount; pinned: OtrFingerprint | undefined; clock: HandClock; seed: number },
  ) {
    const { account, pinned, clock, seed } = options
    this.signal = signal
    this.#clock = clock
    this.channel = new OtrChannel({ channel: signal, account, pinned, clock, random: new TestRandom(seed) })
    this.channel.subscribe((event) => {
      this.events.push(event)
      this.times.push(this.#clock.now())
    })
  }

  get kinds(): string[] {
    return this.events.map((event) => event.kind)
  }

  get messages(): string[] {
    return this.events.flatMap((event) => (event.kind === 'message' ? [toHex(event.message)] : []))
  }

  goOnline(): void {
    this.signal.emit({ kind: 'online' })
  }

  goOffline(): void {
    this.signal.emit({ kind: 'offline', reason: 'the cable was pulled' })
  }
}

interface PairOptions {
  readonly delay?: number | undefined
  readonly pin?: boolean
}

function devices(options: PairOptions = {}) {
  const clock = new HandClock()
  const { pin = true } = options
  const delay = 'delay' in options ? options.delay : halfTrip
  const [one, two] = signalPair(clock, delay)
  const a = new Device(one, { account: alice, pinned: pin ? bob.fingerprint : undefined, clock, seed: 1 })
  const b = new Device(two, { account: bob, pinned: pin ? alice.fingerprint : undefined, clock, seed: 2 })
  return { clock, a, b }
}

function secured(options: PairOptions = {}) {
  const all = devices(options)
  all.a.goOnline()
  all.b.goOnline()
  all.clock.advance(1_000)
  assert.deepEqual([all.a.channel.state.kind, all.b.channel.state.kind], ['secure', 'secure'])
  return all
}

test('two devices that come online are secure two round trips later, without an idle wait', () => {
  for (const pin of [true, false]) {
    const { clock, a, b } = devices({ pin })
    const states: SecretState[] = [a.channel.state]
    a.goOnline()
    b.goOnline()
    states.push(a.channel.state)
    assert.deepEqual(states, [{ kind: 'closed', reason: 'the device is offline' }, { kind: 'agreeing' }])
    clock.advance(4 * halfTrip)
    assert.deepEqual([a.kinds, b.kinds], [['secure'], ['secure']])
    // Who answered the D-H Commit is secure with the Reveal Signature, the other end one way later.
    assert.deepEqual([...a.times, ...b.times].sort(), [3 * halfTrip, 4 * halfTrip])
    const [forA, forB] = [a.channel.state, b.channel.state]
    assert.ok(forA.kind === 'secure' && forB.kind === 'secure')
    assert.deepEqual([forA.fingerprint, forB.fingerprint], [bob.fingerprint, alice.fingerprint])
    assert.deepEqual(forA.sessionId, forB.sessionId)
    clock.advance(60_000)
    assert.equal(clock.waiting, 0)
  }
})

test('a channel that is online when it is made begins at once', () => {
  const clock = new HandClock()
  const [one, two] = signalPair(clock, halfTrip)
  one.online = true
  two.online = true
  const a = new Device(one, { account: alice, pinned: bob.fingerprint, clock, seed: 1 })
  const b = new Device(two, { account: bob, pinned: alice.fingerprint, clock, seed: 2 })
  clock.advance(4 * halfTrip)
  assert.deepEqual([a.channel.state.kind, b.channel.state.kind], ['secure', 'secure'])
})

test('any bytes arrive as they were sent, in order, both ways', () => {
  const { clock, a, b } = secured()
  const messages = [Uint8Array.of(0), Uint8Array.of(0xff, 0, 0xfe), toUtf8('?OTR:'), new Uint8Array(5000).fill(7)]
  for (const message of messages) {
    assert.ok(a.channel.send(message))
    assert.ok(b.channel.send(message))
  }
  clock.advance(1_000)
  assert.deepEqual(a.messages, messages.map(toHex))
  assert.deepEqual(b.messages, messages.map(toHex))
  const longest = new Uint8Array(a.channel.maximumMessageBytes).fill(1)
  assert.ok(longest.length > 20_000)
  assert.ok(a.channel.send(longest))
  clock.advance(1_000)
  assert.equal(b.messages.at(-1), toHex(longest))
  assert.throws(() => a.channel.send(new Uint8Array(longest.length + 4)), RangeError)
  assert.throws(() => a.channel.send(new Uint8Array()), RangeError)
})

test('nothing is sent before the channel is secure, while it is offline, or when the queue is full', () => {
  const { clock, a, b } = devices()
  assert.equal(a.channel.send(Uint8Array.of(1)), false)
  a.goOnline()
  assert.equal(a.channel.send(Uint8Array.of(1)), false)
  b.goOnline()
  clock.advance(1_000)
  a.signal.full = true
  assert.equal(a.channel.send(Uint8Array.of(2)), false)
  a.signal.full = false
  assert.equal(a.channel.send(Uint8Array.of(3)), true)
  clock.advance(1_000)
  assert.deepEqual(b.messages, ['03'])
  a.goOffline()
  assert.equal(a.channel.send(Uint8Array.of(4)), false)
  assert.deepEqual(a.channel.state, { kind: 'closed', reason: 'the cable was pulled' })
  assert.deepEqual(a.events.at(-1), { kind: 'insecure', reason: 'the cable was pulled' })
})

test('every time both come online there is a new session', () => {
  const { clock, a, b } = secured()
  const sessions = new Set<string>()
  for (let round = 0; round < 3; round++) {
    for (const device of [a, b]) device.goOffline()
    clock.advance(100)
    for (const device of [b, a]) device.goOnline()
    clock.advance(4 * halfTrip)
    const [forA, forB] = [a.channel.state, b.channel.state]
    assert.ok(forA.kind === 'secure' && forB.kind === 'secure')
    assert.deepEqual(forA.sessionId, forB.sessionId)
    sessions.add(toHex(forA.sessionId))
  }
  assert.equal(sessions.size, 3)
})

test('when only one device notices that the other was away, both have the new session all the same', () => {
  for (const which of ['a', 'b'] as const) {
    const { clock, ...both } = secured()
    both[which].goOffline()
    both[which].goOnline()
    clock.advance(5 * halfTrip)
    const [forA, forB] = [both.a.channel.state, both.b.channel.state]
    assert.ok(forA.kind === 'secure' && forB.kind === 'secure')
    assert.deepEqual(forA.sessionId, forB.sessionId)
    assert.equal(both[which === 'a' ? 'b' : 'a'].kinds.filter((kind) => kind === 'secure').length, 2)
  }
})

test('a device that restarted is secure again within two and a half round trips, whichever it is', async () => {
  for (const restarted of ['a', 'b'] as const) {
    const { clock, ...both } = secured()
    const { signal } = both[restarted]
    // The process dies without a word: its subscription ends, the network does not notice.
    signal.full = true
    await both[restarted].channel[Symbol.asyncDispose]()
    signal.full = false
    const [account, pinned] = restarted === 'a' ? [alice, bob.fingerprint] : [bob, alice.fingerprint]
    const fresh = new Device(signal, { account, pinned, clock, seed: 3 })
    clock.advance(5 * halfTrip)
    const other = both[restarted === 'a' ? 'b' : 'a']
    const [one, two] = [fresh.channel.state, other.channel.state]
    assert.ok(one.kind === 'secure' && two.kind === 'secure')
    assert.deepEqual(one.sessionId, two.sessionId)
  }
})

test('a queue that is full during the exchange is made good by the clock', () => {
  const { clock, a, b } = devices()
  b.signal.full = true
  a.goOnline()
  b.goOnline()
  clock.advance(1_000)
  b.signal.full = false
  clock.advance(8_000)
  assert.deepEqual([a.channel.state.kind, b.channel.state.kind], ['secure', 'secure'])
})

test('disposing of a channel tells the device, leaves the signal channel alone and stops every timer', async () => {
  const { clock, a, b } = secured()
  await a.channel[Symbol.asyncDispose]()
  await a.channel[Symbol.asyncDispose]()
  clock.advance(1_000)
  assert.deepEqual(b.events.at(-1), { kind: 'insecure', reason: 'the device ended the conversation' })
  assert.deepEqual(b.channel.state, { kind: 'closed', reason: 'the device ended the conversation' })
  assert.deepEqual(a.channel.state, { kind: 'closed', reason: 'the channel was closed' })
  assert.equal(a.channel.send(Uint8Array.of(1)), false)
  assert.equal(a.signal.subscribers, 0)
  assert.ok(a.signal.online)
  assert.equal(clock.waiting, 0)
})

test('another key than the pinned one is refused for good', () => {
  const clock = new HandClock()
  const [one, two] = signalPair(clock, halfTrip)
  const a = new Device(one, { account: alice, pinned: bob.fingerprint, clock, seed: 1 })
  const b = new Device(two, { account: stranger, pinned: alice.fingerprint, clock, seed: 2 })
  a.goOnline()
  b.goOnline()
  clock.advance(1_000)
  assert.deepEqual(a.events, [{ kind: 'refused', fingerprint: stranger.fingerprint }])
  a.goOffline()
  a.goOnline()
  clock.advance(100_000)
  assert.deepEqual(a.channel.state, { kind: 'refused', fingerprint: stranger.fingerprint })
  assert.deepEqual(a.kinds, ['refused'])
  assert.equal(b.messages.length, 0)
})

test('a proof succeeds with the expected secret, and fails with another, with none, or before the channel is secure', () => {
  for (const [expected, ok] of [
    ['the secret', true],
    ['another', false],
    [undefined, false],
  ] as const) {
    const { clock, a, b } = secured()
    b.channel.expectProof(expected === undefined ? undefined : toUtf8(expected))
    a.channel.prove(toUtf8('the secret'))
    clock.advance(1_000)
    assert.deepEqual(a.events.slice(1), [{ kind: 'proof', ok }])
    assert.deepEqual(b.events.slice(1), [{ kind: 'proof', ok }])
  }
  const { a } = devices()
  a.channel.prove(toUtf8('the secret'))
  assert.deepEqual(a.events, [{ kind: 'proof', ok: false }])
})

test('the expected secret is a copy of the one that was given', () => {
  const { clock, a, b } = secured()
  const secret = toUtf8('the secret')
  b.channel.expectProof(secret)
  secret.fill(0)
  a.channel.prove(toUtf8('the secret'))
  clock.advance(1_000)
  assert.deepEqual(b.events.at(-1), { kind: 'proof', ok: true })
})

test('over a signal channel that answers inside send, events still come in order and listeners may send', () => {
  const clock = new HandClock()
  const [one, two] = signalPair(clock)
  const a = new Device(one, { account: alice, pinned: bob.fingerprint, clock, seed: 1 })
  const b = new Device(two, { account: bob, pinned: alice.fingerprint, clock, seed: 2 })
  a.channel.subscribe((event) => {
    if (event.kind === 'secure') for (const byte of [1, 2, 3]) assert.ok(a.channel.send(Uint8Array.of(byte)))
    if (event.kind === 'message') a.channel.send(Uint8Array.of(0x10 + (event.message[0] ?? 0)))
  })
  b.channel.subscribe((event) => {
    if (event.kind === 'secure') b.channel.send(new Uint8Array(4000).fill(9))
  })
  a.goOnline()
  b.goOnline()
  assert.equal(a.kinds.filter((kind) => kind === 'message').length, 1)
  assert.equal(a.kinds[0], 'secure')
  assert.equal(b.kinds[0], 'secure')
  assert.deepEqual(b.messages, ['01', '02', '03', '19'])
  assert.deepEqual(a.channel.stats().dropped['old counter'] ?? 0, 0)
})

test('a listener may dispose of the channel', async () => {
  const { clock, a, b } = devices()
  let disposal: Promise<void> | undefined
  a.channel.subscribe((event) => {
    if (event.kind === 'secure') disposal = a.channel[Symbol.asyncDispose]()
  })
  a.goOnline()
  b.goOnline()
  clock.advance(1_000)
  await disposal
  assert.equal(a.channel.state.kind, 'closed')
  assert.deepEqual(b.kinds, ['secure', 'insecure'])
  clock.advance(100_000)
  assert.equal(clock.waiting, 0)
})

test('text that is no base64 inside the conversation is counted and not delivered', () => {
  const clock = new HandClock()
  const [one, two] = signalPair(clock)
  const a = new Device(one, { account: alice, pinned: bob.fingerprint, clock, seed: 1 })
  const peer = new OtrConversation({ account: bob, random: new TestRandom(2), maximumTextBytes: 1372 })
  const apply = (effects: OtrEffects): void => {
    for (const effect of effects) if (effect.kind === 'send') for (const text of effect.texts) two.send(text)
  }
  two.subscribe((event) => {
    if (event.kind === 'text') apply(peer.receive(event.text, 0))
  })
  two.online = true
  apply(peer.start(0))
  a.goOnline()
  apply(peer.send('no base64!', 0) ?? assert.fail('not secure'))
  apply(peer.send('AQ==', 0) ?? assert.fail('not secure'))
  assert.deepEqual(a.messages, ['01'])
  assert.equal(a.channel.stats().undecodable, 1)
})

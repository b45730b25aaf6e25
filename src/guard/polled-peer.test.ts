import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Endpoint } from '../api/endpoint.ts'
import { type PeerCounters, PolledPeer, type PolledPeerEffect } from './polled-peer.ts'

const there: Endpoint = { address: '192.0.2.1', port: 4000 }
const elsewhere: Endpoint = { address: '192.0.2.7', port: 4007 }
/** Wall time is so much ahead of the monotonic one, ms. */
const epoch = 1_795_000_000_000

const fresh: PeerCounters = { receivedBytes: 0, sentBytes: 0, lastHandshake: undefined, endpoint: undefined }

/** A machine on a program of a few lines, in virtual time. */
class Bench {
  readonly machine: PolledPeer
  now = 1000
  /** The peer as the program holds it. */
  program: PeerCounters | undefined
  /** Whether the program answers. */
  answers = true
  looks = 0
  readonly done: string[] = []

  constructor(hasPrecedence = true) {
    this.machine = new PolledPeer({ hasPrecedence })
  }

  use(remote: Endpoint | undefined, initiate: boolean): void {
    this.run(this.machine.use(remote, { initiate, now: this.now }))
  }

  run(effects: readonly PolledPeerEffect[]): void {
    for (const effect of effects) this.#perform(effect)
  }

  advance(ms: number): void {
    const end = this.now + ms
    for (let step = 0; step < 10_000; step++) {
      const { deadline } = this.machine
      if (deadline === undefined || deadline > end) break
      this.now = Math.max(this.now, deadline)
      this.run(this.machine.tick(this.now))
    }
    assert.ok(this.machine.deadline === undefined || this.machine.deadline > end, 'nothing stays due')
    this.now = end
  }

  /** The program completes a handshake with a peer at `from`. */
  handshake(from: Endpoint = there): void {
    this.count({ lastHandshake: epoch + this.now, endpoint: from, received: 92, sent: 148 })
  }

  count(change: {
    readonly received?: number
    readonly sent?: number
    readonly lastHandshake?: number
    readonly endpoint?: Endpoint
  }): void {
    const { received = 0, sent = 0, ...rest } = change
    assert.ok(this.program)
    const receivedBytes = this.program.receivedBytes + received
    this.program = { ...this.program, ...rest, receivedBytes, sentBytes: this.program.sentBytes + sent }
  }

  /** What was done since the last question, without looks. */
  takeDone(): string[] {
    return this.done.splice(0)
  }

  #perform(effect: PolledPeerEffect): void {
    switch (effect.kind) {
      case 'look': {
        this.looks++
        const { revision } = effect
        const moment = { now: this.now, wallTime: epoch + this.now }
        if (this.answers) this.run(this.machine.observe(this.program, { revision, moment }))
        else this.run(this.machine.missed({ revision, now: this.now }))
        return
      }
      case 'point':
        this.program = { ...(this.program ?? fresh), endpoint: effect.remote }
        break
      case 'handshake':
        this.program = { ...fresh, endpoint: effect.remote, sentBytes: 148 }
        break
      case 'remove':
        this.program = undefined
        break
      default:
        break
    }
    this.done.push(effect.kind)
  }
}

test('without a path nothing is read and the peer is not in the program', () => {
  const bench = new Bench()
  bench.use(undefined, false)
  bench.advance(60_000)
  assert.deepEqual([bench.looks, bench.takeDone()], [0, []])
})

test('the end that initiates begins a handshake at once, and is told of its end within 20 ms', () => {
  const bench = new Bench()
  bench.use(there, true)
  bench.advance(100)
  assert.deepEqual(bench.takeDone(), ['handshake'])
  bench.handshake()
  bench.advance(20)
  assert.deepEqual(bench.takeDone(), ['established'])
  const { lastHandshakeAt, endpoint } = bench.machine.stats()
  assert.deepEqual([lastHandshakeAt, endpoint], [1100, there])
})

test('an initiation that stays unanswered is repeated after 0.5, 1 and 2 s more, then left to the program', () => {
  const bench = new Bench()
  bench.use(there, true)
  const times: number[] = []
  for (let ms = 0; ms < 20_000; ms += 10) {
    if (bench.takeDone().includes('handshake')) times.push(ms)
    bench.advance(10)
  }
  assert.deepEqual(times, [0, 500, 1500, 3500])
})

test('on a long path the answer is waited for before anything is begun again', () => {
  const bench = new Bench()
  bench.run(bench.machine.use(there, { initiate: true, roundTrip: 800, now: bench.now }))
  bench.advance(700)
  bench.count({ received: 148, sent: 92 })
  bench.advance(1100)
  assert.deepEqual(bench.takeDone(), ['handshake'])
  bench.advance(200)
  assert.deepEqual(bench.takeDone(), ['handshake'])
})

test('a handshake that is under way is left alone by one more wish for it, unless the key is another one', () => {
  const bench = new Bench()
  bench.use(there, true)
  bench.advance(300)
  bench.use(there, true)
  assert.deepEqual(bench.takeDone(), ['handshake'])
  bench.machine.rekey()
  bench.use(there, true)
  assert.deepEqual(bench.takeDone(), ['handshake'])
  bench.advance(10_000)
  bench.takeDone()
  bench.use(there, true)
  assert.deepEqual(bench.takeDone(), ['handshake'], 'none is under way any more')
})

test('two wishes to initiate are 100 ms apart on the line, with the newest endpoint', () => {
  const bench = new Bench()
  bench.use(there, true)
  bench.advance(30)
  bench.use(elsewhere, true)
  assert.deepEqual(bench.takeDone(), ['handshake', 'point'])
  bench.advance(69)
  assert.deepEqual(bench.takeDone(), [])
  bench.advance(1)
  assert.deepEqual(bench.takeDone(), ['handshake'])
  assert.deepEqual(bench.program?.endpoint, elsewhere)
})

test('where two handshakes crossed, the end with precedence begins again, and the other leaves it to that', () => {
  const begun = [true, false].map((hasPrecedence) => {
    const bench = new Bench(hasPrecedence)
    bench.use(there, true)
    bench.advance(30)
    // An initiation came in and was answered: our own is forgotten by that.
    bench.count({ received: 148, sent: 92 })
    const times: number[] = []
    for (let ms = 30; ms < 1400; ms += 10) {
      if (bench.takeDone().includes('handshake') && ms > 30) times.push(ms)
      bench.advance(10)
    }
    return times
  })
  const [first = [], second = []] = begun
  assert.ok((first[0] ?? 0) >= 180 && (first[0] ?? 0) <= 220, `${first}`)
  assert.ok((second[0] ?? 0) >= 1030, `${second}`)
})

test('a peer that can do both completes within the pause, and nothing is begun again', () => {
  const bench = new Bench()
  bench.use(there, true)
  bench.advance(30)
  bench.count({ received: 148, sent: 92 })
  bench.advance(120)
  bench.handshake()
  bench.advance(3000)
  assert.deepEqual(bench.takeDone(), ['handshake', 'established'])
})

test('the end that answers only points, and any handshake of the new peer is the news', () => {
  const bench = new Bench()
  bench.use(there, false)
  bench.advance(2000)
  assert.deepEqual(bench.takeDone(), ['point'])
  bench.handshake()
  bench.advance(100)
  assert.deepEqual(bench.takeDone(), ['established'])
})

test('on a new path under a running tunnel an old handshake is no news, the next one is', () => {
  const bench = new Bench()
  bench.use(there, false)
  bench.handshake()
  bench.advance(10_000)
  bench.takeDone()
  bench.use(elsewhere, false)
  bench.advance(500)
  assert.deepEqual(bench.takeDone(), ['point'])
  bench.handshake(elsewhere)
  bench.advance(20)
  assert.deepEqual(bench.takeDone(), ['established'])
})

test('a handshake that outran the news of its path counts, one on another path does not', () => {
  for (const [from, expected] of [
    [elsewhere, ['point', 'established']],
    [there, ['point']],
  ] as const) {
    const bench = new Bench()
    bench.use(there, false)
    bench.handshake()
    bench.advance(10_000)
    bench.takeDone()
    bench.handshake(from)
    bench.advance(400)
    bench.use(elsewhere, false)
    bench.advance(100)
    assert.deepEqual(bench.takeDone(), expected)
  }
})

test('a settled peer is read once a second, twice while anything flows, one that is waited for much more often', () => {
  const bench = new Bench()
  bench.use(there, true)
  bench.advance(500)
  assert.ok(bench.looks >= 24, `${bench.looks}`)
  bench.handshake()
  bench.advance(50)
  bench.looks = 0
  bench.advance(60_000)
  assert.ok(bench.looks >= 59 && bench.looks <= 61, `${bench.looks}`)
  bench.looks = 0
  for (let round = 0; round < 100; round++) {
    bench.count({ sent: 1000, received: 1000 })
    bench.advance(100)
  }
  assert.ok(bench.looks >= 18 && bench.looks <= 21, `${bench.looks}`)
})

test('sending without an answer is reported after a second, and again for each second in which more is sent', () => {
  const bench = new Bench()
  bench.use(there, false)
  bench.handshake()
  bench.advance(5000)
  bench.takeDone()
  const start = bench.now
  bench.count({ sent: 128 })
  while (bench.takeDone().length === 0) bench.advance(10)
  assert.ok(bench.now - start >= 500 && bench.now - start <= 2000, `${bench.now - start}`)
  bench.advance(30_000)
  assert.deepEqual(bench.takeDone(), [], 'nothing more was sent')
  bench.count({ sent: 128 })
  bench.advance(3000)
  assert.deepEqual(bench.takeDone(), ['unanswered'])
})

test('when a busy path goes dead at any moment, that is reported 1 to 1.5 s later', () => {
  for (let offset = 0; offset < 1000; offset += 37) {
    const bench = new Bench()
    bench.use(there, false)
    bench.handshake()
    const packets = (ms: number, received: number): void => {
      for (let passed = 0; passed < ms; passed += 1) {
        bench.count({ sent: 128, received })
        bench.advance(1)
      }
    }
    packets(3000 + offset, 128)
    bench.takeDone()
    const start = bench.now
    while (bench.takeDone().length === 0) packets(10, 0)
    assert.ok(bench.now - start >= 1000 && bench.now - start <= 1520, `${bench.now - start}`)
  }
})

test('answers that take half a second are no reason to doubt, whenever a packet is sent', () => {
  for (let offset = 0; offset < 1000; offset += 37) {
    const bench = new Bench()
    bench.use(there, false)
    bench.handshake()
    bench.advance(3000 + offset)
    bench.takeDone()
    bench.count({ sent: 128 })
    bench.advance(490)
    bench.count({ received: 128 })
    bench.advance(3000)
    assert.deepEqual(bench.takeDone(), [])
  }
})

test('an answer, or a keepalive that asks for none, is no reason to doubt', () => {
  const bench = new Bench()
  bench.use(there, false)
  bench.handshake()
  bench.advance(5000)
  bench.takeDone()
  for (let round = 0; round < 20; round++) {
    bench.count({ sent: 1452, received: 1452 })
    bench.advance(1000)
    bench.count({ sent: 32 })
    bench.advance(11_000)
  }
  assert.deepEqual(bench.takeDone(), [])
  assert.equal(bench.machine.stats().receivedBytes, 92 + 20 * 1452)
})

test('counters go on where a handshake makes the program count anew', () => {
  const bench = new Bench()
  bench.use(there, true)
  bench.handshake()
  bench.count({ sent: 1000, received: 5000 })
  bench.advance(2000)
  const before = bench.machine.stats()
  bench.use(elsewhere, true)
  assert.deepEqual(
    [bench.machine.stats().receivedBytes, bench.machine.stats().sentBytes],
    [before.receivedBytes, before.sentBytes],
  )
  bench.handshake(elsewhere)
  bench.advance(100)
  const { receivedBytes, sentBytes } = bench.machine.stats()
  assert.deepEqual([receivedBytes, sentBytes], [5092 + 92, before.sentBytes + 148 + 148])
})

test('the peer on the same path may move, and a peer that somebody removed is put back', () => {
  const bench = new Bench()
  bench.use(there, false)
  bench.handshake()
  bench.advance(1000)
  bench.takeDone()
  bench.run(bench.machine.move(elsewhere))
  assert.deepEqual([bench.takeDone(), bench.program?.endpoint], [['point'], elsewhere])
  bench.program = undefined
  bench.advance(1000)
  assert.deepEqual([bench.takeDone(), bench.program], [['point'], { ...fresh, endpoint: elsewhere }])
})

test('a path taken away removes the peer, and nothing is read any more', () => {
  const bench = new Bench()
  bench.use(there, true)
  bench.advance(100)
  bench.use(undefined, false)
  assert.deepEqual(bench.takeDone(), ['handshake', 'remove'])
  assert.equal(bench.machine.deadline, undefined)
  assert.deepEqual(bench.machine.move(elsewhere), [])
})

test('a program that does not answer for a while is asked again', () => {
  const bench = new Bench()
  bench.use(there, false)
  bench.handshake()
  bench.advance(100)
  bench.answers = false
  bench.use(elsewhere, false)
  bench.advance(5000)
  bench.answers = true
  bench.handshake(elsewhere)
  bench.advance(1000)
  assert.deepEqual(bench.takeDone(), ['point', 'established', 'point', 'established'])
})

test('counters that were read before an order mean nothing after it', () => {
  const machine = new PolledPeer({ hasPrecedence: true })
  const moment = { now: 1000, wallTime: epoch + 1000 }
  machine.use(there, { initiate: false, now: 0 })
  const [look] = machine.tick(1000)
  assert.equal(look?.kind, 'look')
  const revision = look?.kind === 'look' ? look.revision : 0
  machine.use(there, { initiate: true, now: 1000 })
  const old = { receivedBytes: 1, sentBytes: 1, lastHandshake: epoch, endpoint: there }
  assert.deepEqual(machine.observe(old, { revision, moment }), [])
  assert.deepEqual(machine.stats(), new PolledPeer({ hasPrecedence: true }).stats())
})

test('whatever happens in whatever order, time goes on and no look is lost', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('use' as const), initiate: fc.boolean(), other: fc.boolean() }),
    fc.record({ kind: fc.constant('leave' as const) }),
    fc.record({ kind: fc.constant('move' as const) }),
    fc.record({ kind: fc.constant('handshake' as const), other: fc.boolean() }),
    fc.record({ kind: fc.constant('count' as const), sent: fc.nat(200), received: fc.nat(200) }),
    fc.record({ kind: fc.constant('vanish' as const) }),
    fc.record({ kind: fc.constant('silent' as const), answers: fc.boolean() }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(3000) }),
  )
  const everything = fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
    const bench = new Bench()
    for (const one of steps) {
      if (one.kind === 'use') bench.use(one.other ? elsewhere : there, one.initiate)
      else if (one.kind === 'leave') bench.use(undefined, false)
      else if (one.kind === 'move') bench.run(bench.machine.move(elsewhere))
      else if (one.kind === 'vanish') bench.program = undefined
      else if (one.kind === 'silent') bench.answers = one.answers
      else if (one.kind === 'wait') bench.advance(one.ms)
      else if (bench.program !== undefined) {
        if (one.kind === 'handshake') bench.handshake(one.other ? elsewhere : there)
        else bench.count(one)
      }
    }
    bench.answers = true
    const isUsed = bench.machine.deadline !== undefined
    bench.looks = 0
    bench.advance(3000)
    assert.equal(bench.looks > 0, isUsed)
    assert.equal(bench.program !== undefined, isUsed)
  })
  fc.assert(everything, { seed: 20_261_123, numRuns: 300 })
})

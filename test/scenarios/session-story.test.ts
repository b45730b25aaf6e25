/** The session's story between two ends with played roles, in virtual time: which states follow, when, and why. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { otrFingerprint, SecretKey } from '../../src/api/keys.ts'
import type { GuardKind } from '../../src/api/roles.ts'
import { PeerLink } from '../../src/session/link.ts'
import { type CachedPath, runSession } from '../../src/session/session.ts'
import { advance, explain, type SessionState } from '../../src/session/state.ts'
import { LoopbackHub, type LoopbackNetwork } from '../../src/signal/loopback.ts'
import { Listeners } from '../../src/util/listeners.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { SeededRandom } from '../network/seeded-random.ts'
import { VirtualClock } from '../network/virtual-clock.ts'
import { FakeAgreement, FakeGuardPeer, FakePuncher, FakeSecret } from './fake-roles.ts'

const fingerprintA = otrFingerprint(new Uint8Array(20).fill(0xaa))!
const fingerprintB = otrFingerprint(new Uint8Array(20).fill(0xbb))!

class End {
  readonly clock: VirtualClock
  readonly network: LoopbackNetwork
  readonly link: PeerLink
  readonly agreement: FakeAgreement = new FakeAgreement()
  readonly puncher: FakePuncher
  readonly guardPeer: FakeGuardPeer
  readonly networkChanges: Listeners<void> = new Listeners()
  readonly states: string[] = []
  cached: CachedPath | undefined
  presharedKey: SecretKey | undefined
  up = true
  guardKind: GuardKind = 'embedded'
  /** As the hello says it. */
  guardName = 'embedded'
  guardParameters: Uint8Array = new Uint8Array(0)
  state: SessionState = { kind: 'down' }
  #controller: AbortController = new AbortController()
  #done: Promise<void> = Promise.resolve()

  constructor(
    clock: VirtualClock,
    hub: LoopbackHub,
    options: { readonly name: 'a' | 'b'; readonly peerKey?: Uint8Array },
  ) {
    const isA = options.name === 'a'
    this.clock = clock
    this.network = hub.join(options.name)
    this.puncher = new FakePuncher(clock)
    this.guardPeer = new FakeGuardPeer(clock)
    const pinned = isA ? fingerprintB : fingerprintA
    const channel = this.network.open(isA ? 'b' : 'a')
    this.link = new PeerLink({
      channel,
      secret: new FakeSecret({ channel, peer: otrFingerprint(options.peerKey ?? pinned)! }),
      agreement: this.agreement,
      ownFingerprint: isA ? fingerprintA : fingerprintB,
      pinned,
      initiator: isA,
      hello: () => ({
        up: this.up,
        guards: [this.guardName],
        addresses: [],
        fixedAddresses: false,
        networks: [],
        guardParameters: this.guardParameters,
      }),
      clock,
      logger: silentLogger,
    })
    this.link.subscribe((event) => {
      if (event.kind === 'agreed') this.presharedKey = event.presharedKey
    })
  }

  start(): void {
    this.#controller = new AbortController()
    this.#done = runSession(
      {
        peer: 'peer',
        link: this.link,
        puncher: this.puncher,
        guardKind: this.guardKind,
        guardPeer: this.guardPeer,
        cached: () => this.cached,
        remember: (cached) => {
          this.cached = cached
        },
        presharedKey: () => this.presharedKey,
        enter: (state) => {
          this.state = advance(this.state, state)
          this.states.push(state.kind)
        },
        watchNetwork: (listener) => this.networkChanges.add(listener),
        clock: this.clock,
        random: new SeededRandom(1),
        logger: silentLogger,
      },
      this.#controller.signal,
    )
  }

  async stop(): Promise<void> {
    this.#controller.abort(new Error('test over'))
    await this.#done
  }
}

function pair(options: { readonly keyOfB?: Uint8Array } = {}): { clock: VirtualClock; a: End; b: End } {
  const clock = new VirtualClock()
  const hub = new LoopbackHub({ clock, delay: 20 })
  const a = new End(clock, hub, { name: 'a', ...(options.keyOfB === undefined ? {} : { peerKey: options.keyOfB }) })
  return { clock, a, b: new End(clock, hub, { name: 'b' }) }
}

const connected = (...ends: End[]): (() => boolean) => {
  return () => ends.every((end) => end.state.kind === 'connected')
}

test('two ends that never met reach, secure, punch, join and are connected', async () => {
  const { clock, a, b } = pair()
  a.start()
  b.start()
  assert.equal(await clock.runUntil(connected(a, b), 3000), true)
  assert.deepEqual(
    a.states,
    ['reaching', 'securing', 'punching', 'joining', 'connected'].filter((state) => a.states.includes(state)),
  )
  assert.deepEqual(a.states.slice(-3), ['punching', 'joining', 'connected'])
  assert.ok(clock.now() < 300, `took ${clock.now()} ms`)
  assert.deepEqual(
    [a.guardPeer.uses.at(-1)?.initiate, b.guardPeer.uses.at(-1)?.initiate],
    [false, true],
    'the end that agrees last starts the handshake',
  )
  assert.ok(a.cached && b.cached, 'both remember the path')
  await a.stop()
  await b.stop()
  assert.equal(a.state.kind, 'down')
  assert.equal(a.guardPeer.uses.at(-1)?.path, undefined)
  assert.equal(a.puncher.opened.at(-1)?.closed, true)
})

test('the guard is not used before the pre-shared key is agreed, and an agreement that lost a message begins again', async () => {
  const { clock, a, b } = pair()
  a.agreement.lose = 1
  a.start()
  b.start()
  await clock.advance(5000)
  assert.equal(a.state.kind, 'joining')
  assert.equal(a.guardPeer.uses.filter((use) => use.path !== undefined).length, 0)
  assert.equal(await clock.runUntil(connected(a, b), 30_000), true)
  assert.equal(a.agreement.runs, 2)
  await a.stop()
  await b.stop()
})

test('a cached endpoint that answers is used without the peer being found', async () => {
  const { clock, a, b } = pair()
  const presharedKey = new SecretKey(new Uint8Array(32))
  for (const end of [a, b]) {
    end.network.setOnline(false)
    end.cached = { remote: { address: '203.0.113.9', port: 4 }, presharedKey }
    end.presharedKey = presharedKey
    end.puncher.cachedAnswers = true
    end.start()
  }
  assert.equal(await clock.runUntil(connected(a, b), 1000), true)
  assert.deepEqual(a.states, ['resuming', 'joining', 'connected'])
  assert.ok(clock.now() < 100)
  await a.stop()
  await b.stop()
})

test('a cached endpoint that is silent does not hold up the way over signalling, and is tried on in the background', async () => {
  const { clock, a, b } = pair()
  const presharedKey = new SecretKey(new Uint8Array(32))
  a.cached = { remote: { address: '203.0.113.9', port: 4 }, presharedKey }
  a.presharedKey = presharedKey
  a.start()
  b.start()
  assert.equal(await clock.runUntil(connected(a, b), 3000), true)
  assert.ok(clock.now() < 800, `took ${clock.now()} ms`)
  await a.stop()
  await b.stop()
})

test('a lost path heals: both ends open a new one, and the old one is closed', async () => {
  const { clock, a, b } = pair()
  a.start()
  b.start()
  await clock.runUntil(connected(a, b), 3000)
  const before = clock.now()
  a.puncher.opened[0]?.lose('no answer for 1.8 s')
  await clock.advance(1)
  assert.equal(a.state.kind, 'healing')
  assert.match(explain(a.state, 'b').reason, /^no answer for 1\.8 s; trying the endpoint/)
  assert.equal(await clock.runUntil(() => connected(a, b)() && b.puncher.opened.length === 2, 3000), true)
  await clock.runUntil(connected(a, b), 3000)
  assert.ok(clock.now() - before < 600, `healed after ${clock.now() - before} ms`)
  assert.equal(a.puncher.opened[0]?.closed, true)
  assert.ok(b.states.includes('healing'), 'the other end followed')
  await clock.advance(20_000)
  assert.deepEqual([a.puncher.opened.length, b.puncher.opened.length], [2, 2], 'and then stays')
  await a.stop()
  await b.stop()
})

test('silence of the tunnel and a change of network only make the path be checked', async () => {
  const { clock, a, b } = pair()
  a.start()
  b.start()
  await clock.runUntil(connected(a, b), 3000)
  a.guardPeer.fallSilent()
  a.networkChanges.emit()
  assert.equal(a.puncher.opened[0]?.checks, 2)
  assert.equal(a.state.kind, 'connected')
  await a.stop()
  await b.stop()
})

test('a path that moves is remembered where it is', async () => {
  const { clock, a, b } = pair()
  a.start()
  b.start()
  await clock.runUntil(connected(a, b), 3000)
  a.puncher.opened[0]?.move({ address: '198.51.100.4', port: 9 })
  assert.deepEqual(a.cached?.remote, { address: '198.51.100.4', port: 9 })
  await a.stop()
  await b.stop()
})

test('a peer that is switched off is waited for, with a hint, and met again when it is switched on', async () => {
  const { clock, a, b } = pair()
  b.up = false
  a.start()
  await clock.advance(60_000)
  assert.equal(a.state.kind, 'reaching')
  assert.match(explain(a.state, 'b').reason, /switched off/)
  assert.match(explain(a.state, 'b').hint ?? '', /punchguard up/)
  b.up = true
  b.link.announce()
  b.start()
  assert.equal(await clock.runUntil(connected(a, b), 1000), true)
  b.up = false
  b.link.announce()
  await b.stop()
  assert.equal(await clock.runUntil(() => a.state.kind === 'reaching', 2000), true)
  await a.stop()
})

test('attempts that fail wait longer each time, say why, and never give up', async () => {
  const { clock, a, b } = pair()
  a.puncher.passable = false
  b.puncher.passable = false
  a.start()
  b.start()
  const waits: number[] = []
  for (let round = 0; round < 8; round++) {
    assert.equal(await clock.runUntil(() => a.state.kind === 'waiting', 200_000), true)
    assert.ok(a.state.kind === 'waiting' && a.state.until >= clock.now())
    assert.match(explain(a.state, 'b').reason, /No path to peer/)
    waits.push(a.state.kind === 'waiting' ? a.state.until - clock.now() : 0)
    await clock.runUntil(() => a.state.kind !== 'waiting', 200_000)
  }
  assert.ok(
    waits.every((wait, at) => wait >= Math.min(30_000, 500 * 2 ** at) && wait <= 60_001),
    waits.join(' '),
  )
  a.puncher.passable = true
  b.puncher.passable = true
  assert.equal(await clock.runUntil(connected(a, b), 200_000), true)
  await a.stop()
  await b.stop()
})

test('a path without a tunnel handshake is not called connected', async () => {
  const { clock, a, b } = pair()
  a.guardPeer.answers = false
  a.start()
  b.start()
  assert.equal(await clock.runUntil(() => a.state.kind === 'waiting', 20_000), true)
  assert.match(explain(a.state, 'b').reason, /did not answer the tunnel handshake/)
  assert.equal(a.states.includes('connected'), false)
  a.guardPeer.answers = true
  assert.equal(await clock.runUntil(connected(a, b), 60_000), true)
  await a.stop()
  await b.stop()
})

test('a peer with another key is refused, nothing more is tried, and the story can still be ended', async () => {
  const { clock, a, b } = pair({ keyOfB: new Uint8Array(20).fill(0xee) })
  a.start()
  b.start()
  await clock.advance(60_000)
  assert.equal(a.state.kind, 'refused')
  assert.match(explain(a.state, 'b').reason, /EEEEEEEE/)
  assert.equal(a.puncher.opened.length, 0)
  await a.stop()
  await b.stop()
  assert.equal(a.state.kind, 'down')
})

test('an end that comes back from a restart is met again by the end that stayed', async () => {
  const { clock, a, b } = pair()
  a.start()
  b.start()
  await clock.runUntil(connected(a, b), 3000)
  b.network.setOnline(false)
  await clock.advance(1000)
  assert.equal(a.state.kind, 'connected', 'losing the signal network alone does not matter')
  b.network.setOnline(true)
  await clock.advance(1000)
  a.puncher.opened.at(-1)?.lose('the cable was pulled')
  b.puncher.opened.at(-1)?.lose('the cable was pulled')
  await clock.advance(100)
  assert.equal(await clock.runUntil(connected(a, b), 3000), true)
  await a.stop()
  await b.stop()
})

test('two ends without a common guard wait for each other, say so with what to do, and open no path', async () => {
  const { clock, a, b } = pair()
  b.guardKind = 'openvpn'
  b.guardName = 'openvpn'
  a.start()
  b.start()
  await clock.advance(60_000)
  assert.equal(a.state.kind, 'reaching')
  assert.deepEqual(explain(a.state, 'peer'), {
    reason: 'peer carries packets with openvpn, this device with embedded: they do not understand each other',
    hint: 'set guard to the same in config.toml on both, or leave it out on both',
  })
  assert.match(explain(b.state, 'peer').reason, /^peer carries packets with embedded, this device with openvpn/)
  assert.deepEqual([a.puncher.opened.length, a.guardPeer.uses.length, a.guardPeer.met.length], [0, 0, 0])
  await b.stop()
  b.guardKind = 'kernel'
  b.guardName = 'kernel'
  b.link.announce()
  b.start()
  assert.equal(await clock.runUntil(connected(a, b), 1000), true, 'any two WireGuards understand each other')
  await a.stop()
  await b.stop()
})

test('a guard that nobody knows here is not understood, and its name is not repeated when it is none', async () => {
  for (const [name, said] of [
    ['wireguard-2', /with wireguard-2,/],
    ['\u001b[31m', /with a guard without a name,/],
  ] as const) {
    const { clock, a, b } = pair()
    b.guardName = name
    a.start()
    b.start()
    await clock.advance(5000)
    assert.equal(a.state.kind, 'reaching')
    assert.match(explain(a.state, 'peer').reason, said)
    await a.stop()
    await b.stop()
  }
})

test('a peer that comes back with another guard is not resumed, and met again when it is set right', async () => {
  const { clock, a, b } = pair()
  a.start()
  b.start()
  await clock.runUntil(connected(a, b), 3000)
  a.puncher.cachedAnswers = true
  b.guardName = 'openvpn'
  b.link.announce()
  await clock.advance(10_000)
  assert.equal(a.state.kind, 'reaching')
  assert.equal(a.puncher.resumes, 0)
  b.guardName = 'embedded'
  b.link.announce()
  assert.equal(await clock.runUntil(connected(a), 3000), true)
  await a.stop()
  await b.stop()
})

test('the guard is told what the other one says of itself before it is used, and again when that changes', async () => {
  const { clock, a, b } = pair()
  b.guardParameters = Uint8Array.of(1, 2)
  a.start()
  b.start()
  await clock.runUntil(connected(a, b), 3000)
  assert.deepEqual(a.guardPeer.met, [{ parameters: '0102', uses: 0 }])
  assert.deepEqual(a.cached?.guardParameters, Uint8Array.of(1, 2))
  b.link.announce()
  b.guardParameters = Uint8Array.of(3)
  b.link.announce()
  await clock.advance(100)
  assert.deepEqual(
    a.guardPeer.met.map(({ parameters }) => parameters),
    ['0102', '03'],
  )
  assert.deepEqual(a.cached?.guardParameters, Uint8Array.of(3))
  await a.stop()
  await b.stop()
})

test('on a resumed path the guard is told what the other one said last time', async () => {
  const { clock, a, b } = pair()
  const presharedKey = new SecretKey(new Uint8Array(32))
  for (const end of [a, b]) {
    end.network.setOnline(false)
    const guardParameters = Uint8Array.of(7)
    end.cached = { remote: { address: '203.0.113.9', port: 4 }, presharedKey, guardParameters }
    end.presharedKey = presharedKey
    end.puncher.cachedAnswers = true
    end.start()
  }
  assert.equal(await clock.runUntil(connected(a, b), 1000), true)
  assert.deepEqual(a.guardPeer.met, [{ parameters: '07', uses: 0 }])
  assert.deepEqual(a.cached?.guardParameters, Uint8Array.of(7))
  await a.stop()
  await b.stop()
})

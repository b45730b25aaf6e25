/**
 * The control machine (guard/wireguard/device.ts) under mutated handshake messages. A device in the middle of everything,
 * a session, an initiation of its own under way, gets them; a twin of it does not. Each message must be dropped for
 * exactly the reason it deserves and have no effect; at the end both are told the same true messages and must say the
 * same, byte for byte, keys included.
 */

import assert from 'node:assert/strict'
import type { Generator } from '../../lab/model/generator.ts'
import type { Endpoint } from '../../src/api/endpoint.ts'
import { SecretKey } from '../../src/api/keys.ts'
import { noActivity, type PeerId } from '../../src/guard/dataplane/data-plane.ts'
import { seededRandom } from '../../src/guard/testing/virtual-tunnel.ts'
import { CookieJar } from '../../src/guard/wireguard/cookie.ts'
import { WireGuardDevice } from '../../src/guard/wireguard/device.ts'
import type { DeviceEffect, Moment } from '../../src/guard/wireguard/effects.ts'
import { decodeHandshakeMessage, MACS_SIZE } from '../../src/guard/wireguard/messages.ts'
import { toHex } from '../../src/util/bytes.ts'
import type { Random } from '../../src/util/random.ts'
import { areEqual, type FuzzResult, type FuzzTarget, mutate, Tally } from './mutate.ts'

const ours: Endpoint = { address: '192.0.2.1', port: 1 }
const theirs: Endpoint = { address: '192.0.2.2', port: 2 }
const stranger: Endpoint = { address: '203.0.113.66', port: 6666 }
/** One in so many gets the mac1 that anybody can make who knows the public key: what is behind it is looked at then. */
const signedShare = 50
const macSize = 16

const at = (now: number): Moment => ({ now, wallTime: 1_800_000_000_000 + now })

interface Known {
  readonly device: WireGuardDevice
  readonly peer: PeerId
}

function device(
  seed: number,
  options: { readonly random?: Random; readonly underLoadMessages: number },
): Known['device'] {
  const privateKey = new SecretKey(new Uint8Array(32).fill(seed))
  return new WireGuardDevice({ privateKey, random: seededRandom(seed), ...options })
}

function know(one: WireGuardDevice, other: WireGuardDevice): Known {
  const added = one.addPeer({ publicKey: other.publicKey, allowedIps: [] })
  assert.ok(added !== undefined)
  return { device: one, peer: added.peer }
}

/** Equal calls give equal bytes, however many cookie replies took their nonces in between. */
function randomByLength(seed: number): Random {
  const streams = new Map<number, Random>()
  return {
    bytes: (length) => {
      const stream = streams.get(length) ?? seededRandom(seed * 1000 + length)
      streams.set(length, stream)
      return stream.bytes(length)
    },
  }
}

function datagram(effects: readonly DeviceEffect[]): Uint8Array {
  const found = effects.find((effect) => effect.kind === 'datagram')
  assert.ok(found !== undefined, 'nothing was sent')
  return found.bytes
}

function installed(effects: readonly DeviceEffect[]): number {
  for (const effect of effects)
    if (effect.kind === 'data-plane' && effect.command.kind === 'install-keypair')
      return effect.command.keypair.localIndex
  return assert.fail('no keypair')
}

/** With the keys in it. */
function describe(effects: readonly DeviceEffect[]): unknown {
  return effects.map((effect) => {
    if (effect.kind === 'datagram') return { ...effect, bytes: toHex(effect.bytes) }
    if (effect.kind !== 'data-plane' || effect.command.kind !== 'install-keypair') return effect
    const { sendKey, receiveKey, ...rest } = effect.command.keypair
    return { ...effect.command, keypair: { ...rest, keys: [sendKey, receiveKey].map((key) => toHex(key.reveal())) } }
  })
}

/** Everything that can be seen of a device but what it dropped. */
function stateOf({ device: one, peer }: Known): unknown {
  const { dropped: _dropped, ...stats } = one.peerStats(peer) ?? assert.fail('the peer is gone')
  return { stats, deadline: one.deadline, indices: one.indexCount, lastTimestamp: one.lastTimestamp }
}

/** Of the device and its peer together. */
function dropsOf({ device: one, peer }: Known): Map<string, number> {
  const drops = new Map(Object.entries(one.dropped()))
  for (const [reason, count] of Object.entries(one.peerStats(peer)?.dropped ?? {}))
    drops.set(reason, (drops.get(reason) ?? 0) + count)
  return drops
}

/** Messages that came, and some that are still on their way: unchanged, those would be accepted. */
interface Scene {
  readonly fuzzed: Known
  readonly twin: Known
  readonly past: readonly Uint8Array[]
  readonly coming: { readonly initiation: Uint8Array; readonly response: Uint8Array; readonly cookie: Uint8Array }
  /** Our initiation under way, and our session. */
  readonly indices: readonly [number, number]
}

function scene(underLoadMessages: number): Scene {
  const far = know(device(1, { underLoadMessages: Number.POSITIVE_INFINITY }), device(2, { underLoadMessages }))
  const loaded = device(1, { underLoadMessages: 0 })
  const [fuzzed, twin] = [1, 2].map(() => know(device(2, { random: randomByLength(2), underLoadMessages }), far.device))
  assert.ok(fuzzed !== undefined && twin !== undefined)
  const both = (act: (one: Known) => readonly DeviceEffect[]): readonly DeviceEffect[] => {
    const effects = act(fuzzed)
    assert.deepEqual(describe(act(twin)), describe(effects))
    return effects
  }
  const first = datagram(far.device.use(far.peer, ours, { initiate: true, moment: at(0) }))
  both((one) => one.device.use(one.peer, theirs, { initiate: false, moment: at(0) }))
  const answered = both((one) => one.device.receive(first, theirs, at(10)))
  const answer = datagram(answered)
  const session = installed(answered)
  far.device.receive(answer, ours, at(20))
  both((one) => one.device.report(one.peer, { ...noActivity, confirmed: session, endpoint: theirs }, at(30)))
  const initiated = datagram(both((one) => one.device.use(one.peer, theirs, { initiate: true, moment: at(6_000) })))
  const pending = new DataView(initiated.buffer).getUint32(4, true)
  const initiation = datagram(far.device.use(far.peer, ours, { initiate: true, moment: at(6_000) }))
  const response = datagram(far.device.receive(initiated, ours, at(6_010)))
  loaded.receive(initiated, ours, at(6_010))
  const cookie = datagram(loaded.receive(initiated, ours, at(6_011)))
  return {
    fuzzed,
    twin,
    past: [first, answer, initiated],
    coming: { initiation, response, cookie },
    indices: [pending, session],
  }
}

/** Whether it is a message that is still to come as far as its sender's keys tell: mac2 and the sender's index are not under them. */
function isGenuine(bytes: Uint8Array, { coming, indices }: Scene): boolean {
  const message = decodeHandshakeMessage(bytes)
  // It is under the key of our last mac1; any index of ours names the peer.
  if (message?.kind === 'cookie-reply')
    return indices.includes(message.receiver) && areEqual(bytes.subarray(8), coming.cookie.subarray(8))
  if (message?.kind === 'initiation')
    return areEqual(bytes.subarray(8, -MACS_SIZE), coming.initiation.subarray(8, -MACS_SIZE))
  return (
    message?.kind === 'response' &&
    message.receiver === indices[0] &&
    areEqual(bytes.subarray(12, -MACS_SIZE), coming.response.subarray(12, -MACS_SIZE))
  )
}

/** Why it must be dropped, with nobody under load. */
function reasonFor(bytes: Uint8Array, hasMac1: boolean, { past, indices }: Scene): string {
  const message = decodeHandshakeMessage(bytes)
  if (message === undefined) return 'malformed'
  if (message.kind === 'cookie-reply') return indices.includes(message.receiver) ? 'unexpected-cookie' : 'unknown-index'
  if (!hasMac1) return 'bad-mac1'
  if (message.kind === 'response') {
    if (message.receiver === indices[0]) return 'unauthenticated'
    return indices.includes(message.receiver) ? 'unexpected-response' : 'unknown-index'
  }
  const [first] = past
  return areEqual(bytes.subarray(8, -MACS_SIZE), first?.subarray(8, -MACS_SIZE) ?? bytes)
    ? 'replayed-initiation'
    : 'unauthenticated'
}

interface Input {
  readonly bytes: Uint8Array
  readonly hasMac1: boolean
}

/** Nothing that would be accepted. */
class Source {
  readonly #generator: Generator
  readonly #scene: Scene
  readonly #samples: readonly Uint8Array[]
  readonly #jar: CookieJar
  /** mac1 of a body, for the samples: whoever changes only what comes after keeps it. */
  readonly #signed: readonly Uint8Array[]

  constructor(generator: Generator, world: Scene) {
    const { past, coming, fuzzed } = world
    this.#generator = generator
    this.#scene = world
    this.#samples = [...past, ...Object.values(coming)]
    this.#jar = new CookieJar(fuzzed.device.publicKey)
    // Ours among them are for the other side's key.
    this.#signed = [past[0] ?? assert.fail(), coming.initiation, coming.response]
  }

  next(): Input {
    for (;;) {
      const input = this.#make()
      if (!isGenuine(input.bytes, this.#scene) || !input.hasMac1) return input
    }
  }

  #make(): Input {
    const bytes = mutate({
      generator: this.#generator,
      samples: this.#samples,
      numbers: this.#scene.indices,
      fields: [0, 4, 8],
    })
    const kind = decodeHandshakeMessage(bytes)?.kind
    if (kind === 'cookie-reply') return { bytes, hasMac1: true }
    if (kind === undefined) return { bytes, hasMac1: false }
    if (this.#generator.below(signedShare) === 0) {
      this.#jar.setMacs(bytes, 0)
      return { bytes, hasMac1: true }
    }
    const body = bytes.subarray(0, -macSize)
    return { bytes, hasMac1: this.#signed.some((sample) => areEqual(sample.subarray(0, -macSize), body)) }
  }
}

/** The one reason that was counted once more. */
function grown(before: Map<string, number>, after: Map<string, number>, bytes: Uint8Array): string {
  const changed = [...after].filter(([reason, count]) => count !== (before.get(reason) ?? 0))
  assert.equal(changed.length, 1, `one reason: ${JSON.stringify(changed)} for ${toHex(bytes)}`)
  const [reason = '', count = 0] = changed[0] ?? []
  assert.equal(count, (before.get(reason) ?? 0) + 1)
  return reason
}

/** Both hear what was on its way. */
function compare({ fuzzed, twin, coming }: Scene, now: number): void {
  const same = (what: string, act: (one: Known) => unknown): void =>
    assert.deepEqual(act(fuzzed), act(twin), `${what} after the mutated messages`)
  const hear = (bytes: Uint8Array, when: number) => (one: Known) => {
    const drops = dropsOf(one)
    const effects = one.device.receive(bytes, theirs, at(when))
    assert.deepEqual(dropsOf(one), drops, 'a true message is taken')
    return describe(effects)
  }
  same('state', stateOf)
  same('the cookie', hear(coming.cookie, now))
  same('the initiation', hear(coming.initiation, now + 1))
  same('the response', hear(coming.response, now + 2))
  same('state', stateOf)
  for (const wait of [1_000, 20_000, 121_000, 190_000, 700_000])
    same('time', (one) => describe(one.device.tick(at(now + wait))))
}

function runCalm(generator: Generator, count: number): FuzzResult {
  const world = scene(Number.POSITIVE_INFINITY)
  const source = new Source(generator, world)
  const tally = new Tally()
  const before = stateOf(world.fuzzed)
  let drops = dropsOf(world.fuzzed)
  for (let done = 0; done < count; done++) {
    const { bytes, hasMac1 } = source.next()
    const effects = world.fuzzed.device.receive(bytes, stranger, at(6_100))
    assert.deepEqual(effects, [], toHex(bytes))
    const after = dropsOf(world.fuzzed)
    const reason = grown(drops, after, bytes)
    assert.equal(reason, reasonFor(bytes, hasMac1, world), toHex(bytes))
    drops = after
    tally.count(reason)
  }
  assert.deepEqual(stateOf(world.fuzzed), before)
  compare(world, 6_200)
  return tally.result(count)
}

const underLoadMessages = 20

/** More than so many a second with a valid mac1: from then on each of them is answered by a cookie, and nothing else. */
function runLoaded(generator: Generator, count: number): FuzzResult {
  const world = scene(underLoadMessages)
  const source = new Source(generator, world)
  const tally = new Tally()
  // So that both have made their cookie secret.
  const [first] = world.past
  for (const one of [world.fuzzed, world.twin])
    for (let sent = 0; sent <= underLoadMessages; sent++)
      one.device.receive(first ?? assert.fail(), stranger, at(6_100))
  const before = stateOf(world.fuzzed)
  let drops = dropsOf(world.fuzzed)
  for (let done = 0; done < count; done++) {
    const { bytes, hasMac1 } = source.next()
    const effects = world.fuzzed.device.receive(bytes, stranger, at(6_200))
    const after = dropsOf(world.fuzzed)
    const reason = grown(drops, after, bytes)
    const calm = reasonFor(bytes, hasMac1, world)
    const isAnswered = hasMac1 && decodeHandshakeMessage(bytes)?.kind !== 'cookie-reply' && calm !== 'malformed'
    assert.equal(reason, isAnswered ? 'cookie-required' : calm, toHex(bytes))
    assert.equal(effects.length, isAnswered ? 1 : 0, toHex(bytes))
    const [reply] = effects
    if (isAnswered) assert.ok(reply?.kind === 'datagram' && reply.bytes.length === 64 && reply.to === stranger)
    drops = after
    tally.count(reason)
  }
  assert.deepEqual(stateOf(world.fuzzed), before)
  compare(world, 9_000)
  return tally.result(count)
}

export const handshakeTargets: readonly FuzzTarget[] = [
  { name: 'control machine', run: runCalm },
  { name: 'control machine under load', run: runLoaded },
]

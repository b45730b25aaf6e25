/**
 * The receiving halves of both data planes under mutated transport messages: PacketPath (dataplane/packet-path.ts) and the
 * receive worker's machine (dataplane/receive.ts) with faked system calls. Two current keypairs, one that has expired,
 * and a replay window with holes. Each datagram must be dropped for exactly the reason it deserves, and nothing else may
 * change; at the end a twin that saw none of this and the fuzzed one must make the same of what is true.
 */

import assert from 'node:assert/strict'
import type { Generator } from '../../lab/model/generator.ts'
import type { Endpoint } from '../../src/api/endpoint.ts'
import { SecretKey } from '../../src/api/keys.ts'
import { noActivity, type PeerActivity } from '../../src/guard/dataplane/data-plane.ts'
import { DatagramRing, LARGEST_PASSED } from '../../src/guard/dataplane/datagram-ring.ts'
import { PacketPath } from '../../src/guard/dataplane/packet-path.ts'
import { Receiver } from '../../src/guard/dataplane/receive.ts'
import {
  createPeerRow,
  dropsOfPeer,
  readActivity,
  readDrops,
  received,
} from '../../src/guard/dataplane/shared-activity.ts'
import { FakeSystem } from '../../src/guard/dataplane/testing/fake-system.ts'
import { encodeInner } from '../../src/guard/dataplane/testing/inner-packets.ts'
import { sealTransport } from '../../src/guard/dataplane/transport.ts'
import { type Prefix, parsePrefix } from '../../src/guard/wireguard/allowed-ips.ts'
import { REJECT_AFTER_TIME } from '../../src/guard/wireguard/constants.ts'
import { ReplayWindow } from '../../src/guard/wireguard/replay-window.ts'
import { toHex } from '../../src/util/bytes.ts'
import { areEqual, type FuzzResult, type FuzzTarget, mutate, Tally } from './mutate.ts'

export const peer = 1
export const mtu = 1420
const now = 1_000_000
export const sender: Endpoint = { address: '192.0.2.2', port: 2222 }
const stranger: Endpoint = { address: '203.0.113.66', port: 6666 }
const limits = { rekeyAfterMessages: 2 ** 51, rejectAfterMessages: 2 ** 52 }
/** Two that are alive, and one that is too old. */
const live = [0x01020304, 0xf0e0d0c0] as const
const expired = 0x55667788
export const liveIndex: number = live[0]
const keys = new Map([...live, expired].map((index, at) => [index, new Uint8Array(32).fill(at + 1)]))

function prefixes(...texts: readonly string[]): readonly Prefix[] {
  return texts.map((text) => parsePrefix(text) ?? assert.fail(text))
}

/** Test packets come from 10.64.1.2 and fd70::2. */
export const allowedIps: readonly Prefix[] = prefixes('10.64.1.2/32', 'fd70::2/128')

export function seal(index: number, counter: number, packet: Uint8Array): Uint8Array {
  const target = new Uint8Array(2048)
  const key = keys.get(index) ?? assert.fail('no such key')
  return target.slice(0, sealTransport(target, packet, { key, remoteIndex: index, counter, mtu }))
}

/** A plane's receiving half, as the fuzzers see it. */
export interface ReceivingHalf {
  receive(datagram: Uint8Array, from: Endpoint): void
  /** Inner packets that came out since the last call. */
  takePackets(): readonly Uint8Array[]
  /** What is no transport message, since the last call. */
  takePassed(): readonly Uint8Array[]
  drops(): Readonly<Record<string, number>>
  /** All that can be seen but the drops. */
  state(): unknown
}

export class PlainHalf implements ReceivingHalf {
  readonly #path: PacketPath
  readonly #packets: Uint8Array[] = []
  readonly #passed: Uint8Array[] = []
  #activity: Omit<PeerActivity, 'dropped'> = noActivity
  #drops: Readonly<Record<string, number>> = {}

  constructor() {
    const sink = {
      datagram: () => assert.fail('nothing is sent'),
      packet: (bytes: Uint8Array) => void this.#packets.push(Uint8Array.from(bytes)),
    }
    this.#path = new PacketPath({ mtu, sink })
    this.#path.apply({ kind: 'add-peer', peer, allowedIps }, now)
    this.#path.apply({ kind: 'set-endpoint', peer, endpoint: sender, revision: 1 }, now)
    for (const [localIndex, bytes] of keys) {
      const created = localIndex === expired ? now - REJECT_AFTER_TIME : now
      const [sendKey, receiveKey] = [new Uint8Array(32), Uint8Array.from(bytes)].map((key) => new SecretKey(key))
      const keypair = { localIndex, remoteIndex: 1, created, ...limits }
      this.#path.apply(
        {
          kind: 'install-keypair',
          peer,
          keypair: { ...keypair, sendKey: sendKey ?? assert.fail(), receiveKey: receiveKey ?? assert.fail() },
        },
        now,
      )
    }
  }

  /** As PlainDataPlane does: type 4 comes here, the rest goes to control. */
  receive(datagram: Uint8Array, from: Endpoint): void {
    if (datagram[0] === 4) this.#path.receive(datagram, from, now)
    else this.#passed.push(datagram)
  }

  takePackets(): readonly Uint8Array[] {
    return this.#packets.splice(0)
  }

  takePassed(): readonly Uint8Array[] {
    return this.#passed.splice(0)
  }

  drops(): Readonly<Record<string, number>> {
    this.#look()
    return { ...this.#drops, ...this.#path.dropped() }
  }

  state(): unknown {
    this.#look()
    return this.#activity
  }

  receivedBytes(): number {
    this.#look()
    return this.#activity.receivedBytes
  }

  #look(): void {
    for (const { activity } of this.#path.takeReports()) {
      const { dropped, ...rest } = activity
      this.#activity = rest
      this.#drops = dropped
    }
  }
}

export class WorkerHalf implements ReceivingHalf {
  readonly system: FakeSystem = new FakeSystem()
  readonly #row: Float64Array = createPeerRow()
  readonly #ring: DatagramRing = new DatagramRing(DatagramRing.memory())
  readonly #half: Receiver

  constructor() {
    this.system.now = now
    this.#half = new Receiver(this.system.context(), { socket: 4, ring: this.#ring, mayMergeUdp: true })
    this.#half.apply({ kind: 'add-peer', peer, allowedIps, row: this.#row })
    this.#half.apply({ kind: 'set-endpoint', peer, endpoint: numbersOf(sender), revision: 1 })
    for (const [localIndex, bytes] of keys)
      this.#half.apply({
        kind: 'install-keypair',
        peer,
        localIndex,
        remoteIndex: 1,
        sendKey: new Uint8Array(32),
        receiveKey: Uint8Array.from(bytes),
        counter: new Float64Array(1),
        receivedBelow: 0,
        created: localIndex === expired ? now - REJECT_AFTER_TIME : now,
        ...limits,
      })
  }

  receive(datagram: Uint8Array, from: Endpoint, segmentSize = 0): void {
    this.system.toReceive.push({ bytes: datagram, segmentSize, from: numbersOf(from) })
    this.#half.turn()
  }

  takePackets(): readonly Uint8Array[] {
    return this.system.written.splice(0)
  }

  takePassed(): readonly Uint8Array[] {
    const passed: Uint8Array[] = []
    for (let next = this.#ring.shift(); next !== undefined; next = this.#ring.shift()) passed.push(next.bytes)
    return passed
  }

  drops(): Readonly<Record<string, number>> {
    return readDrops(this.system.drops, dropsOfPeer(this.#row, 'sent'), dropsOfPeer(this.#row, 'received'))
  }

  receivedBytes(): number {
    return this.#row[received.bytes] ?? 0
  }

  state(): unknown {
    const { dropped: _dropped, ...activity } = readActivity(this.#row, { endpoint: undefined, endpointRevision: 0 })
    const told = this.system.events.filter(({ kind }) => kind !== 'activity' && kind !== 'datagrams')
    return { activity, told, confirmed: this.#row[received.confirmed] }
  }
}

function numbersOf({ address, port }: Endpoint): { readonly address: number; readonly port: number } {
  return { address: address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0), port }
}

function inner(counter: number): Uint8Array {
  const family = counter % 2 === 0 ? 4 : 6
  const payload = new Uint8Array((counter * 37) % 300).fill(counter)
  return encodeInner({ family, protocol: counter % 3 === 0 ? 'udp' : 'tcp', payload, sequence: counter * 1000 })
}

interface Sample {
  readonly bytes: Uint8Array
  readonly index: number
  readonly counter: number
}

function samples(index: number, counters: readonly number[]): readonly Sample[] {
  return counters.map((counter) => ({ bytes: seal(index, counter, inner(counter)), index, counter }))
}

const keepaliveCounter = 3
const past = [...samples(live[0], [0, 1, 2, 5, 9000, 9001, 9040]), ...samples(live[1], [0])]
/** Never seen, but too long ago to tell. */
const old = samples(live[0], [3, 4])
const coming = [
  ...samples(live[0], [1500, 9039, 9041, 20_000, 2 ** 40]),
  ...samples(live[1], [1, 2]),
  { bytes: seal(live[1], keepaliveCounter, new Uint8Array(0)), index: live[1], counter: keepaliveCounter },
]
const all = [...past, ...old, ...coming, ...samples(expired, [0, 1])].map(({ bytes }) => bytes)

/** What became of the counters so far, by the readable window. */
function windows(): ReadonlyMap<number, ReplayWindow> {
  const found = new Map<number, ReplayWindow>(live.map((index) => [index, new ReplayWindow()]))
  for (const { index, counter } of past) found.get(index)?.mark(counter)
  return found
}

/** Where it must go: a reason to drop it, `passed` for what is not of this type. */
function fateOf(bytes: Uint8Array, seen: ReadonlyMap<number, ReplayWindow>): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 4 || view.getUint32(0, true) !== 4) return 'passed'
  if (bytes.length < 32) return 'malformed'
  const index = view.getUint32(4, true)
  if (index === expired) return 'expired-key'
  const window = seen.get(index)
  if (window === undefined) return 'unknown-index'
  const counter = view.getUint32(8, true) + view.getUint32(12, true) * 2 ** 32
  if (counter > Number.MAX_SAFE_INTEGER) return 'counter-too-large'
  return window.allows(counter) ? 'unauthenticated' : 'replayed'
}

/** What nobody could make who has no key: never one of those that are still to come. */
function hostile(generator: Generator): Uint8Array {
  for (;;) {
    const bytes = mutate({ generator, samples: all, numbers: [...keys.keys()], fields: [0, 4, 8, 12] })
    if (!coming.some((sample) => areEqual(sample.bytes, bytes))) return bytes
  }
}

function deliver(half: ReceivingHalf, what: readonly Sample[]): readonly string[] {
  for (const { bytes } of what) half.receive(bytes, sender)
  return half.takePackets().map(toHex)
}

/** Both planes put what they do not understand where it belongs, but not by the same name. */
interface Plane {
  readonly name: string
  readonly create: () => ReceivingHalf
  /** The fate of what is no transport message. */
  readonly passes: (bytes: Uint8Array, passed: number) => string
}

const handshakeBurst = 400

const planes: readonly Plane[] = [
  {
    name: 'plain data plane',
    create: () => new PlainHalf(),
    // A first byte of 4 alone makes it a transport message here; the underlay lets no other by.
    passes: (bytes) => (bytes[0] === 4 ? 'malformed' : 'passed'),
  },
  {
    name: 'receive worker',
    create: () => new WorkerHalf(),
    passes: (bytes, passed) => {
      if (bytes.length === 0) return 'ignored'
      const isHandshake = bytes.length >= 4 && (bytes[0] ?? 0) <= 3 && (bytes[0] ?? 0) >= 1 && isZero(bytes, 1, 4)
      if (isHandshake && passed >= handshakeBurst) return 'handshake-flood'
      return bytes.length > LARGEST_PASSED ? 'malformed' : isHandshake ? 'passed handshake' : 'passed'
    },
  },
]

function isZero(bytes: Uint8Array, from: number, to: number): boolean {
  return bytes.subarray(from, to).every((byte) => byte === 0)
}

function run(plane: Plane, generator: Generator, count: number): FuzzResult {
  const [fuzzed, twin] = [plane.create(), plane.create()]
  assert.deepEqual(deliver(fuzzed, past), deliver(twin, past))
  const seen = windows()
  const before = fuzzed.state()
  const tally = new Tally()
  const expected = new Map(Object.entries(fuzzed.drops()))
  let handshakes = 0
  for (let done = 0; done < count; done++) {
    const bytes = hostile(generator)
    fuzzed.receive(bytes, stranger)
    const fate = fateOf(bytes, seen)
    const became = fate === 'passed' ? plane.passes(bytes, handshakes) : fate
    if (became === 'passed handshake') handshakes++
    const passed = fuzzed.takePassed()
    if (became.startsWith('passed')) assert.deepEqual(passed, [bytes])
    else if (became !== 'ignored') {
      assert.equal(passed.length, 0, toHex(bytes))
      expected.set(became, (expected.get(became) ?? 0) + 1)
    }
    tally.count(became)
    // Reading all counters costs more than receiving: each a hundred, and each when there are few.
    if (done % 128 === 0 || done === count - 1)
      assert.deepEqual(fuzzed.drops(), Object.fromEntries(expected), `${toHex(bytes)} or one of 127 before`)
    assert.equal(fuzzed.takePackets().length, 0, toHex(bytes))
  }
  assert.deepEqual(fuzzed.state(), before)
  assert.deepEqual(fuzzed.state(), twin.state())
  const arrived = deliver(fuzzed, coming)
  assert.deepEqual(arrived, deliver(twin, coming))
  // All but the keepalive.
  assert.equal(arrived.length, coming.length - 1)
  assert.deepEqual(fuzzed.state(), twin.state())
  return tally.result(count)
}

export const transportTargets: readonly FuzzTarget[] = planes.map((plane) => ({
  name: plane.name,
  run: (generator, count) => run(plane, generator, count),
}))

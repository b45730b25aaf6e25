/**
 * Mutated inner packets. From the TUN into the transmit worker's machine (dataplane/transmit.ts, segment.as.ts), with
 * offload headers that no system would write: what is sealed must be a datagram of the tunnel and within its MTU, and
 * nothing may be written where keys or the compiler's data are. And from a peer that has the keys and means ill, into both
 * receiving halves: they must let the same packets through, however the worker merged them (coalesce.as.ts).
 */

import assert from 'node:assert/strict'
import type { Generator } from '../../lab/model/generator.ts'
import { createPeerRow, dropsOfPeer, readDrops } from '../../src/guard/dataplane/shared-activity.ts'
import { alone, asRead, FakeSystem } from '../../src/guard/dataplane/testing/fake-system.ts'
import { encodeInner, fieldsOf } from '../../src/guard/dataplane/testing/inner-packets.ts'
import { segmentTwin } from '../../src/guard/dataplane/testing/segment-twin.ts'
import { slotsAt, Transmitter } from '../../src/guard/dataplane/transmit.ts'
import { decodeCounter, decodeReceiver, openTransport } from '../../src/guard/dataplane/transport.ts'
import { parsePrefix } from '../../src/guard/wireguard/allowed-ips.ts'
import { toHex } from '../../src/util/bytes.ts'
import { type FuzzResult, type FuzzTarget, join, mutate, pick, randomBytes, Tally } from './mutate.ts'
import { liveIndex, mtu, PlainHalf, peer, seal, sender, WorkerHalf } from './transport.ts'

const offloadHeader = 10
const overhead = 32
const largestMessage = 65_507
const segmentsPerMessage = 64
const remoteIndex = 0x0badcafe
const key = new Uint8Array(32).fill(9)
const limits = { rekeyAfterMessages: 2 ** 51, rejectAfterMessages: 2 ** 52 }
const there = { address: 0xc0000202, port: 2222 }

function packet(generator: Generator, largest: number): Uint8Array {
  return encodeInner({
    family: generator.below(2) === 0 ? 4 : 6,
    protocol: generator.below(2) === 0 ? 'tcp' : 'udp',
    payload: new Uint8Array(generator.below(largest)).fill(generator.below(256)),
    options: new Uint8Array(4 * generator.below(3)),
    sequence: generator.uint32(),
    flags: pick(generator, [0x10, 0x18, 0x11, 0x90, 0x02]),
  })
}

/** struct virtio_net_hdr: mostly near to what the system writes, sometimes anything. */
function offload(generator: Generator, bytes: Uint8Array): Uint8Array {
  const header = new Uint8Array(offloadHeader)
  const view = new DataView(header.buffer)
  const kind = generator.below(10)
  if (kind === 0) return randomBytes(generator, offloadHeader)
  if (kind < 4) return header
  const isIpv6 = (bytes[0] ?? 0) >> 4 === 6
  const isUdp = bytes[isIpv6 ? 6 : 9] === 17
  const odd = (value: number): number => (generator.below(20) === 0 ? generator.below(0x10000) : value)
  header[0] = 1
  header[1] = odd(kind < 6 ? 0 : isUdp ? 5 : isIpv6 ? 4 : 1)
  view.setUint16(2, generator.below(0x10000), true)
  view.setUint16(4, generator.below(50) === 0 ? generator.below(64) : odd(100 + generator.below(1400)), true)
  view.setUint16(6, odd(isIpv6 ? 40 : 20), true)
  view.setUint16(8, odd(isUdp ? 6 : 16), true)
  return header
}

function changed(generator: Generator, bytes: Uint8Array): Uint8Array {
  if (generator.below(3) === 0) return bytes
  return mutate({ generator, samples: [bytes], numbers: [bytes.length], fields: [0, 4, 12, 16, 24, 32, 40, 52] })
}

/** Everything of the packet memory that no packet may reach: the compiler's data, and keys and addresses. */
function guarded(system: FakeSystem): string {
  const { bytes } = system.memory
  return toHex(join(bytes.subarray(0, 0x10000), bytes.subarray(slotsAt, slotsAt + 0x1000)))
}

/** The transmit half with one peer, whose session is `remoteIndex`. */
class TunSide {
  readonly system: FakeSystem = new FakeSystem()
  readonly #row: Float64Array = createPeerRow()
  readonly #half: Transmitter
  #counter = 0

  constructor() {
    this.#half = new Transmitter(this.system.context(), alone())
    const allowedIps = ['10.64.1.1/32', 'fd70::1/128'].map((text) => parsePrefix(text) ?? assert.fail())
    this.#half.apply({ kind: 'add-peer', peer, allowedIps, row: this.#row })
    this.#half.apply({ kind: 'set-endpoint', peer, endpoint: there, revision: 1 })
    const shared = { sendKey: Uint8Array.from(key), counter: new Float64Array(1), receivedBelow: 0 }
    const keypair = { localIndex: 1, remoteIndex, created: this.system.now, ...shared, ...limits }
    this.#half.apply({ kind: 'install-keypair', peer, ...keypair })
    this.#half.apply({ kind: 'use-keypair', peer, localIndex: 1, confirm: false })
  }

  /** Reads it; how many datagrams that made. */
  read(bytes: Uint8Array): number {
    this.system.toRead.push(bytes)
    assert.equal(this.#half.turn(), 'idle')
    let count = 0
    for (const { to, datagrams, segmentSize } of this.system.sent.splice(0)) {
      assert.deepEqual(to, there)
      assert.ok(datagrams.length <= segmentsPerMessage)
      assert.ok(datagrams.reduce((sum, { length }) => sum + length, 0) <= largestMessage)
      for (const [at, datagram] of datagrams.entries()) {
        this.#check(datagram)
        if (segmentSize !== undefined && at < datagrams.length - 1) assert.equal(datagram.length, segmentSize)
        if (segmentSize !== undefined) assert.ok(datagram.length <= segmentSize)
        count++
      }
    }
    return count
  }

  drops(): Readonly<Record<string, number>> {
    return readDrops(this.system.drops, dropsOfPeer(this.#row, 'sent'))
  }

  /** One after the other, for this session, within the MTU. Some are opened. */
  #check(datagram: Uint8Array): void {
    assert.equal(decodeReceiver(datagram), remoteIndex)
    assert.equal(decodeCounter(datagram), this.#counter)
    assert.ok(datagram.length <= mtu + overhead, `${datagram.length} bytes are too long`)
    if (this.#counter % 16 === 0) {
      const padded = openTransport(datagram, key)
      assert.ok(padded !== undefined, 'the peer cannot open it')
      assert.ok(padded.length % 16 === 0 || padded.length === mtu)
    }
    this.#counter++
  }
}

function runTun(generator: Generator, count: number): FuzzResult {
  const side = new TunSide()
  const before = guarded(side.system)
  const tally = new Tally()
  for (let done = 0; done < count; done++) {
    const whole = packet(generator, generator.below(50) === 0 ? 60_000 : 3_000)
    const header = offload(generator, whole)
    const bytes = changed(generator, whole)
    const made = side.read(join(header, bytes).subarray(0, offloadHeader + 65_535))
    tally.count(made === 0 ? 'dropped' : made === 1 ? 'sealed' : 'segmented')
    if (done % 4096 === 0) assert.equal(guarded(side.system), before, toHex(bytes))
  }
  assert.equal(guarded(side.system), before)
  for (const [reason, dropped] of Object.entries(side.drops())) tally.count(reason, dropped)
  // And it still works.
  const last = encodeInner({ family: 4, protocol: 'tcp', payload: new Uint8Array(1000) })
  assert.equal(side.read(asRead(last)), 1)
  return tally.result(count)
}

/** Some packets of one flow, which the worker would merge, with something wrong here and there. */
function flow(generator: Generator): Uint8Array[] {
  const family = generator.below(2) === 0 ? 4 : 6
  const protocol = generator.below(3) === 0 ? 'udp' : 'tcp'
  const size = 1 + generator.below(400)
  const first = generator.uint32()
  return Array.from({ length: 1 + generator.below(12) }, (_, at) => {
    const payload = new Uint8Array(generator.below(6) === 0 ? generator.below(size) : size).fill(at)
    const sequence = (first + at * size) >>> 0
    const flags = pick(generator, [0x10, 0x10, 0x10, 0x10, 0x18, 0x11])
    const whole = encodeInner({ family, protocol, payload, sequence, flags, identification: at })
    return generator.below(5) === 0 ? changed(generator, whole) : whole
  }).filter(({ length }) => length > 0 && length <= mtu)
}

/** What merging may change and taking apart makes anew: checksums, IPv4's identification, TCP's PSH, and TCP's urgent pointer
 * where no flag says that there is one. */
function comparable(bytes: Uint8Array): string {
  const copy = Uint8Array.from(bytes)
  const isIpv4 = (copy[0] ?? 0) >> 4 === 4
  const { transport, field, isUdp } = fieldsOf(copy)
  if (isIpv4) {
    copy.fill(0, 4, 6)
    copy.fill(0, 10, 12)
  }
  copy.fill(0, field, field + 2)
  if (!isUdp) copy.fill(0, field + 2, field + 4)
  if (!isUdp) copy[transport + 13] = (copy[transport + 13] ?? 0) & ~8
  return toHex(copy)
}

/** The packets for which this one, as written to the TUN, stands. */
function takeApart(written: Uint8Array): readonly { readonly packet: Uint8Array; readonly isMerged: boolean }[] {
  const header = new DataView(written.buffer, written.byteOffset, offloadHeader)
  const bytes = written.subarray(offloadHeader)
  if (header.getUint8(1) === 0) return [{ packet: bytes, isMerged: false }]
  return segmentTwin(bytes, header.getUint16(4, true)).map((segment) => ({ packet: segment, isMerged: true }))
}

function runPeer(generator: Generator, count: number): FuzzResult {
  let plain = new PlainHalf()
  let worker = new WorkerHalf()
  const tally = new Tally()
  let counter = 0
  for (let done = 0; done < count; ) {
    const packets = flow(generator)
    if (packets.length === 0) continue
    const datagrams = packets.map((bytes) => seal(liveIndex, counter++, bytes))
    for (const datagram of datagrams) plain.receive(datagram, sender)
    // As the system would: datagrams of one size in one piece, of which the last may be shorter.
    for (let from = 0; from < datagrams.length; ) {
      const { length: size } = datagrams[from] ?? assert.fail()
      let end = from + 1
      while (end < datagrams.length && datagrams[end - 1]?.length === size && (datagrams[end]?.length ?? 0) <= size)
        end++
      worker.receive(join(...datagrams.slice(from, end)), sender, size)
      from = end
    }
    const written = worker.takePackets()
    const expected = plain.takePackets()
    const apart = written.flatMap(takeApart)
    for (const [at, bytes] of expected.entries()) {
      const { packet: got, isMerged } = apart[at] ?? assert.fail(`packet ${at} is missing`)
      const shown = isMerged ? comparable : toHex
      assert.equal(shown(got), shown(bytes), `packet ${at} of\n${packets.map(toHex).join('\n')}`)
    }
    assert.equal(apart.length, expected.length)
    tally.count(apart.some(({ isMerged }) => isMerged) ? 'flows merged' : 'flows not merged')
    done += packets.length
    if (counter < 100_000) continue
    finish(plain, worker, tally)
    plain = new PlainHalf()
    worker = new WorkerHalf()
    counter = 0
  }
  finish(plain, worker, tally)
  return tally.result(count)
}

/** Equal reasons, equal bytes. */
function finish(plain: PlainHalf, worker: WorkerHalf, tally: Tally): void {
  const drops = worker.drops()
  assert.deepEqual(drops, plain.drops())
  for (const [reason, dropped] of Object.entries(drops)) tally.count(reason, dropped)
  assert.equal(worker.receivedBytes(), plain.receivedBytes())
}

export const innerTargets: readonly FuzzTarget[] = [
  { name: 'transmit worker, packets from the TUN', run: runTun },
  { name: 'both planes, packets of a hostile peer', run: runPeer },
]

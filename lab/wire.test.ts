import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tun } from '../src/net/tun/tun.ts'
import { VirtualClock } from '../test/network/virtual-clock.ts'
import { cutIpPacket, Reassembly } from './model/ip-fragments.ts'
import { decodeIpPacket } from './model/ip-packet.ts'
import { formatIpv4, ipv4 } from './model/ipv4.ts'
import { siteKinds } from './model/kinds.ts'
import { Wire } from './wire.ts'

/** An interface in memory. */
class FakeTun implements Tun {
  readonly name = 'fake'
  readonly mtu = 1500
  readonly lost: Promise<string> = new Promise(() => {})
  readonly written: Uint8Array[] = []
  emit: (packet: Uint8Array) => void = () => {}

  write(packet: Uint8Array): void {
    this.written.push(packet.slice())
  }

  receive(receiver: (packet: Uint8Array) => void): void {
    this.emit = receiver
  }

  stats(): ReturnType<Tun['stats']> {
    return { received: 0, written: this.written.length, dropped: { full: 0, down: 0, refused: 0 } }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

const server = '198.51.100.1'
const lan = '192.168.1.10'
const outside = '203.0.113.10'

function datagram(from: string, to: string, ports: readonly [number, number]): Uint8Array {
  const bytes = new Uint8Array(32)
  const view = new DataView(bytes.buffer)
  bytes.set([0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17])
  view.setUint32(12, ipv4(from))
  view.setUint32(16, ipv4(to))
  view.setUint16(20, ports[0])
  view.setUint16(22, ports[1])
  view.setUint16(24, 12)
  return bytes
}

function build(delay: number, mtu?: number): { clock: VirtualClock; wire: Wire; inside: FakeTun; far: FakeTun } {
  const clock = new VirtualClock()
  const wire = new Wire(clock)
  const [inside, far] = [new FakeTun(), new FakeTun()]
  const kind = siteKinds['eim-apdf']
  if (kind.kind !== 'nat') return assert.fail()
  const site = wire.internet.addSite({
    ...kind,
    publicAddress: ipv4(outside),
    link: mtu === undefined ? { delay } : { delay, mtu },
  })
  wire.attach(inside, { addresses: [ipv4(lan)], site })
  wire.attach(far, { addresses: [ipv4(server)] })
  return { clock, wire, inside, far }
}

test('a packet goes through the NAT to the other interface and its answer comes back, each after its delay', async () => {
  const { clock, inside, far } = build(20)
  inside.emit(datagram(lan, server, [4000, 3478]))
  await clock.advance(19)
  assert.equal(far.written.length, 0)
  await clock.advance(1)
  const there = decodeIpPacket(far.written[0] ?? new Uint8Array()) ?? assert.fail()
  assert.deepEqual([formatIpv4(there.flow.source), there.flow.sourcePort], [outside, 4000])
  far.emit(datagram(server, outside, [3478, 4000]))
  await clock.advance(20)
  const back = decodeIpPacket(inside.written[0] ?? new Uint8Array()) ?? assert.fail()
  assert.deepEqual([formatIpv4(back.flow.destination), back.flow.destinationPort], [lan, 4000])
})

test('the sender may reuse its bytes while the packet is under way', async () => {
  const { clock, inside, far } = build(20)
  const bytes = datagram(lan, server, [4000, 3478])
  inside.emit(bytes)
  bytes.fill(0xff)
  await clock.advance(20)
  assert.ok(decodeIpPacket(far.written[0] ?? new Uint8Array()))
})

test('traffic is counted by host, and what is no IPv4 datagram is only counted', () => {
  const { wire, inside, far } = build(0)
  inside.emit(datagram(lan, server, [4000, 3478]))
  inside.emit(new Uint8Array(40).fill(0x60))
  assert.equal(far.written.length, 1)
  assert.equal(wire.stats().unreadable, 1)
})

/** A datagram of so many bytes. */
function longDatagram(length: number, flags: number): Uint8Array {
  const bytes = new Uint8Array(length)
  bytes.set(datagram(lan, server, [4000, 3478]))
  const view = new DataView(bytes.buffer)
  view.setUint16(2, length)
  view.setUint16(6, flags)
  view.setUint16(24, length - 20)
  return bytes
}

test('a narrow line cuts what may be cut, and swallows what may not', () => {
  const { wire, inside, far } = build(0, 1280)
  inside.emit(longDatagram(1452, 0x4000))
  assert.equal(far.written.length, 0)
  assert.equal(wire.stats().dropped['too-large'], 1)
  inside.emit(longDatagram(1452, 0))
  assert.deepEqual(
    far.written.map(({ length }) => length),
    [1276, 196],
  )
  const reassembly = new Reassembly()
  const [first, second] = far.written.map((piece) => reassembly.add(piece, 0))
  assert.equal(first, undefined)
  const { flow } = decodeIpPacket(second?.bytes ?? new Uint8Array()) ?? assert.fail()
  assert.deepEqual([formatIpv4(flow.source), flow.sourcePort], [outside, 4000])
})

test('what the sender has cut itself goes through the NAT like anything else, and arrives in pieces', () => {
  const { inside, far } = build(0)
  for (const piece of cutIpPacket(longDatagram(3000, 0), 1500)) inside.emit(piece)
  assert.deepEqual(
    far.written.map(({ length }) => length),
    [1500, 1500, 40],
  )
})

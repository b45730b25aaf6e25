import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPacketMemory, HEADROOM } from './packet-memory.ts'
import {
  ACK,
  checksum,
  encodeInner,
  fieldsOf,
  type InnerPacket,
  PSH,
  pseudoHeaderSum,
} from './testing/inner-packets.ts'
import { segmentTwin } from './testing/segment-twin.ts'

const memory = createPacketMemory()
const { kernels, layout } = memory

/** What is written to the TUN: an offload header and a packet, gathered from the iovecs. */
interface Written {
  readonly header: DataView
  readonly packet: Uint8Array
}

/** Puts the packets through as the receive worker does: all groups wait, and are written at the end. */
function coalesce(packets: readonly Uint8Array[]): readonly Written[] {
  const counts: number[] = []
  let at = layout.free + HEADROOM
  for (const packet of packets) {
    memory.bytes.set(packet, at)
    if (kernels.joinGroup(at, packet.length) === 0) {
      counts.push(kernels.finishGroup())
      kernels.startGroup()
    }
    at += (packet.length + 127) & ~63
  }
  counts.push(kernels.finishGroup())
  let vector = layout.vectors
  const written = counts
    .filter((count) => count > 0)
    .map((count) => {
      const bytes = gather(vector, count)
      vector += 16 * count
      return { header: new DataView(bytes.buffer, 0, 10), packet: bytes.subarray(10) }
    })
  kernels.forgetGroups()
  return written
}

function gather(vectors: number, count: number): Uint8Array {
  const parts: number[] = []
  for (let at = vectors; at < vectors + 16 * count; at += 16) {
    const from = memory.view.getUint32(at, true)
    parts.push(...memory.bytes.subarray(from, from + memory.view.getUint32(at + 8, true)))
  }
  return Uint8Array.from(parts)
}

/** The packets that the system makes of it: the way back through the twin of the other direction. */
function takenApart(all: readonly Written[]): readonly Uint8Array[] {
  return all.flatMap(({ header, packet }) =>
    header.getUint8(1) === 0 ? [packet] : segmentTwin(packet, header.getUint16(4, true)),
  )
}

function flow(inner: Omit<InnerPacket, 'payload'>, sizes: readonly number[]): Uint8Array[] {
  let sequence = inner.sequence ?? 0
  return sizes.map((size, index) => {
    const payload = Uint8Array.from({ length: size }, (_, at) => at * 7 + index)
    const packet = encodeInner({ ...inner, payload, sequence: sequence >>> 0, identification: 100 + index })
    sequence += size
    return packet
  })
}

const families: readonly (4 | 6)[] = [4, 6]
const protocols: readonly ('tcp' | 'udp')[] = ['tcp', 'udp']

for (const family of families)
  for (const protocol of protocols)
    test(`packets of one ${protocol} flow of IPv${family} become one, which comes apart into the same packets`, () => {
      const packets = flow({ family, protocol, sequence: 0xffffff00, options: new Uint8Array(12).fill(1) }, [
        ...new Array(20).fill(1000),
        333,
      ])
      const written = coalesce(packets)
      assert.equal(written.length, 1)
      assert.deepEqual(takenApart(written), packets)
      const { header, packet } = written[0]!
      const { field, transport, payload } = fieldsOf(packet)
      const kind = protocol === 'udp' ? 5 : family === 4 ? 1 : 4
      assert.deepEqual([header.getUint8(0), header.getUint8(1)], [1, kind])
      assert.deepEqual(
        [2, 4, 6, 8].map((at) => header.getUint16(at, true)),
        [payload, 1000, transport, field - transport],
      )
      assert.equal(new DataView(packet.buffer, packet.byteOffset).getUint16(field), pseudoHeaderSum(packet))
      if (family === 4) assert.equal(checksum(packet.subarray(0, 20)), 0)
    })

test('PSH and a shorter packet end a group', () => {
  const inner = { family: 4, protocol: 'tcp' } as const
  const packets = flow(inner, [500, 500, 500, 200, 500])
  const pushed = encodeInner({
    ...inner,
    payload: new Uint8Array(500).fill(3),
    sequence: 500,
    identification: 101,
    flags: ACK | PSH,
  })
  const written = coalesce(packets.with(1, pushed))
  assert.deepEqual(
    written.map(({ packet }) => packet.length - 40),
    [1000, 700, 500],
  )
  assert.deepEqual(takenApart(written).slice(0, 2), [packets[0], pushed])
})

test('packets that differ in anything but what a group may hide stay apart', () => {
  const first: InnerPacket = { family: 4, protocol: 'tcp', payload: new Uint8Array(100), sequence: 1 }
  const second: InnerPacket = { ...first, sequence: 101 }
  const groups = (other: InnerPacket): number => coalesce([encodeInner(first), encodeInner(other)]).length
  assert.equal(groups(second), 1)
  assert.equal(groups({ ...second, sequence: 102 }), 2)
  assert.equal(groups({ ...second, sourcePort: 9 }), 2)
  assert.equal(groups({ ...second, trafficClass: 3 }), 2)
  assert.equal(groups({ ...second, acknowledgement: 78 }), 2)
  assert.equal(groups({ ...second, options: new Uint8Array(4).fill(1) }), 2)
  assert.equal(groups({ ...second, flags: 0x50 }), 2)
  assert.equal(groups({ ...second, payload: new Uint8Array(101) }), 2)
  assert.equal(groups({ ...second, family: 6 }), 2)
  assert.equal(groups({ ...second, protocol: 'udp' }), 2)
})

test('no group is longer than an IP packet may be', () => {
  const packets = flow({ family: 4, protocol: 'tcp' }, new Array(60).fill(1400))
  const written = coalesce(packets)
  assert.deepEqual(
    written.map(({ packet }) => packet.length),
    [46 * 1400 + 40, 14 * 1400 + 40],
  )
  assert.deepEqual(takenApart(written), packets)
})

test('what is not allowed is not merged: UDP alone, or anything', () => {
  const tcp = flow({ family: 4, protocol: 'tcp' }, [100, 100])
  const udp = flow({ family: 6, protocol: 'udp' }, [100, 100])
  const counts = (any: boolean, udpToo: boolean): readonly number[] => {
    kernels.allowCoalescing(any, udpToo)
    return [coalesce(tcp).length, coalesce(udp).length]
  }
  assert.deepEqual(counts(true, false), [1, 2])
  assert.deepEqual(counts(false, true), [2, 2])
  assert.deepEqual(counts(true, true), [1, 1])
})

test('any mixture of flows comes apart into the same packets in the same order', () => {
  const packet = fc.record({
    family: fc.constantFrom(...families),
    protocol: fc.constantFrom(...protocols),
    sizes: fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 6 }),
    flags: fc.constantFrom(ACK, ACK | PSH, ACK | 1),
  })
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 5 }), (flows) => {
      const packets = flows.flatMap(({ sizes, ...inner }, sourcePort) => flow({ ...inner, sourcePort }, sizes))
      assert.deepEqual(takenApart(coalesce(packets)), packets)
    }),
    { seed: 6, numRuns: 150 },
  )
})

test('noise passes as it is', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 20, maxLength: 90 }), { maxLength: 6 }), (packets) => {
      const written = coalesce(packets.map((bytes) => Uint8Array.of(0x45, ...bytes)))
      assert.equal(written.length, packets.length)
      assert.deepEqual(
        written.map((one) => one.packet.subarray(1)),
        packets,
      )
    }),
    { seed: 7, numRuns: 200 },
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPacketMemory, HEADROOM, type PacketMemory } from './packet-memory.ts'
import {
  ACK,
  CWR,
  encodeInner,
  FIN,
  fieldsOf,
  type InnerPacket,
  PSH,
  pseudoHeaderSum,
} from './testing/inner-packets.ts'
import { segmentTwin } from './testing/segment-twin.ts'

const memory = createPacketMemory()
const { kernels } = memory
const at = memory.layout.free + HEADROOM
const mtu = 1420

/** The packet as the system hands it over: checksum left to us, and an offload header before it. */
function offer(packet: Uint8Array, segmentSize: number | undefined, { bytes, view }: PacketMemory = memory): void {
  const { transport, field, isUdp, payload } = fieldsOf(packet)
  const isIpv6 = (packet[0] ?? 0) >> 4 === 6
  bytes.set(packet, at)
  view.setUint16(at + field, pseudoHeaderSum(packet))
  bytes.fill(0, at - 10, at)
  view.setUint8(at - 10, 1)
  view.setUint16(at - 8, payload + 7, true)
  view.setUint16(at - 4, transport, true)
  view.setUint16(at - 2, field - transport, true)
  if (segmentSize === undefined) return
  view.setUint8(at - 9, isUdp ? 5 : (isIpv6 ? 4 : 1) | 0x80)
  view.setUint16(at - 6, segmentSize, true)
}

/** Takes the packets in order, each overwritten after it was taken, as encryption in place would. */
function take(count: number): { readonly packets: Uint8Array[]; readonly padded: number[] } {
  const packets: Uint8Array[] = []
  const padded: number[] = []
  for (let index = 0; index < count; index++) {
    const length = kernels.writeSegment(index)
    const from = kernels.segmentAddress(index)
    const packet = memory.bytes.slice(from, from + length)
    const own = kernels.segmentLength(index)
    assert.ok(packet.subarray(own).every((byte) => byte === 0))
    packets.push(packet.subarray(0, own))
    padded.push(length)
    memory.bytes.fill(0, from - HEADROOM, from)
  }
  return { packets, padded }
}

function payloadOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index * 31 + (index >> 8))
}

const families: readonly (4 | 6)[] = [4, 6]
const protocols: readonly ('tcp' | 'udp')[] = ['tcp', 'udp']

for (const family of families)
  for (const protocol of protocols)
    test(`a large ${protocol} packet of IPv${family} is cut into what the twin cuts it into`, () => {
      const inner: InnerPacket = {
        family,
        protocol,
        payload: payloadOf(10_001),
        sequence: 0xfffffff0,
        flags: ACK | PSH | FIN | CWR,
        identification: 65_534,
        options: payloadOf(12),
      }
      const packet = encodeInner(inner)
      for (const size of [1000, 1337, 1340]) {
        offer(packet, size)
        const count = kernels.planSegments(at, packet.length, mtu)
        const expected = segmentTwin(packet, size)
        assert.equal(count, expected.length)
        assert.deepEqual(take(count).packets, expected)
      }
    })

test('any payload and segment size gives the packets of the twin', () => {
  fc.assert(
    fc.property(
      fc.record({
        family: fc.constantFrom(...families),
        protocol: fc.constantFrom(...protocols),
        payload: fc.integer({ min: 1, max: 3000 }).map(payloadOf),
        flags: fc.integer({ min: 0, max: 255 }),
        sequence: fc.nat(0xffffffff),
      }),
      fc.integer({ min: 1, max: 1300 }),
      (inner, size) => {
        const packet = encodeInner(inner)
        offer(packet, size)
        const count = kernels.planSegments(at, packet.length, mtu)
        assert.deepEqual(take(count).packets, segmentTwin(packet, size))
      },
    ),
    { seed: 4, numRuns: 60 },
  )
})

test('one packet gets its checksum, and padding to a multiple of 16 but not past the MTU', () => {
  for (const [payload, padded] of [
    [1, 48],
    [1380, 1420],
    [1372, 1420],
    [1367, 1408],
  ] as const) {
    const packet = encodeInner({ family: 4, protocol: 'tcp', payload: payloadOf(payload) })
    offer(packet, undefined)
    assert.equal(kernels.planSegments(at, packet.length, mtu), 1)
    const taken = take(1)
    assert.deepEqual(taken.packets, [packet])
    assert.deepEqual(taken.padded, [padded])
  }
})

test('a UDP checksum that comes out as zero is sent as all ones, in one packet and in segments', () => {
  for (let last = 0; last < 65_536; last += 257) {
    const payload = Uint8Array.of(last >> 8, last & 255)
    const packet = encodeInner({ family: 4, protocol: 'udp', payload })
    offer(packet, undefined)
    kernels.planSegments(at, packet.length, mtu)
    assert.deepEqual(take(1).packets, [packet])
  }
})

test('what no packet can be made of is refused: kinds, lengths, sizes', () => {
  const packet = encodeInner({ family: 4, protocol: 'tcp', payload: payloadOf(3000) })
  const refused = (change: (view: DataView) => void, length = packet.length): number => {
    offer(packet, 1000)
    change(memory.view)
    return kernels.planSegments(at, length, mtu)
  }
  assert.equal(
    refused(() => {}),
    3,
  )
  assert.equal(
    refused((view) => view.setUint8(at - 9, 3)),
    -1,
  )
  assert.equal(
    refused((view) => view.setUint8(at - 9, 4)),
    -1,
  )
  assert.equal(
    refused((view) => view.setUint16(at - 6, 0, true)),
    -1,
  )
  assert.equal(
    refused((view) => view.setUint16(at - 4, 65_000, true)),
    -1,
  )
  assert.equal(
    refused((view) => view.setUint8(at + 32, 0)),
    -1,
  )
  assert.equal(
    refused(() => {}, 19),
    -1,
  )
  assert.equal(
    refused(() => {}, 40),
    -1,
  )
  assert.equal(
    refused((view) => view.setUint16(at - 6, 1400, true)),
    -2,
  )
})

test('random offload headers and packets never reach outside their memory', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 30, maxLength: 300 }), fc.integer({ min: 0, max: 5 }), (noise, kind) => {
      memory.bytes.fill(0xee, at - 200, at + 70_000)
      memory.bytes.set(noise, at - 10)
      memory.view.setUint8(at - 9, kind)
      const length = noise.length - 10
      const count = kernels.planSegments(at, length, mtu)
      for (let index = 0; index < count; index++) kernels.writeSegment(index)
      assert.ok(memory.bytes.subarray(at - 200, at - 10).every((byte) => byte === 0xee))
      assert.ok(memory.bytes.subarray(at + length + 16, at + 70_000).every((byte) => byte === 0xee))
    }),
    { seed: 5, numRuns: 200 },
  )
})

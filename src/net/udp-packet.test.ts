import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeUdpPacket, encodeUdpPacket, udpPacketOverhead } from './udp-packet.ts'

const address = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((parts) => parts.join('.'))
const endpoint = fc.record({ address, port: fc.nat(65_535) }, { noNullPrototype: true })
const packet = fc.record(
  { from: endpoint, to: endpoint, payload: fc.uint8Array({ maxLength: 300 }) },
  { noNullPrototype: true },
)

function encoded(value: Parameters<typeof encodeUdpPacket>[0]): Uint8Array {
  const target = new Uint8Array(400).fill(0xaa)
  return target.slice(0, encodeUdpPacket(value, target))
}

/** RFC 1071 over the pseudo header and the datagram, bit by bit as the RFC has it: 0xffff when it is right. */
function checkedSum(bytes: Uint8Array): number {
  const datagram = bytes.subarray(20)
  const pseudo = [...bytes.subarray(12, 20), 0, 17, datagram.length >> 8, datagram.length & 0xff]
  const all = Buffer.from([...pseudo, ...datagram, ...(datagram.length % 2 === 0 ? [] : [0])])
  let sum = 0
  for (let at = 0; at < all.length; at += 2) {
    sum += all.readUInt16BE(at)
    if (sum > 0xffff) sum -= 0xffff
  }
  return sum
}

test('a packet reads as it was written, whatever was in the memory before, and its checksum is right', () => {
  fc.assert(
    fc.property(packet, (value) => {
      const bytes = encoded(value)
      assert.equal(bytes.length, udpPacketOverhead + value.payload.length)
      assert.deepEqual(decodeUdpPacket(bytes), value)
      assert.equal(checkedSum(bytes), 0xffff)
      assert.ok(bytes[26] !== 0 || bytes[27] !== 0)
    }),
    { seed: 1 },
  )
})

test('a packet that no router may cut differs in the flag that says so', () => {
  const value = {
    from: { address: '192.0.2.1', port: 7 },
    to: { address: '192.0.2.2', port: 9 },
    payload: Uint8Array.of(1, 2, 3),
  }
  const target = new Uint8Array(40)
  const whole = target.slice(0, encodeUdpPacket(value, target, { whole: true }))
  assert.deepEqual([encoded(value)[6], whole[6]], [0, 0x40])
  assert.deepEqual(whole.with(6, 0), encoded(value))
})

test('options of the IP header are passed over, and what follows the datagram is no part of it', () => {
  const plain = encoded({
    from: { address: '192.0.2.1', port: 7 },
    to: { address: '192.0.2.2', port: 9 },
    payload: Uint8Array.of(1, 2, 3),
  })
  const options = Uint8Array.of(0x94, 4, 0, 0)
  const longer = Uint8Array.of(...plain.subarray(0, 20), ...options, ...plain.subarray(20), 0xee, 0xee)
  longer[0] = 0x46
  assert.deepEqual(decodeUdpPacket(longer), decodeUdpPacket(plain))
})

test('what is no whole UDP datagram over IPv4 is none', () => {
  const good = encoded({
    from: { address: '192.0.2.1', port: 7 },
    to: { address: '192.0.2.2', port: 9 },
    payload: Uint8Array.of(1, 2, 3),
  })
  const changes: readonly (readonly [at: number, value: number])[] = [
    [0, 0x65],
    [0, 0x44],
    [0, 0x4f],
    [6, 0x20],
    [7, 0x01],
    [9, 6],
    [25, 7],
    [25, 12],
    [24, 1],
  ]
  for (const [at, value] of changes) {
    assert.equal(decodeUdpPacket(good.with(at, value)), undefined, `byte ${at} = ${value}`)
  }
  for (let length = 0; length < good.length; length++) {
    assert.equal(decodeUdpPacket(good.subarray(0, length)), undefined, `${length} bytes`)
  }
})

test('no bytes make the decoder throw, or give more than there is', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.boolean(), (bytes, likely) => {
      const read = decodeUdpPacket(likely && bytes.length > 9 ? bytes.with(0, 0x45).with(9, 17) : bytes)
      assert.ok(read === undefined || read.payload.length <= bytes.length - udpPacketOverhead)
    }),
    { seed: 2, numRuns: 2000 },
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { cutIpPacket, isFragment, mustStayWhole, Reassembly } from './ip-fragments.ts'

function packetOf(length: number, id = 7, flags = 0): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, at) => at * 7 + id)
  const view = new DataView(bytes.buffer)
  bytes.set([0x45, 0])
  view.setUint16(2, length)
  view.setUint16(4, id)
  view.setUint16(6, flags)
  bytes.set([64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1], 8)
  let sum = 0
  for (let at = 0; at < 20; at += 2) sum += view.getUint16(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(10, 0xffff - sum)
  return bytes
}

test('a packet is cut into pieces that fit, at multiples of 8, each with the right header', () => {
  const pieces = cutIpPacket(packetOf(1480), 1280)
  assert.deepEqual(
    pieces.map((piece) => piece.length),
    [1276, 224],
  )
  for (const [at, piece] of pieces.entries()) {
    const view = new DataView(piece.buffer)
    assert.equal(view.getUint16(2), piece.length)
    assert.equal(view.getUint16(6), at === 0 ? 0x2000 : 157)
    let sum = 0
    for (let word = 0; word < 20; word += 2) sum += view.getUint16(word)
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
    assert.equal(sum, 0xffff)
    assert.ok(isFragment(piece))
  }
  assert.deepEqual(cutIpPacket(packetOf(1280), 1280).length, 1)
})

test('pieces in any order, some of them twice and cut again, make the packet again', () => {
  const many = fc.record({
    length: fc.integer({ min: 29, max: 4000 }),
    mtu: fc.integer({ min: 68, max: 1500 }),
    order: fc.infiniteStream(fc.nat()),
  })
  fc.assert(
    fc.property(many, ({ length, mtu, order }) => {
      const packet = packetOf(length)
      const reassembly = new Reassembly()
      const pieces = cutIpPacket(packet, mtu)
      if (pieces.length === 1) return
      const shuffled = [...pieces].sort(() => ((order.next().value ?? 0) % 2 === 0 ? -1 : 1))
      const last = shuffled.pop()
      assert.ok(last)
      for (const piece of [...shuffled, ...shuffled.slice(0, 2)]) assert.equal(reassembly.add(piece, 0), undefined)
      assert.deepEqual(reassembly.add(last, 0), { bytes: packet, largestPiece: pieces[0]?.length })
    }),
    { numRuns: 200, seed: 791 },
  )
})

test('packets with other identifiers, senders or protocols are kept apart', () => {
  const reassembly = new Reassembly()
  const [first = new Uint8Array()] = cutIpPacket(packetOf(1000, 1), 600)
  const [, second = new Uint8Array()] = cutIpPacket(packetOf(1000, 2), 600)
  assert.equal(reassembly.add(first, 0), undefined)
  assert.equal(reassembly.add(second, 0), undefined)
  const [, last = new Uint8Array()] = cutIpPacket(packetOf(1000, 1), 600)
  for (const at of [9, 12, 16]) {
    const foreign = last.slice()
    foreign[at] = 1
    assert.equal(reassembly.add(foreign, 0), undefined)
  }
  assert.deepEqual(reassembly.add(last, 0)?.bytes, packetOf(1000, 1))
})

test('pieces that wait for more than 15 s are forgotten, and so are the oldest of too many', () => {
  const reassembly = new Reassembly()
  const [first = new Uint8Array(), second = new Uint8Array()] = cutIpPacket(packetOf(1000, 1), 600)
  reassembly.add(first, 0)
  assert.equal(reassembly.add(second, 15_000), undefined)
  reassembly.add(first, 20_000)
  for (let id = 1000; id < 2024; id++) {
    const [other = new Uint8Array()] = cutIpPacket(packetOf(1000, id), 600)
    reassembly.add(other, 20_000)
  }
  assert.equal(reassembly.add(second, 20_000), undefined)
})

test('damaged fragments do no harm', () => {
  const reassembly = new Reassembly()
  const pieces = cutIpPacket(packetOf(3000), 600)
  fc.assert(
    fc.property(fc.nat(pieces.length - 1), fc.nat(30), fc.nat(255), fc.nat(600), (which, at, value, length) => {
      const piece = (pieces[which] ?? new Uint8Array()).slice(0, length)
      if (at < piece.length) piece[at] = value
      if (isFragment(piece)) reassembly.add(piece, 0)
    }),
    { numRuns: 500, seed: 791 },
  )
})

test('DF is read, and a whole packet is no fragment', () => {
  assert.equal(mustStayWhole(packetOf(100, 1, 0x4000)), true)
  assert.equal(mustStayWhole(packetOf(100)), false)
  assert.equal(isFragment(packetOf(100, 1, 0x4000)), false)
})

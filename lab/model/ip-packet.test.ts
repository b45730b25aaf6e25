import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeIpPacket, type IpPacket, rewriteIpPacket } from './ip-packet.ts'
import type { Protocol } from './ipv4.ts'

const numbers: Readonly<Record<Protocol, number>> = { udp: 17, tcp: 6, icmp: 1 }
const checksumAt: Readonly<Record<Protocol, number>> = { udp: 6, tcp: 16, icmp: 2 }

/** The ones' complement sum of 16-bit words, the long way. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return sum
}

function pseudoHeader(bytes: Uint8Array, transport: Uint8Array): Uint8Array {
  const length = transport.length
  return Uint8Array.of(...bytes.subarray(12, 20), 0, bytes[9] ?? 0, length >> 8, length & 255)
}

/** True when every checksum of the packet is right, computed from scratch. */
function isWhole(bytes: Uint8Array): boolean {
  const header = ((bytes[0] ?? 0) & 15) * 4
  const transport = bytes.subarray(header)
  const icmp = bytes[9] === 1
  const covered = icmp ? transport : Uint8Array.of(...pseudoHeader(bytes, transport), ...transport)
  return sumOf(bytes.subarray(0, header)) === 0xffff && sumOf(covered) === 0xffff
}

interface Parts {
  readonly protocol: Protocol
  readonly addresses: readonly [number, number]
  readonly ports: readonly [number, number]
  readonly ttl: number
  readonly options: number
  readonly payload: Uint8Array
}

function build({ protocol, addresses, ports, ttl, options, payload }: Parts): Uint8Array {
  const header = 20 + options * 4
  const transport = protocol === 'tcp' ? 20 : 8
  const bytes = new Uint8Array(header + transport + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, 0x40 | (header / 4))
  view.setUint16(2, bytes.length)
  view.setUint16(6, 0x4000)
  view.setUint8(8, ttl)
  view.setUint8(9, numbers[protocol])
  view.setUint32(12, addresses[0])
  view.setUint32(16, addresses[1])
  if (protocol === 'icmp') {
    view.setUint8(header, 8)
    view.setUint16(header + 4, ports[0])
  } else {
    view.setUint16(header, ports[0])
    view.setUint16(header + 2, ports[1])
  }
  if (protocol === 'udp') view.setUint16(header + 4, 8 + payload.length)
  bytes.set(payload, header + transport)
  view.setUint16(10, 0xffff - sumOf(bytes.subarray(0, header)))
  const body = bytes.subarray(header)
  const covered = protocol === 'icmp' ? body : Uint8Array.of(...pseudoHeader(bytes, body), ...body)
  const checksum = 0xffff - sumOf(covered)
  view.setUint16(header + checksumAt[protocol], protocol === 'udp' && checksum === 0 ? 0xffff : checksum)
  return bytes
}

const address = fc.integer({ min: 0, max: 0xffff_ffff })
const port = fc.integer({ min: 1, max: 65_535 })
const parts = fc.record({
  protocol: fc.constantFrom<Protocol>('udp', 'tcp', 'icmp'),
  addresses: fc.tuple(address, address),
  ports: fc.tuple(port, port),
  ttl: fc.integer({ min: 1, max: 255 }),
  options: fc.nat(10),
  payload: fc.uint8Array({ maxLength: 60 }),
})

function decoded(bytes: Uint8Array): IpPacket {
  return decodeIpPacket(bytes) ?? assert.fail('not decoded')
}

test('a packet decodes to what it was built from', () => {
  fc.assert(
    fc.property(parts, (from) => {
      const bytes = build(from)
      assert.ok(isWhole(bytes))
      const [source, destination] = from.addresses
      const [sourcePort, destinationPort] = from.protocol === 'icmp' ? [from.ports[0], 0] : from.ports
      const flow = { protocol: from.protocol, source, sourcePort, destination, destinationPort }
      assert.deepEqual(decodeIpPacket(bytes), { flow, ttl: from.ttl })
    }),
  )
})

test('a rewritten packet says what was asked for and every checksum is right', () => {
  fc.assert(
    fc.property(parts, parts, (from, other) => {
      const to: Parts = { ...from, addresses: other.addresses, ports: other.ports, ttl: other.ttl }
      const bytes = build(from)
      const wanted = decoded(build(to))
      rewriteIpPacket(bytes, decoded(bytes), wanted)
      assert.ok(isWhole(bytes))
      assert.deepEqual(decoded(bytes), wanted)
    }),
    { numRuns: 500 },
  )
})

test('an echo reply is rewritten on the side that asked', () => {
  const addresses = [1, 2] as const
  const bytes = build({ protocol: 'icmp', addresses, ports: [77, 0], ttl: 9, options: 0, payload: new Uint8Array(4) })
  bytes[20] = 0
  new DataView(bytes.buffer).setUint16(22, 0xffff - sumOf(Uint8Array.of(0, 0, 0, 0, ...bytes.subarray(24))))
  const reply = decoded(bytes)
  assert.deepEqual([reply.flow.sourcePort, reply.flow.destinationPort], [0, 77])
  rewriteIpPacket(bytes, reply, { ttl: 8, flow: { ...reply.flow, destination: 5, destinationPort: 99 } })
  assert.ok(isWhole(bytes))
  assert.equal(decoded(bytes).flow.destinationPort, 99)
})

test('UDP without a checksum stays without', () => {
  const bytes = build({
    protocol: 'udp',
    addresses: [1, 2],
    ports: [3, 4],
    ttl: 9,
    options: 0,
    payload: new Uint8Array(3),
  })
  bytes.fill(0, 26, 28)
  const packet = decoded(bytes)
  rewriteIpPacket(bytes, packet, { ttl: 8, flow: { ...packet.flow, source: 0xdead_beef, sourcePort: 1 } })
  assert.deepEqual([...bytes.subarray(26, 28)], [0, 0])
  assert.equal(sumOf(bytes.subarray(0, 20)), 0xffff)
})

test('fragments, other protocols, other versions and wrong lengths are not decoded', () => {
  const good = build({
    protocol: 'udp',
    addresses: [1, 2],
    ports: [3, 4],
    ttl: 9,
    options: 0,
    payload: new Uint8Array(8),
  })
  const changed = (at: number, value: number): Uint8Array => {
    const bytes = good.slice()
    bytes[at] = value
    return bytes
  }
  const bad = [
    changed(0, 0x65),
    changed(0, 0x44),
    changed(0, 0x4f),
    changed(3, 99),
    changed(6, 0x20),
    changed(7, 1),
    changed(9, 47),
    good.subarray(0, 30),
    new Uint8Array(0),
  ]
  for (const bytes of bad) assert.equal(decodeIpPacket(bytes), undefined)
  const unreachable = build({
    protocol: 'icmp',
    addresses: [1, 2],
    ports: [3, 0],
    ttl: 9,
    options: 0,
    payload: new Uint8Array(8),
  })
  unreachable[20] = 3
  assert.equal(decodeIpPacket(unreachable), undefined)
})

test('no bytes make the decoder throw', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void decodeIpPacket(bytes)))
  fc.assert(
    fc.property(parts, fc.nat(), fc.nat(255), (from, at, value) => {
      const bytes = build(from)
      bytes[at % bytes.length] = value
      decodeIpPacket(bytes)
    }),
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeCounter, decodeReceiver, openTransport, sealTransport } from './transport.ts'

const key = new Uint8Array(32).fill(7)

function sealed(packet: Uint8Array, counter: number, mtu = 1420): Uint8Array {
  const target = new Uint8Array(2_000)
  return target.slice(0, sealTransport(target, packet, { key, remoteIndex: 0xfedcba98, counter, mtu }))
}

test('what is sealed opens, with zeros to a multiple of 16 behind it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1_420 }), fc.maxSafeNat(), (packet, counter) => {
      const datagram = sealed(packet, counter)
      assert.equal(decodeReceiver(datagram), 0xfedcba98)
      assert.equal(decodeCounter(datagram), counter)
      const opened = openTransport(datagram, key) ?? assert.fail('not opened')
      assert.equal(opened.length, Math.min(1_420, Math.ceil(packet.length / 16) * 16))
      assert.deepEqual(new Uint8Array(opened.subarray(0, packet.length)), packet)
      assert.ok(opened.subarray(packet.length).every((byte) => byte === 0))
    }),
    { numRuns: 50 },
  )
})

test('a byte that differs anywhere but in the unused type bytes, or another key, does not open', () => {
  const datagram = sealed(new Uint8Array(40), 5)
  for (let at = 8; at < datagram.length; at++) {
    const changed = Uint8Array.from(datagram)
    changed[at] = (changed[at] ?? 0) ^ 0x40
    assert.equal(openTransport(changed, key), undefined, `byte ${at}`)
  }
  assert.equal(openTransport(datagram, new Uint8Array(32)), undefined)
})

test('a counter of 2^53 or more, and a datagram that is too short or of another type, are none', () => {
  const datagram = sealed(new Uint8Array(0), 2 ** 53 - 1)
  assert.equal(datagram.length, 32)
  assert.equal(decodeCounter(datagram), 2 ** 53 - 1)
  datagram[14] = 0x20
  assert.equal(decodeCounter(datagram), undefined)
  assert.equal(decodeReceiver(datagram.subarray(0, 31)), undefined)
  for (const at of [0, 1, 2, 3]) {
    const other = Uint8Array.from(datagram)
    other[at] = 9
    assert.equal(decodeReceiver(other), undefined)
  }
})

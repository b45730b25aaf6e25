import assert from 'node:assert/strict'
import { createCipheriv } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { ReplayWindow } from '../wireguard/replay-window.ts'
import { createPacketMemory, HEADROOM } from './packet-memory.ts'
import { checksum } from './testing/inner-packets.ts'

const memory = createPacketMemory()
const { kernels, layout } = memory

test('the sum of words is that of RFC 1071 for any length and place', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(15), (bytes, shift) => {
      const at = layout.free + shift
      memory.bytes.set(bytes, at)
      const native = kernels.checksumOf(kernels.sumWords(at, bytes.length)) & 0xffff
      assert.equal(((native & 255) << 8) | (native >> 8), checksum(bytes))
    }),
    { seed: 1, numRuns: 200 },
  )
})

test('the replay window lets through exactly what its twin lets through', () => {
  const window = layout.free
  const datagram = layout.free + 4096
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.nat(40), fc.integer({ min: 8000, max: 8400 }), fc.nat(100_000), fc.maxSafeNat()), {
        maxLength: 60,
      }),
      (counters) => {
        memory.bytes.fill(0, window, window + 2048)
        const twin = new ReplayWindow()
        for (const counter of counters) {
          memory.view.setBigUint64(datagram + 8, BigInt(counter), true)
          const isAllowed = twin.allows(counter)
          assert.equal(kernels.beginOpen(datagram, window), isAllowed ? 0 : 2)
          if (!isAllowed) continue
          twin.mark(counter)
          kernels.acceptMessage(window)
        }
      },
    ),
    { seed: 2, numRuns: 200 },
  )
  memory.view.setBigUint64(datagram + 8, 2n ** 53n, true)
  assert.equal(kernels.beginOpen(datagram, window), 1)
})

test('the length of a packet within its padding is its own, or none', () => {
  const at = layout.free
  const lengthOf = (bytes: readonly number[], padded: number): number => {
    memory.bytes.fill(0, at, at + 64)
    memory.bytes.set(bytes, at)
    return kernels.packetLength(at, padded)
  }
  assert.equal(lengthOf([0x45, 0, 0, 33], 48), 33)
  assert.equal(lengthOf([0x45, 0, 0, 49], 48), -1)
  assert.equal(lengthOf([0x45, 0, 0, 19], 48), -1)
  assert.equal(lengthOf([0x45, 0, 0, 20], 19), -1)
  assert.equal(lengthOf([0x60, 0, 0, 0, 0, 8], 48), 48)
  assert.equal(lengthOf([0x60, 0, 0, 0, 0, 9], 48), -1)
  assert.equal(lengthOf([0x60, 0, 0, 0, 0, 0], 39), -1)
  assert.equal(lengthOf([0x50, 0, 0, 20], 48), -1)
})

test('a sealed packet is the one OpenSSL seals, with its header, for every length', () => {
  const key = Uint8Array.from({ length: 32 }, (_, at) => at * 5)
  const [keyAt, windowAt] = [layout.free, layout.free + 64]
  const source = layout.free + 4096
  const target = source + 4096
  const back = target + 4096
  memory.bytes.set(key, keyAt)
  for (let length = 0; length <= 1500; length += length < 300 ? 1 : 61) {
    const plain = Uint8Array.from({ length }, (_, at) => at * 3 + length)
    memory.bytes.set(plain, source)
    const counter = 2 ** 33 + length
    kernels.beginMessage(source, counter)
    kernels.sealPacket(keyAt, target, source, length)
    kernels.endMessage(target, length, 0xfedcba98, counter, 0)
    const header = new DataView(new ArrayBuffer(16))
    header.setUint32(0, 4, true)
    header.setUint32(4, 0xfedcba98, true)
    header.setBigUint64(8, BigInt(counter), true)
    const nonce = Uint8Array.of(0, 0, 0, 0, ...new Uint8Array(header.buffer, 8))
    const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
    const sealed = Buffer.concat([
      new Uint8Array(header.buffer),
      cipher.update(plain),
      cipher.final(),
      cipher.getAuthTag(),
    ])
    assert.deepEqual(Buffer.from(memory.bytes.subarray(target - 16, target + length + 16)), sealed)

    assert.equal(kernels.beginOpen(target - 16, windowAt), 0)
    assert.equal(kernels.openPacket(keyAt, back, target, length), 1)
    assert.deepEqual(memory.bytes.slice(back, back + length), plain)
    memory.bytes[target + length]! ^= 1
    assert.equal(kernels.openPacket(keyAt, back, target, length), 0)
  }
  assert.equal(HEADROOM, 64)
})

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
          kernels.acceptMessage(window, datagram, 0)
        }
      },
    ),
    { seed: 2, numRuns: 200 },
  )
  memory.view.setBigUint64(datagram + 8, 2n ** 53n, true)
  assert.equal(kernels.beginOpen(datagram, window), 1)
})

test('a window that starts at a counter goes on as its twin does', () => {
  const window = layout.free
  const datagram = layout.free + 4096
  const start = fc.oneof(fc.nat(70), fc.integer({ min: 8100, max: 8300 }), fc.maxSafeNat())
  fc.assert(
    fc.property(start, fc.array(fc.integer({ min: -9000, max: 9000 }), { maxLength: 40 }), (next, distances) => {
      memory.bytes.fill(0, window, window + 2048)
      const twin = new ReplayWindow()
      twin.startAt(next)
      kernels.startWindow(window, next)
      for (const distance of [-8192, -8161, -8160, -33, -32, -1, 0, ...distances]) {
        const counter = Math.min(Math.max(next + distance, 0), Number.MAX_SAFE_INTEGER)
        memory.view.setBigUint64(datagram + 8, BigInt(counter), true)
        const isAllowed = twin.allows(counter)
        assert.equal(kernels.beginOpen(datagram, window), isAllowed ? 0 : 2)
        if (!isAllowed) continue
        twin.mark(counter)
        kernels.acceptMessage(window, datagram, 0)
      }
    }),
    { seed: 4, numRuns: 200 },
  )
})

const p = 2n ** 130n - 5n
/** What OpenSSL's object may hold: the accumulator in words of 64, limbs of 44, or words of 26 bits and a few more. */
const accumulators = {
  words: { widths: [64n, 64n, 3n], places: [0, 8, 16], shift: 64n, bytes: 8 },
  limbs: { widths: [46n, 46n, 44n], places: [0, 8, 16], shift: 44n, bytes: 8 },
  'words of 26 bits': { widths: [28n, 28n, 28n, 28n, 28n], places: [0, 4, 8, 12, 16], shift: 26n, bytes: 4 },
} as const

for (const [name, { widths, places, shift, bytes }] of Object.entries(accumulators))
  test(`the tag of an accumulator in ${name} is reduced as RFC 8439 §2.5 says`, () => {
    const { view } = memory
    const key = layout.free + 0x8000
    const tag = key + 64
    const context = layout.poly1305Context
    const part = (width: bigint): fc.Arbitrary<bigint> =>
      fc.oneof(
        fc.bigInt(0n, 2n ** width - 1n),
        fc.constantFrom(0n, 1n, 2n ** (shift < width ? shift : width) - 1n, 2n ** width - 1n),
      )
    // Around p, too, where one more or less decides.
    const edge = fc
      .tuple(fc.bigInt(-6n, 6n), fc.constantFrom(0n, p, 2n ** 130n))
      .filter(([by, of]) => by + of >= 0n)
      .map(([by, of]) =>
        places.map((_, at) =>
          at < places.length - 1
            ? ((by + of) >> (shift * BigInt(at))) % 2n ** shift
            : (by + of) >> (shift * BigInt(at)),
        ),
      )
    fc.assert(
      fc.property(
        fc.oneof(fc.tuple(...widths.map((width) => part(width))), edge),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (parts, keyBytes) => {
          memory.bytes.set(keyBytes, key)
          beginObject(name === 'limbs' ? 'limbs' : 'words', key)
          let sum = 0n
          for (const [at, place] of places.entries()) {
            const value = parts[at] ?? 0n
            sum += value << (shift * BigInt(at))
            if (bytes === 8) view.setBigUint64(context + place, value, true)
            else view.setUint32(context + place, Number(value), true)
          }
          if (bytes === 4) view.setUint32(context + 20, 1, true)
          kernels.endState(key, tag)
          const half = view.getBigUint64(key + 16, true) + (view.getBigUint64(key + 24, true) << 64n)
          const got = view.getBigUint64(tag, true) + (view.getBigUint64(tag + 8, true) << 64n)
          assert.equal(got, ((sum % p) + half) % 2n ** 128n)
        },
      ),
      { seed: 3, numRuns: 500 },
    )
  })

/** As OpenSSL begins its object, in either layout; both are recognized. */
function beginObject(kind: 'words' | 'limbs', key: number): void {
  const { view } = memory
  const context = layout.poly1305Context
  memory.bytes.fill(0, context, context + 248)
  memory.bytes.copyWithin(context + 192, key + 16, key + 32)
  const low = view.getBigUint64(key, true) & 0x0ffffffc0fffffffn
  const high = view.getBigUint64(key + 8, true) & 0x0ffffffc0ffffffcn
  const r = low + (high << 64n)
  const mask = 2n ** 44n - 1n
  const [first, second, third] = [r & mask, (r >> 44n) & mask, r >> 88n]
  const fields = kind === 'words' ? [low, high] : [second * 20n, third * 20n, first, second, third, 2n ** 64n - 1n]
  for (const [at, field] of fields.entries()) view.setBigUint64(context + 24 + at * 8, field, true)
  assert.equal(kernels.recognizeState(key), 1)
  const begun = memory.bytes.slice(context, context + 248)
  memory.bytes.fill(0x55, context, context + 72)
  kernels.beginState(key)
  const size = 24 + fields.length * 8
  assert.deepEqual(memory.bytes.slice(context, context + size), begun.slice(0, size))
}

test('an object that is laid out otherwise is not recognized', () => {
  const { view, bytes } = memory
  const key = layout.free + 0x8000
  for (let at = 0; at < 32; at++) bytes[key + at] = at * 7 + 3
  for (const kind of ['words', 'limbs'] as const)
    for (const at of [0, 16, 24, 39, 192, 207, 224]) {
      beginObject(kind, key)
      const place = layout.poly1305Context + at
      view.setUint8(place, view.getUint8(place) ^ 1)
      assert.equal(kernels.recognizeState(key), 0, `${kind}, byte ${at}`)
    }
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
    kernels.beginMessage(target, source, counter)
    kernels.sealPacket(keyAt, target, source, length)
    kernels.endMessage(target, 0xfedcba98, counter)
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

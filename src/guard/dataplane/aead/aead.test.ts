import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorMessage } from '../../../api/errors.ts'
import { ownFunctions, systemCalls } from '../../../net/ffi.ts'
import { createPacketMemory, HEADROOM, type PacketMemory } from '../packet-memory.ts'
import { type AeadBackend, type AeadFactory, chooseBackend, passesSelfTest } from './aead.ts'
import { createEvpBackend, createRawBackend, createStateBackend } from './openssl.ts'
import { createWasmBackend } from './wasm.ts'

const skip = process.platform !== 'linux' && 'koffi speaks to the system on Linux only so far'

async function nativeMemory(): Promise<PacketMemory> {
  const system = await systemCalls()
  return createPacketMemory((bytes) => system.addressOf(bytes))
}

const natives = {
  'openssl-state': createStateBackend,
  'openssl-raw': createRawBackend,
  'openssl-evp': createEvpBackend,
} as const

test('the cipher in WebAssembly passes the self-test without native code', () => {
  const memory = createPacketMemory()
  const backend = createWasmBackend(memory)
  assert.equal(passesSelfTest(backend, memory), true)
})

for (const [name, create] of Object.entries(natives))
  test(`${name} agrees with WebAssembly on every length, and opens what it sealed`, { skip }, async (context) => {
    const memory = await nativeMemory()
    let backend: AeadBackend
    try {
      backend = create(memory, await ownFunctions())
    } catch (error) {
      // Another OpenSSL than that of the Node.js of the releases.
      context.skip(errorMessage(error))
      return
    }
    assert.equal(passesSelfTest(backend, memory), true)
    const { bytes, kernels, layout } = memory
    const key = layout.free
    bytes.fill(0x42, key, key + 32)
    const [source, target, other] = [key + 4096, key + 8192, key + 12_288]
    const sealing = backend.createKey(key, 'seal')
    const opening = backend.createKey(key, 'open')
    const wasm = createWasmBackend(memory).createKey(key, 'seal')
    for (let length = 0; length <= 1420; length += length < 140 ? 1 : 77) {
      const plain = Uint8Array.from({ length }, (_, at) => at + length)
      bytes.set(plain, source)
      kernels.beginMessage(target, source, length)
      sealing.seal(target, source, length)
      kernels.beginMessage(other, source, length)
      wasm.seal(other, source, length)
      const sealed = bytes.slice(target, target + length + 16)
      assert.deepEqual(sealed, bytes.slice(other, other + length + 16))
      bytes.fill(0x99, target - HEADROOM, target)
      kernels.beginMessage(other, source, length)
      assert.equal(opening.open(other, target, length), true)
      assert.deepEqual(bytes.slice(other, other + length), plain)
      assert.deepEqual(bytes.slice(target, target + length + 16), sealed)
    }
    sealing[Symbol.dispose]()
    opening[Symbol.dispose]()
  })

test('a backend that is missing or wrong is passed over, and the reason kept', () => {
  const memory = createPacketMemory()
  const missing: AeadFactory = () => {
    throw new Error('no such function')
  }
  const works = createWasmBackend(memory)
  const wrongTag: AeadFactory = () => ({
    name: 'openssl-raw',
    createKey: (key, direction) => ({
      ...works.createKey(key, direction),
      seal: (target, source, length) => memory.bytes.copyWithin(target, source, source + length),
    }),
  })
  const accepting: AeadFactory = () => ({
    name: 'openssl-evp',
    createKey: (key, direction) => {
      const real = works.createKey(key, direction)
      return {
        ...real,
        open: (target, source, length) => {
          real.open(target, source, length)
          return true
        },
      }
    },
  })
  const { backend, refused } = chooseBackend(memory, [missing, wrongTag, accepting, createWasmBackend])
  assert.equal(backend.name, 'wasm')
  assert.deepEqual(refused, ['no such function', 'openssl-raw: wrong results', 'openssl-evp: wrong results'])
  assert.throws(() => chooseBackend(memory, [missing]), /no cipher works here: no such function/)
})

/**
 * The AEAD by the OpenSSL that is linked into the Node.js binary, called through koffi: by its assembler functions, whose
 * names it exports but does not promise, or by the EVP interface, which it promises. The functions are looked up when
 * a backend is made; a name that is missing throws.
 */

import type { NativeFunctions } from '../../../net/ffi.ts'
import { HEADROOM, type PacketMemory } from '../packet-memory.ts'
import type { AeadBackend, AeadKey } from './aead.ts'

const pointer = 'intptr'
const size = 'size_t'
/** Where the layouts of poly1305-state.as.ts are from. */
const poly1305StateSize = 248
/** Room that layout.as.ts keeps for a POLY1305 object. */
const poly1305ContextSize = 2048
const encrypt = 1
const decrypt = 0
const unchanged = -1
// openssl/evp.h
const EVP_CTRL_AEAD_GET_TAG = 0x10
const EVP_CTRL_AEAD_SET_TAG = 0x11
const tagSize = 16

type ChaCha20 = (key: number, target: number, source: number, length: number) => void

/** From block 0 over the 64 bytes before a packet, zeros in which the one-time key appears, and the packet itself. */
function chacha20Of({ base, layout }: PacketMemory, openssl: NativeFunctions): ChaCha20 {
  const call = openssl('ChaCha20_ctr32', 'void', [pointer, pointer, size, pointer, pointer])
  const before = base - HEADROOM
  const nonce = base + layout.nonce
  return (key, target, source, length) => {
    call(before + target, before + source, HEADROOM + length, key, nonce)
  }
}

/**
 * Two calls a packet: ChaCha20, which leaves the one-time key before the packet, and Poly1305_Update over the ciphertext
 * with its trailer (aead.as.ts). What OpenSSL does before and
 * after that in its object is little; kernels do it, where they know the object (poly1305-state.as.ts).
 */
export function createStateBackend(memory: PacketMemory, openssl: NativeFunctions): AeadBackend {
  const chacha20 = chacha20Of(memory, openssl)
  const update = openssl('Poly1305_Update', 'void', [pointer, pointer, size])
  const { base, kernels, layout } = memory
  const context = base + layout.poly1305Context
  beginOnce(memory, openssl)
  const createKey = (key: number): AeadKey => {
    const keyAddress = base + key
    return {
      seal(target, source, length) {
        chacha20(keyAddress, target, source, length)
        update(context, base + target, kernels.beginSealTag(target, length))
        kernels.endSealTag(target, length)
      },
      open(target, source, length) {
        chacha20(keyAddress, target, source, length)
        update(context, base + source, kernels.beginOpenTag(target, source, length))
        return kernels.endOpenTag(target, source, length) !== 0
      },
      [Symbol.dispose]: () => {},
    }
  }
  return { name: 'openssl-state', createKey }
}

/** OpenSSL puts its functions for this processor into the object, and so shows how it is laid out. */
function beginOnce({ base, bytes, kernels, layout }: PacketMemory, openssl: NativeFunctions): void {
  // Elsewhere there is another object.
  if (process.arch !== 'x64') throw new Error('openssl-state: not on this processor')
  if (openssl('Poly1305_ctx_size', size, [])() !== poly1305StateSize)
    throw new Error('openssl-state: POLY1305 has another size')
  const key = layout.free
  bytes.set(
    Uint8Array.from({ length: 32 }, (_, at) => at * 7 + 3),
    key,
  )
  openssl('Poly1305_Init', 'void', [pointer, pointer])(base + layout.poly1305Context, base + key)
  const isKnown = kernels.recognizeState(key) !== 0
  bytes.fill(0, key, key + 32)
  if (!isKnown) throw new Error('openssl-state: POLY1305 is laid out otherwise')
}

/** The same in four calls a packet, with nothing of OpenSSL's object known. */
export function createRawBackend(memory: PacketMemory, openssl: NativeFunctions): AeadBackend {
  const chacha20 = chacha20Of(memory, openssl)
  const start = openssl('Poly1305_Init', 'void', [pointer, pointer])
  const update = openssl('Poly1305_Update', 'void', [pointer, pointer, size])
  const finish = openssl('Poly1305_Final', 'void', [pointer, pointer])
  if (openssl('Poly1305_ctx_size', size, [])() > poly1305ContextSize)
    throw new Error('openssl-raw: POLY1305 is too large')
  const { base, kernels, layout } = memory
  const context = base + layout.poly1305Context
  const tag = base + layout.tag
  const createKey = (key: number): AeadKey => {
    const keyAddress = base + key
    return {
      seal(target, source, length) {
        chacha20(keyAddress, target, source, length)
        const covered = kernels.writeMacTrailer(target, length)
        start(context, base + target - HEADROOM)
        update(context, base + target, covered)
        finish(context, base + target + length)
      },
      open(target, source, length) {
        chacha20(keyAddress, target, source, length)
        const covered = kernels.prepareOpen(target, source, length)
        start(context, base + target - HEADROOM)
        update(context, base + source, covered)
        finish(context, tag)
        return kernels.finishOpen(source, length) !== 0
      },
      [Symbol.dispose]: () => {},
    }
  }
  return { name: 'openssl-raw', createKey }
}

/** The same by EVP: one cipher context a key, which only takes a new nonce for each packet. */
export function createEvpBackend(memory: PacketMemory, openssl: NativeFunctions): AeadBackend {
  const createContext = openssl('EVP_CIPHER_CTX_new', pointer, [])
  const freeContext = openssl('EVP_CIPHER_CTX_free', 'void', [pointer])
  const fetch = openssl('EVP_CIPHER_fetch', pointer, [pointer, 'str', pointer])
  const init = openssl('EVP_CipherInit_ex', 'int', [pointer, pointer, pointer, pointer, pointer, 'int'])
  const cipher = openssl('EVP_Cipher', 'int', [pointer, pointer, pointer, 'uint'])
  const finish = openssl('EVP_CipherFinal_ex', 'int', [pointer, pointer, pointer])
  const control = openssl('EVP_CIPHER_CTX_ctrl', 'int', [pointer, 'int', 'int', pointer])
  const algorithm = fetch(0, 'ChaCha20-Poly1305', 0)
  if (algorithm === 0) throw new Error('openssl-evp: no ChaCha20-Poly1305')
  const { base, layout } = memory
  // The block counter before it is EVP's own business.
  const nonce = base + layout.nonce + 4
  // Finishing gives no bytes, but wants to say so.
  const nothing = base + layout.tag
  const createKey = (key: number, direction: 'seal' | 'open'): AeadKey => {
    const context = createContext()
    if (init(context, algorithm, 0, base + key, nonce, direction === 'seal' ? encrypt : decrypt) !== 1)
      throw new Error('openssl-evp: the key was refused')
    return {
      seal(target, source, length) {
        init(context, 0, 0, 0, nonce, unchanged)
        if (length > 0) cipher(context, base + target, base + source, length)
        finish(context, nothing, nothing + 8)
        control(context, EVP_CTRL_AEAD_GET_TAG, tagSize, base + target + length)
      },
      open(target, source, length) {
        init(context, 0, 0, 0, nonce, unchanged)
        control(context, EVP_CTRL_AEAD_SET_TAG, tagSize, base + source + length)
        if (length > 0) cipher(context, base + target, base + source, length)
        return finish(context, nothing, nothing + 8) === 1
      },
      [Symbol.dispose]: () => freeContext(context),
    }
  }
  return { name: 'openssl-evp', createKey }
}

/**
 * Who does AEAD_CHACHA20_POLY1305 (RFC 8439) over packet memory. The fastest that works is taken: OpenSSL's own functions
 * inside the Node.js binary, its public EVP interface, or WebAssembly. The native ones are found by name at run time and
 * all but EVP are private to OpenSSL, so each must pass a self-test before a packet is trusted to it.
 */

import { errorMessage } from '../../../api/errors.ts'
import { HEADROOM, type PacketMemory } from '../packet-memory.ts'

/**
 * `state`: ChaCha20_ctr32 and Poly1305_Update of OpenSSL, in an object that poly1305-state.as.ts begins and ends. `raw`: the
 * same functions and OpenSSL's own begin and end. `evp`: its EVP_Cipher. `wasm`: aead.as.ts.
 */
export type CryptoBackend = 'openssl-state' | 'openssl-raw' | 'openssl-evp' | 'wasm'

/**
 * One key in one direction. Addresses are offsets into the packet memory, with HEADROOM and TAILROOM around each; the
 * nonce is where `beginMessage` or `beginOpen` wrote it.
 */
export interface AeadKey {
  /** Ciphertext and tag to `target`. */
  seal(target: number, source: number, length: number): void
  /** Whether the tag after the `length` bytes at `source` fits; else what is at `target` must not be used. */
  open(target: number, source: number, length: number): boolean
  /** The key is wiped and not used again. */
  [Symbol.dispose](): void
}

export interface AeadBackend {
  readonly name: CryptoBackend
  /** The 32 bytes at `key` stay there as long as the AeadKey lives; the caller wipes them. */
  createKey(key: number, direction: 'seal' | 'open'): AeadKey
}

/** @throws when the functions it needs are not there */
export type AeadFactory = (memory: PacketMemory) => AeadBackend

export interface ChosenBackend {
  readonly backend: AeadBackend
  /** Why the ones before it were not taken. */
  readonly refused: readonly string[]
}

/** The first that can be made and passes the self-test. @throws when none does */
export function chooseBackend(memory: PacketMemory, factories: readonly AeadFactory[]): ChosenBackend {
  const refused: string[] = []
  for (const factory of factories) {
    try {
      const backend = factory(memory)
      if (passesSelfTest(backend, memory)) return { backend, refused }
      refused.push(`${backend.name}: wrong results`)
    } catch (error) {
      refused.push(errorMessage(error))
    }
  }
  throw new Error(`no cipher works here: ${refused.join('; ')}`)
}

// RFC 8439 §2.8.2 has additional data, which a transport message has not: the key, nonce and plaintext are from there, the
// ciphertext too; the tag is that of the same message without it.
const vector = {
  key: Buffer.from('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f', 'hex'),
  nonce: Buffer.from('070000004041424344454647', 'hex'),
  plaintext: new TextEncoder().encode(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
  ),
  ciphertext: Buffer.from(
    'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116',
    'hex',
  ),
  tag: Buffer.from('6a23a4681fd59456aea1d29f82477216', 'hex'),
} as const

/** Of packets, each of which takes another way through OpenSSL's code for some processor. */
const lengths = [0, 1, 16, 63, 112, 128, 240, 480, 512, 1023, 1024, 1420, 2000]
const room = 4096

/** Seals and opens the vector, refuses a changed tag and ciphertext, and agrees with aead.as.ts on other lengths. */
export function passesSelfTest(backend: AeadBackend, memory: PacketMemory): boolean {
  const { bytes, kernels, layout } = memory
  const keyAt = layout.free
  const source = keyAt + room
  const target = source + room
  const back = target + room
  bytes.set(vector.key, keyAt)
  const setNonce = (): void => {
    bytes.fill(0, layout.nonce, layout.nonce + 4)
    bytes.set(vector.nonce, layout.nonce + 4)
  }
  const sealing = backend.createKey(keyAt, 'seal')
  const opening = backend.createKey(keyAt, 'open')
  try {
    const { length } = vector.plaintext
    bytes.set(vector.plaintext, source)
    bytes.fill(0, source - HEADROOM, source)
    setNonce()
    sealing.seal(target, source, length)
    const sealed = Buffer.from(bytes.subarray(target, target + length + 16))
    if (!sealed.equals(Buffer.concat([vector.ciphertext, vector.tag]))) return false
    // Whatever is in front and behind must not matter.
    bytes.fill(0xa5, target - HEADROOM, target)
    bytes.fill(0x5a, target + length + 16, target + length + 48)
    setNonce()
    if (!opening.open(back, target, length)) return false
    if (!Buffer.from(bytes.subarray(back, back + length)).equals(Buffer.from(vector.plaintext))) return false
    for (const at of [target, target + length, target + length + 15]) {
      bytes[at] = (bytes[at] ?? 0) ^ 0x80
      setNonce()
      if (opening.open(back, target, length)) return false
      bytes[at] = (bytes[at] ?? 0) ^ 0x80
    }
    setNonce()
    if (!opening.open(back, target, length)) return false
    return lengths.every((other) => {
      bytes.fill(0xc3, source, source + other)
      setNonce()
      kernels.sealPacket(keyAt, back, source, other)
      bytes.fill(0, source - HEADROOM, source)
      setNonce()
      sealing.seal(target, source, other)
      return Buffer.compare(bytes.subarray(back, back + other + 16), bytes.subarray(target, target + other + 16)) === 0
    })
  } finally {
    sealing[Symbol.dispose]()
    opening[Symbol.dispose]()
    bytes.fill(0, keyAt, back + room)
  }
}

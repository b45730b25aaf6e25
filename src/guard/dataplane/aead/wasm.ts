/** The AEAD of aead.as.ts: no native code at all, for where OpenSSL's functions cannot be called. */

import type { PacketMemory } from '../packet-memory.ts'
import type { AeadBackend, AeadKey } from './aead.ts'

export function createWasmBackend({ kernels }: PacketMemory): AeadBackend {
  return {
    name: 'wasm',
    createKey: (key): AeadKey => ({
      seal: (target, source, length) => kernels.sealPacket(key, target, source, length),
      open: (target, source, length) => kernels.openPacket(key, target, source, length) !== 0,
      [Symbol.dispose]: () => {},
    }),
  }
}

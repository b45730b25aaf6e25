/**
 * Boxes between one key pair of ours and many peers: a shared-key cache, and a limit on how many unknown keys are
 * tried a second, because each costs an X25519 that anybody can make us pay. One PeerBox serves all machines that use
 * the same key pair.
 */

import type { SecretKey } from '../../api/keys.ts'
import { open, SharedKeyCache, seal } from './crypto.ts'
import { TokenBucket } from './token-bucket.ts'

export interface PeerBoxOptions {
  readonly secretKey: SecretKey
  /** Unknown keys tried a second; 500. */
  readonly unknownKeysPerSecond?: number
  /** Shared keys kept; 1000. */
  readonly capacity?: number
}

export class PeerBox {
  readonly #keys: SharedKeyCache
  readonly #unknownKeys: TokenBucket
  #refused = 0

  constructor(options: PeerBoxOptions) {
    this.#keys = new SharedKeyCache(options.secretKey, { capacity: options.capacity ?? 1000 })
    this.#unknownKeys = new TokenBucket({ rate: options.unknownKeysPerSecond ?? 500 })
  }

  /** Packets not even tried because too many unknown keys came at once. */
  get refused(): number {
    return this.#refused
  }

  get cachedKeys(): number {
    return this.#keys.size
  }

  /** The box for a peer, `undefined` when its key is of low order. The peer was chosen by us: no limit. */
  seal(peer: Uint8Array, nonce: Uint8Array, plain: Uint8Array): Uint8Array | undefined {
    const key = this.#keys.get(peer)
    return key === undefined ? undefined : seal(key, nonce, plain)
  }

  /** Opens what a peer sealed; a key that never opened anything is limited and not remembered. */
  open(
    peer: Uint8Array,
    box: { readonly nonce: Uint8Array; readonly boxed: Uint8Array },
    now: number,
  ): Uint8Array | undefined {
    const known = this.#keys.peek(peer)
    if (known !== undefined) return open(known, box.nonce, box.boxed)
    if (!this.#unknownKeys.take(now)) {
      this.#refused += 1
      return undefined
    }
    const key = this.#keys.compute(peer)
    if (key === undefined) return undefined
    const plain = open(key, box.nonce, box.boxed)
    if (plain !== undefined) this.#keys.keep(peer, key)
    return plain
  }
}

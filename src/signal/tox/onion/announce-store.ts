/**
 * The node that keeps announcements for others (Tox specification, "Onion announce", role of the storing node): up to
 * 160 entries of 300 s, and pushes data down the stored way back.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import type { Random } from '../../../util/random.ts'
import type { DhtPublicKey } from '../crypto.ts'
import type { DhtNode } from '../dht/dht-node.ts'
import type { PeerBox } from '../peer-box.ts'

export interface AnnounceStoreEffect {
  readonly kind: 'send'
  readonly bytes: Uint8Array
  readonly to: Endpoint
}

export interface AnnounceStoreOptions {
  /** Our own DHT key: entries far from it are the first to go. */
  readonly publicKey: DhtPublicKey
  /** Boxes of the DHT key pair. */
  readonly box: PeerBox
  readonly random: Random
  /** Names nodes close to a key in answers. */
  readonly dht: Pick<DhtNode, 'closestTo'>
}

export class AnnounceStore {
  constructor(_options: AnnounceStoreOptions) {}

  /** Whether datagrams with this first byte are for `receive`: 0x83, 0x85. */
  static handles(kind: number): boolean {
    return kind === 0x83 || kind === 0x85
  }

  receive(_bytes: Uint8Array, _from: Endpoint, _now: number): readonly AnnounceStoreEffect[] {
    return []
  }

  stats(): { readonly stored: number; readonly dropped: Readonly<Record<string, number>> } {
    return { stored: 0, dropped: {} }
  }
}

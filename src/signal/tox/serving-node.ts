/**
 * What every Tox node does for others: a node of the DHT, an onion hop and an announce node behind one
 * receive / tick / deadline. A client is built on it (tox-client.ts); alone it is what people call a bootstrap node.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import type { Random } from '../../util/random.ts'
import type { DhtPublicKey, KeyPair } from './crypto.ts'
import { type DhtEffect, DhtNode, type DhtStats } from './dht/dht-node.ts'
import { AnnounceStore } from './onion/announce-store.ts'
import { OnionRelay } from './onion/onion-relay.ts'
import type { NodeContact } from './packed-node.ts'
import { PeerBox } from './peer-box.ts'

export interface ServingNodeOptions {
  readonly keyPair: KeyPair<DhtPublicKey>
  readonly random: Random
}

export interface ServingNodeStats {
  readonly dht: DhtStats
  readonly onion: ReturnType<OnionRelay['stats']>
  readonly announces: ReturnType<AnnounceStore['stats']>
}

export class ServingNode {
  readonly dht: DhtNode
  /** Boxes of the DHT key pair, for the machines that use the same pair. */
  readonly box: PeerBox
  readonly #relay: OnionRelay
  readonly #store: AnnounceStore

  constructor(options: ServingNodeOptions) {
    const { keyPair, random } = options
    this.box = new PeerBox({ secretKey: keyPair.secretKey })
    this.dht = new DhtNode({ keyPair, box: this.box, random })
    this.#relay = new OnionRelay({ box: this.box, random })
    this.#store = new AnnounceStore({ publicKey: keyPair.publicKey, box: this.box, random, dht: this.dht })
  }

  /** Takes one datagram; `undefined` when its first byte is none of ours. */
  receive(bytes: Uint8Array, from: Endpoint, now: number): readonly DhtEffect[] | undefined {
    const kind = bytes[0]
    if (kind === undefined) return []
    if (DhtNode.handles(kind)) return this.dht.receive(bytes, from, now)
    if (OnionRelay.handles(kind)) return this.#relay.receive(bytes, from, now)
    if (AnnounceStore.handles(kind)) return this.#store.receive(bytes, from, now)
    return undefined
  }

  bootstrap(nodes: readonly NodeContact[], now: number): void {
    this.dht.bootstrap(nodes, now)
  }

  tick(now: number): readonly DhtEffect[] {
    return this.dht.tick(now)
  }

  get deadline(): number | undefined {
    return this.dht.deadline
  }

  stats(): ServingNodeStats {
    return { dht: this.dht.stats(), onion: this.#relay.stats(), announces: this.#store.stats() }
  }
}

/**
 * A node of the Tox DHT (Tox specification, "DHT"): knows the nodes close to its own key, answers others, and finds the
 * addresses of sought DHT keys. A pure machine over IPv4/UDP.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import type { Random } from '../../../util/random.ts'
import type { DhtPublicKey, KeyPair } from '../crypto.ts'
import type { NodeContact, PackedNode } from '../packed-node.ts'
import type { PeerBox } from '../peer-box.ts'

export type DhtEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint }
  /**
   * The sought node itself answered from `endpoint`: its address is verified. Repeated at every answer, so it may also
   * name another endpoint than before; taking it twice is harmless.
   */
  | { readonly kind: 'found'; readonly dhtKey: DhtPublicKey; readonly endpoint: Endpoint }
  /**
   * A routed DHT request with id 0x9c arrived for us. `payload` is everything after that byte:
   * long-term key (32) || nonce (24) || box. It belongs to `OnionClient.receiveRouted`.
   */
  | { readonly kind: 'routed-dht-key'; readonly sender: DhtPublicKey; readonly payload: Uint8Array }

export interface DhtNodeOptions {
  readonly keyPair: KeyPair<DhtPublicKey>
  /** Boxes of `keyPair`, shared with the other machines that use the same pair. */
  readonly box: PeerBox
  readonly random: Random
}

/** Plain counters; `dropped` by reason. */
export interface DhtStats {
  readonly closeNodes: number
  readonly searches: number
  readonly sent: number
  readonly dropped: Readonly<Record<string, number>>
}

/**
 * `receive` and `tick` return effects, to be carried out in order. All other inputs only change the state and may move
 * `deadline`: call `tick` when it has come (set the timer again after every call).
 */
export class DhtNode {
  readonly publicKey: DhtPublicKey

  constructor(options: DhtNodeOptions) {
    this.publicKey = options.keyPair.publicKey
  }

  /** Replaces the nodes asked whenever we know nobody. Host names are resolved by the caller, again from time to time. */
  bootstrap(_nodes: readonly NodeContact[], _now: number): void {}

  /** Takes one datagram whose first byte `handles`. Never throws; what is not valid is dropped and counted. */
  receive(_bytes: Uint8Array, _from: Endpoint, _now: number): readonly DhtEffect[] {
    return []
  }

  /** Does what is due. Early calls are harmless. */
  tick(_now: number): readonly DhtEffect[] {
    return []
  }

  /** When `tick` is next needed, ms; `undefined` while there is nothing to do. */
  get deadline(): number | undefined {
    return undefined
  }

  /** Whether datagrams with this first byte are for `receive`. */
  static handles(kind: number): boolean {
    return kind <= 0x02 || kind === 0x04 || kind === 0x20 || kind === 0x21
  }

  /** Whether a node of the close list answered in the last 122 s. */
  connected(_now: number): boolean {
    return false
  }

  /**
   * Looks for the address of a DHT key until `stopSearch`; `found` tells. `named` are nodes that should know it, such as
   * those in its DHT-key packet (TCP relays among them are ignored). Searching a key again adds to what is known.
   */
  search(_dhtKey: DhtPublicKey, _options: { readonly named?: readonly PackedNode[]; readonly now: number }): void {}

  stopSearch(_dhtKey: DhtPublicKey): void {}

  /** A routed DHT request for a sought key, through every node that named it; `plain` begins with its id. */
  sendRouted(_dhtKey: DhtPublicKey, _plain: Uint8Array, _now: number): readonly DhtEffect[] {
    return []
  }

  /** The network may have changed: show our close nodes where we are now, and ask for all sought keys again, quickly. */
  nudge(_now: number): void {}

  /** The `count` good nodes closest to our own key, closest first, for our DHT-key packets. */
  closeNodes(_count: number, _now: number): readonly NodeContact[] {
    return []
  }

  /** Good nodes from all lists in random order, for onion paths and first announces. */
  randomNodes(_count: number, _now: number): readonly NodeContact[] {
    return []
  }

  /** The `count` good nodes closest to any key, from all lists, without local ones for an asker that is not local. */
  closestTo(
    _key: Uint8Array,
    _options: { readonly count: number; readonly asker: Endpoint; readonly now: number },
  ): readonly NodeContact[] {
    return []
  }

  stats(): DhtStats {
    return { closeNodes: 0, searches: 0, sent: 0, dropped: {} }
  }
}

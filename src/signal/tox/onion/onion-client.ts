/**
 * Our own use of the onion (Tox specification, "Onion"): announces the long-term key, finds friends that are announced,
 * exchanges DHT-key packets with them, sends and takes friend requests. A pure machine over UDP; paths through TCP
 * relays are left out.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import type { Random } from '../../../util/random.ts'
import type { DhtPublicKey, KeyPair, LongTermPublicKey } from '../crypto.ts'
import type { DhtNode } from '../dht/dht-node.ts'
import type { PackedNode } from '../packed-node.ts'
import type { PeerBox } from '../peer-box.ts'
import type { Nospam } from '../tox-id.ts'

export type OnionEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint }
  /** For `DhtNode.sendRouted(dhtKey, plain, now)`. */
  | { readonly kind: 'route'; readonly dhtKey: DhtPublicKey; readonly plain: Uint8Array }
  /**
   * A friend told us its DHT key, and up to 4 nodes that know it (UDP) or relays it uses (TCP). Authentic and newer
   * than the last one; emitted also when the key is the same as before. For `DhtNode.search(dhtKey, { named: nodes, now })`.
   */
  | {
      readonly kind: 'friend-dht-key'
      readonly friend: LongTermPublicKey
      readonly dhtKey: DhtPublicKey
      readonly nodes: readonly PackedNode[]
    }
  /** Somebody who is no friend asks, with the right nospam. Once per key and run. `message` is 1..1016 bytes. */
  | { readonly kind: 'friend-request'; readonly from: LongTermPublicKey; readonly message: Uint8Array }

export interface OnionClientOptions {
  /** The long-term key pair. */
  readonly keyPair: KeyPair<LongTermPublicKey>
  readonly dhtKeyPair: KeyPair<DhtPublicKey>
  /** Boxes of the DHT key pair. */
  readonly dhtBox: PeerBox
  readonly nospam: Nospam
  readonly random: Random
  readonly dht: Pick<DhtNode, 'randomNodes' | 'closeNodes' | 'connected'>
}

export interface OnionStats {
  /** Nodes that say they store our announcement, and nodes asked. */
  readonly announcedOn: number
  readonly announceNodes: number
  readonly friends: number
  readonly paths: number
  readonly sent: number
  readonly dropped: Readonly<Record<string, number>>
}

/**
 * `receive`, `receiveRouted` and `tick` return effects. All other inputs only change the state and may move `deadline`.
 * `wallTime` is ms since 1970 (as `Clock.wallTime`): DHT-key packets carry it in seconds.
 */
export class OnionClient {
  constructor(_options: OnionClientOptions) {}

  /** Whether datagrams with this first byte are for `receive`: 0x84, 0x86. */
  static handles(kind: number): boolean {
    return kind === 0x84 || kind === 0x86
  }

  receive(_bytes: Uint8Array, _from: Endpoint, _now: number): readonly OnionEffect[] {
    return []
  }

  /** The payload of a `routed-dht-key` effect of the DHT node. */
  receiveRouted(_sender: DhtPublicKey, _payload: Uint8Array, _now: number): readonly OnionEffect[] {
    return []
  }

  tick(_now: number, _wallTime: number): readonly OnionEffect[] {
    return []
  }

  get deadline(): number | undefined {
    return undefined
  }

  /** Whether at least one node stores our announcement: friends can find us. */
  get announced(): boolean {
    return false
  }

  /** Starts to look for a friend and to tell it our DHT key, until it is online or removed. */
  addFriend(_friend: LongTermPublicKey, _now: number): void {}

  removeFriend(_friend: LongTermPublicKey): void {}

  /** Online: nothing is sent for this friend. Offline again: it is looked for at the fast rate. */
  friendOnline(_friend: LongTermPublicKey, _state: { readonly online: boolean; readonly now: number }): void {}

  /** The friend's DHT key as learned elsewhere (from its crypto handshake): DHT-key packets go to it directly too. */
  friendDhtKey(_friend: LongTermPublicKey, _dhtKey: DhtPublicKey): void {}

  /**
   * Adds the friend and asks it for friendship as well, again and again at growing intervals until it is online or
   * removed. `message` is 1..921 bytes.
   */
  requestFriend(
    _friend: LongTermPublicKey,
    _request: { readonly nospam: Nospam; readonly message: Uint8Array; readonly now: number },
  ): void {}

  /** The network may have changed: announce, search and tell our DHT key at the fast rate again, now. */
  nudge(_now: number): void {}

  stats(): OnionStats {
    return { announcedOn: 0, announceNodes: 0, friends: 0, paths: 0, sent: 0, dropped: {} }
  }
}

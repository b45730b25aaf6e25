/**
 * The onion hop (Tox specification, "Onion"): opens one layer of requests and sends them on, sends answers back. Keeps
 * nothing per packet: the way back travels with it, sealed under a key that is changed every two hours.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import type { Random } from '../../../util/random.ts'
import type { PeerBox } from '../peer-box.ts'

export interface OnionRelayEffect {
  readonly kind: 'send'
  readonly bytes: Uint8Array
  readonly to: Endpoint
}

export interface OnionRelayOptions {
  /** Boxes of the DHT key pair. */
  readonly box: PeerBox
  readonly random: Random
}

export class OnionRelay {
  constructor(_options: OnionRelayOptions) {}

  /** Whether datagrams with this first byte are for `receive`: 0x80..0x82, 0x8c..0x8e. */
  static handles(kind: number): boolean {
    return (kind >= 0x80 && kind <= 0x82) || (kind >= 0x8c && kind <= 0x8e)
  }

  receive(_bytes: Uint8Array, _from: Endpoint, _now: number): readonly OnionRelayEffect[] {
    return []
  }

  stats(): { readonly forwarded: number; readonly dropped: Readonly<Record<string, number>> } {
    return { forwarded: 0, dropped: {} }
  }
}

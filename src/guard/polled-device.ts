/** A WireGuard that works elsewhere, in the kernel or in another program: what it is told, and what it tells. */

import type { Endpoint } from '../api/endpoint.ts'
import type { SecretKey, TunnelPublicKey } from '../api/keys.ts'
import type { GuardStatus } from '../api/roles.ts'
import type { PeerCounters } from './polled-peer.ts'
import type { Prefix } from './wireguard/allowed-ips.ts'

/** Requests are carried out in the order of the calls; one that fails rejects. */
export interface PolledDevice {
  readonly interfaceName: string
  readonly status: GuardStatus
  set(request: SetRequest): Promise<void>
  get(): Promise<PeerTable>
}

export interface SetRequest {
  readonly privateKey?: SecretKey
  readonly listenPort?: number
  readonly peers?: readonly PeerChange[]
}

export type PeerChange =
  | { readonly kind: 'remove'; readonly publicKey: TunnelPublicKey }
  | {
      readonly kind: 'set'
      readonly publicKey: TunnelPublicKey
      /** Nothing happens when there is no such peer; otherwise it is added. */
      readonly updateOnly?: boolean
      readonly presharedKey?: SecretKey
      readonly endpoint?: Endpoint
      /** Seconds, 0 for none. */
      readonly persistentKeepalive?: number
      /** In place of those before. */
      readonly allowedIps?: readonly Prefix[]
    }

/** By public key, 64 hex digits in lower case. */
export type PeerTable = ReadonlyMap<string, PeerCounters>

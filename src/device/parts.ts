/** What a device is put together from. `backends.ts` fills this in; a test fills it in with a simulated internet. */

import type { IdentityPublicKey, OtrFingerprint, TunnelPublicKey } from '../api/keys.ts'
import type {
  Guard,
  GuardKind,
  KeyAgreement,
  Puncher,
  SecretChannel,
  SignalChannel,
  SignalNetwork,
} from '../api/roles.ts'
import type { StateStore } from '../api/state-store.ts'
import type { Card } from '../pairing/card.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'

/** The machine's side of a tunnel: the addresses on its interface and the routes into it. */
export interface TunnelInterface {
  /** In place of the addresses before. @throws PunchGuardError ADDRESS_IN_USE, GUARD_UNAVAILABLE */
  setAddresses(addresses: readonly string[]): Promise<void>
  /** In place of the routes to the peer before; none for an empty list. */
  setRoutes(peer: string, routes: PeerRoutes): Promise<void>
}

export interface PeerRoutes {
  readonly interfaceName: string
  readonly cidrs: readonly string[]
  /** Largest packet on these routes, bytes; the interface's when absent. */
  readonly mtu?: number | undefined
}

/** The tunnel side of a device: the socket, the puncher on it and the guard on both. */
export interface Tunnel extends AsyncDisposable {
  readonly guard: Guard
  /** On the socket that the guard sends to this peer from. */
  puncherFor(peer: TunnelPublicKey): Promise<Puncher>
  readonly interface: TunnelInterface
  /** Of the interface, bytes. */
  readonly mtu: number
  readonly udpPort: number
  /** Resolves, with the reason in words, when the interface is gone without us; never rejects. */
  readonly lost: Promise<string>
}

/** What decides on addresses in the tunnel (address-plan.ts). */
export interface Addressing {
  /** A person's choice; empty: derived from our key. */
  readonly configured: readonly string[]
  /** Prefixes that this machine has routes to, those into the tunnel left out. */
  readonly liveNetworks: () => Promise<readonly string[]>
}

export interface DeviceParts {
  readonly version: string
  /** Our own public half. */
  readonly card: Card
  readonly addressing: Addressing
  /** The configured one. */
  readonly guard: GuardKind
  readonly store: StateStore
  readonly network: SignalNetwork
  readonly openSecret: (channel: SignalChannel, pinned: OtrFingerprint | undefined) => SecretChannel
  /** `context`: bytes both ends must agree on. */
  readonly agreement: (options: {
    readonly peerIdentity: IdentityPublicKey
    readonly context: Uint8Array
  }) => KeyAgreement
  /** @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED, ADDRESS_IN_USE */
  readonly openTunnel: (addresses: readonly string[]) => Promise<Tunnel>
  readonly watchNetwork: (listener: () => void) => Disposable
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

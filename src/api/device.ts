/**
 * One device of the private network, as a person or a program sees it: what `PunchGuard` (device/) is, what the control
 * API serves and what the command line prints. Every state comes with its reason, and with the one thing to do about it.
 */

import type { GuardKind, GuardStatus, PathStatus, SignalNetworkStatus } from './roles.ts'

/** Where a peer's story stands (session/state.ts has the transitions). */
export type PeerStateKind =
  /** Switched off here. */
  | 'down'
  /** Trying the endpoint that worked last. */
  | 'resuming'
  /** Looking for the peer on the signal networks. */
  | 'reaching'
  /** Found; agreeing on keys. */
  | 'securing'
  /** Keys agreed; opening a path. */
  | 'punching'
  /** A path is there; the tunnel is being set up on it. */
  | 'joining'
  /** Packets pass both ways. */
  | 'connected'
  /** The path went silent; a new one is being opened. */
  | 'healing'
  /** The last try failed; the next one has a date. */
  | 'waiting'
  /** The peer holds other keys than the pinned ones: nothing is tried any more. */
  | 'refused'

export interface PeerStatus {
  readonly name: string
  /** OTR fingerprint, five groups of hex digits. */
  readonly fingerprint: string
  readonly state: PeerStateKind
  /** Why it is in this state, in words. */
  readonly reason: string
  /** What would make it better; absent when nothing needs doing. */
  readonly hint?: string
  /** When the state began, wall time in ms. */
  readonly since: number
  readonly path: PathStatus | undefined
  /** The peer's addresses in the tunnel. */
  readonly addresses: readonly string[]
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Wall time in ms. */
  readonly lastHandshake: number | undefined
  /** The latest changes of state, oldest first, at most 20. */
  readonly history: readonly PeerChange[]
}

export interface PeerChange {
  /** Wall time in ms. */
  readonly at: number
  readonly state: PeerStateKind
  readonly reason: string
}

export interface DeviceGuardStatus extends GuardStatus {
  readonly kind: GuardKind
  readonly interface: string | undefined
}

export interface DeviceStatus {
  readonly name: string
  readonly version: string
  readonly up: boolean
  /** Our own OTR fingerprint. */
  readonly fingerprint: string
  readonly addresses: readonly string[]
  readonly guard: DeviceGuardStatus
  /** The one that peers punch to. */
  readonly udpPort: number | undefined
  readonly networks: readonly { readonly name: string; readonly status: SignalNetworkStatus }[]
  readonly peers: readonly PeerStatus[]
  /** Things a person should know that belong to no peer, such as a clock that is wrong. */
  readonly warnings: readonly string[]
}

/** One line of a device's timeline. */
export type DeviceEvent = { readonly at: number } & (
  | { readonly kind: 'network'; readonly network: string; readonly status: SignalNetworkStatus }
  | {
      readonly kind: 'pairing'
      readonly step: PairingStep
      readonly peer?: string
      readonly text: string
      readonly hint?: string
    }
  | {
      readonly kind: 'peer'
      readonly peer: string
      readonly state: PeerStateKind
      readonly reason: string
      readonly hint?: string
      readonly path?: PathStatus
    }
)

/** In order; `failed` ends a pairing, `paired` completes it. */
export type PairingStep = 'invited' | 'reaching' | 'reached' | 'secured' | 'proved' | 'paired' | 'failed'

export interface InviteText {
  /** `pgi1…`: to be typed or pasted on the other device. */
  readonly code: string
  /** Wall time in ms. */
  readonly expires: number
}

export interface Device extends AsyncDisposable {
  status(): DeviceStatus
  subscribe(listener: (event: DeviceEvent) => void): Disposable
  /** A new invite; it can be used once. Pairing goes on in the background and is told by `pairing` events. */
  invite(options?: { readonly validFor?: number }): Promise<InviteText>
  /**
   * Uses an invite of another device. Resolves with the new peer's name when both ends have pinned each other.
   * @throws PunchGuardError INVITE_INVALID, INVITE_EXPIRED, INVITE_OWN, INVITE_USED, PEER_EXISTS, PEER_REFUSED, TIMEOUT
   */
  join(code: string, options: { readonly signal: AbortSignal }): Promise<string>
  /** Opens the interface and keeps every peer connected, now and after a restart. */
  up(): Promise<void>
  down(): Promise<void>
  /** Unpins a peer and cuts it off. @throws PunchGuardError PEER_UNKNOWN */
  forget(peer: string): Promise<void>
  /** Our card, for pairing by hand. */
  exportCard(): string
  /** Pins another device's card. @throws PunchGuardError CARD_INVALID, PEER_EXISTS */
  importCard(card: string): Promise<string>
}

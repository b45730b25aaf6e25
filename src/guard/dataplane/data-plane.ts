/**
 * The seam between control and data. The control machine (wireguard/device.ts, main thread) does handshakes, timers and
 * peers; a data plane owns the work on each packet: TUN -> seal -> UDP, and UDP -> open -> replay window -> allowed IPs
 * -> TUN. Control speaks in commands; the plane answers in coalesced reports, which may come late: control never waits
 * for one, and a report states how things are, so that losing one to the next changes nothing.
 *
 * Commands are plain values in the order they hold; SecretKeys in them are handed over: the plane wipes them.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import type { SecretKey } from '../../api/keys.ts'
import type { GuardStatus } from '../../api/roles.ts'
import type { Prefix } from '../wireguard/allowed-ips.ts'

/** A peer as both sides name it. Never used again after the peer's removal. */
export type PeerId = number

/** One session's keys with the two indices that name it. */
export interface DataKeypair {
  /** In the datagrams we receive. */
  readonly localIndex: number
  /** In the datagrams we send. */
  readonly remoteIndex: number
  readonly sendKey: SecretKey
  readonly receiveKey: SecretKey
  /** Monotonic ms of control's clock. The plane neither seals nor opens after REJECT_AFTER_TIME. */
  readonly created: number
  /** Packets sealed after which `usedUp` is reported, and after which the plane seals no more. */
  readonly rekeyAfterMessages: number
  readonly rejectAfterMessages: number
  /** How far another plane has got with it: the next counter to send, and the one below which all count as received. */
  readonly progress?: { readonly send: number; readonly receive: number }
}

/** A session as one plane leaves it to the next. */
export interface HandedSession {
  readonly peer: PeerId
  readonly keypair: DataKeypair
  /** The one in use for sending. */
  readonly isSending: boolean
}

export type DataPlaneCommand =
  | { readonly kind: 'add-peer'; readonly peer: PeerId; readonly allowedIps: readonly Prefix[] }
  /** In place of the prefixes before; one that was another peer's moves. */
  | { readonly kind: 'set-allowed-ips'; readonly peer: PeerId; readonly allowedIps: readonly Prefix[] }
  /** Forgets the peer, its keypairs and what waits for it. */
  | { readonly kind: 'remove-peer'; readonly peer: PeerId }
  /**
   * Where datagrams of the peer go; nowhere for `undefined`, and then no roaming either. `revision` counts these
   * commands: a report names the one it knew, so that a move seen before the command does not undo it.
   */
  | {
      readonly kind: 'set-endpoint'
      readonly peer: PeerId
      readonly endpoint: Endpoint | undefined
      readonly revision: number
    }
  /** Opens datagrams with this keypair from now on; it is not yet used for sending. */
  | { readonly kind: 'install-keypair'; readonly peer: PeerId; readonly keypair: DataKeypair }
  /**
   * Seals with this keypair from now on, first what waits. With `confirm` at least one packet is sent, empty if need
   * be: it shows the responder that we hold the keys (whitepaper §5.4.5).
   */
  | { readonly kind: 'use-keypair'; readonly peer: PeerId; readonly localIndex: number; readonly confirm: boolean }
  /** Forgets the keypair and wipes its keys. */
  | { readonly kind: 'remove-keypair'; readonly peer: PeerId; readonly localIndex: number }
  /** Sends an empty packet now. Without a usable key that is a wish for a session, as any packet's. */
  | { readonly kind: 'send-keepalive'; readonly peer: PeerId }
  /** Drops the packets that wait for a session. */
  | { readonly kind: 'drop-queue'; readonly peer: PeerId }

/** How one peer's traffic stands. Times are monotonic ms of control's clock; `undefined`: never, or not now. */
export interface PeerActivity {
  /** Any packet sealed, also an empty one. */
  readonly lastSentAt: number | undefined
  readonly lastDataSentAt: number | undefined
  /** Any authenticated packet, also an empty one. */
  readonly lastReceivedAt: number | undefined
  readonly lastDataReceivedAt: number | undefined
  /** The first data sent after anything was received (or a keypair was installed). */
  readonly unansweredSince: number | undefined
  /** The first data received after anything was sent. */
  readonly unacknowledgedSince: number | undefined
  /** The first packet that found no usable keypair and waits since. */
  readonly waitingSince: number | undefined
  /** The youngest keypair with which the peer sent us anything. */
  readonly confirmed: number | undefined
  /** The keypair in use for sending, when it has sealed `rekeyAfterMessages` or more. */
  readonly usedUp: number | undefined
  /** The plane's endpoint of the peer: it follows authenticated packets (whitepaper §6.5 roaming). */
  readonly endpoint: Endpoint | undefined
  readonly endpointRevision: number
  /** Bytes of inner packets. */
  readonly sentBytes: number
  readonly receivedBytes: number
  /** Packets and datagrams of this peer that were dropped, by reason. */
  readonly dropped: Readonly<Record<string, number>>
}

/** A peer that has just been added. */
export const noActivity: PeerActivity = {
  lastSentAt: undefined,
  lastDataSentAt: undefined,
  lastReceivedAt: undefined,
  lastDataReceivedAt: undefined,
  unansweredSince: undefined,
  unacknowledgedSince: undefined,
  waitingSince: undefined,
  confirmed: undefined,
  usedUp: undefined,
  endpoint: undefined,
  endpointRevision: 0,
  sentBytes: 0,
  receivedBytes: 0,
  dropped: {},
}

export type DataPlaneEvent =
  | { readonly kind: 'report'; readonly peer: PeerId; readonly activity: PeerActivity }
  /** A WireGuard datagram of another type than 4. `bytes` are valid during the call only. */
  | { readonly kind: 'handshake-message'; readonly bytes: Uint8Array; readonly from: Endpoint }

export interface DataPlane extends Disposable {
  readonly status: GuardStatus
  apply(command: DataPlaneCommand): void
  /** Sets the one listener. `confirmed`, `waitingSince`, `usedUp` and moves are reported at once, the rest in 100 ms. */
  listen(listener: (event: DataPlaneEvent) => void): void
  /** Datagrams and packets of no known peer that were dropped, by reason. */
  dropped(): Readonly<Record<string, number>>
}

/** What the main thread and the workers of a data plane say to each other. Keys travel in shared memory, wiped on arrival. */

import type { Prefix } from '../wireguard/allowed-ips.ts'
import type { CryptoBackend } from './aead/aead.ts'
import type { PeerId } from './data-plane.ts'

/** A socket address as numbers, IPv4 in host order. */
export interface Ipv4Endpoint {
  readonly address: number
  readonly port: number
}

export type WorkerCommand =
  /** The descriptors, and whether the TUN takes merged UDP. */
  | { readonly kind: 'start'; readonly socket: number; readonly tun: number; readonly mayMergeUdp: boolean }
  /** For tests: if this worker reads the TUN, the other one does from now on. */
  | { readonly kind: 'give-tun' }
  /** For tests: the worker ends as a bug would end it. */
  | { readonly kind: 'fail' }
  | {
      readonly kind: 'add-peer'
      readonly peer: PeerId
      readonly allowedIps: readonly Prefix[]
      readonly row: Float64Array
    }
  | { readonly kind: 'set-allowed-ips'; readonly peer: PeerId; readonly allowedIps: readonly Prefix[] }
  | { readonly kind: 'remove-peer'; readonly peer: PeerId }
  | {
      readonly kind: 'set-endpoint'
      readonly peer: PeerId
      readonly endpoint: Ipv4Endpoint | undefined
      readonly revision: number
    }
  | {
      readonly kind: 'install-keypair'
      readonly peer: PeerId
      readonly localIndex: number
      readonly remoteIndex: number
      /** 32 bytes of shared memory each; the transmit worker opens nothing. */
      readonly sendKey: Uint8Array
      readonly receiveKey?: Uint8Array
      readonly created: number
      readonly rekeyAfterMessages: number
      readonly rejectAfterMessages: number
      /** The counter to send next: one number, shared by both workers, for whoever is inside the turnstile. */
      readonly counter: Float64Array
      /** Another plane has received up to here: all below count as received. */
      readonly receivedBelow: number
    }
  | { readonly kind: 'use-keypair'; readonly peer: PeerId; readonly localIndex: number; readonly confirm: boolean }
  | { readonly kind: 'remove-keypair'; readonly peer: PeerId; readonly localIndex: number }
  | { readonly kind: 'send-keepalive'; readonly peer: PeerId }
  | { readonly kind: 'drop-queue'; readonly peer: PeerId }

export type PeerCommand = Exclude<WorkerCommand, { kind: 'start' | 'fail' | 'give-tun' }>

export type WorkerEvent =
  | {
      readonly kind: 'ready'
      readonly backend: CryptoBackend
      readonly refused: readonly string[]
      /** The number of its thread, or 0. */
      readonly thread: number
    }
  | { readonly kind: 'started'; readonly offloads: readonly string[] }
  /** Something that ran with an offload runs without it from now on. */
  | { readonly kind: 'fell-back'; readonly what: string; readonly reason: string }
  /** Rows have changed; `urgent` for what control waits for. */
  | { readonly kind: 'activity'; readonly urgent: boolean }
  | { readonly kind: 'moved'; readonly peer: PeerId; readonly endpoint: Ipv4Endpoint; readonly revision: number }
  /** There are datagrams in the ring (datagram-ring.ts). */
  | { readonly kind: 'datagrams' }
  /** The interface is gone. */
  | { readonly kind: 'lost'; readonly reason: string }

export interface WorkerSetup {
  readonly role: 'transmit' | 'receive'
  readonly interfaceName: string
  /** The eventfds that end every wait of a worker. */
  readonly wakes: Readonly<Record<'transmit' | 'receive', number>>
  readonly turnstile: SharedArrayBuffer
  readonly duty: SharedArrayBuffer
  readonly mtu: number
  /** Control's clock minus the system's monotonic clock, ms. */
  readonly clockOffset: number
  readonly control: Int32Array
  readonly drops: Float64Array
  readonly ring: SharedArrayBuffer
  /** Tried in this order. */
  readonly backends: readonly CryptoBackend[]
}

/** Places in `WorkerSetup.control`. */
export const control = {
  /** Counts the commands posted, so that a busy worker need not ask the port. */
  posted: 0,
  stop: 1,
  stopped: 2,
  /** 0: nothing new, 1: an `activity` is on its way, 2: an urgent one is. */
  reported: 3,
} as const

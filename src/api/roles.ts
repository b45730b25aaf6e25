/**
 * The four roles and the words they share. A session is written against these shapes only:
 *
 *   signal  reach the other device     SignalNetwork, SignalChannel
 *   secret  know that it is them       SecretChannel, KeyAgreement
 *   punch   open a path                Puncher, Path
 *   guard   carry the packets          Guard, GuardPeer
 *
 * Events arrive synchronously, in order, from the one thread; a listener must not throw.
 */

import type { Endpoint } from './endpoint.ts'
import type { OtrFingerprint, SecretKey, TunnelPublicKey } from './keys.ts'

// ---------------------------------------------------------------------------------------------------- signal

export type SignalNetworkStatus =
  | { readonly kind: 'connecting'; readonly reason: string }
  | { readonly kind: 'online'; readonly detail: string }

/** A device that is not open here wrote to us for the first time. `address` can be given to `open`. */
export interface Introduction {
  readonly address: string
  readonly text: string
}

/** A network that belongs to nobody, on which a device has an address of its own. */
export interface SignalNetwork extends AsyncDisposable {
  /** `tox`, `loopback`, … */
  readonly name: string
  /** Our address, as it goes into a card. */
  readonly address: string
  status(): SignalNetworkStatus
  /**
   * Keeps trying to reach the device until the channel is disposed. `introduction` (1..900 bytes of UTF-8) is shown to
   * it as long as it does not know us; without one, the device must have introduced itself or opened us too.
   * @throws PunchGuardError CARD_INVALID when the address is not one of this network
   */
  open(address: string, options?: { readonly introduction?: string }): SignalChannel
  introductions(listener: (introduction: Introduction) => void): Disposable
}

export type SignalEvent =
  | { readonly kind: 'online' }
  | { readonly kind: 'offline'; readonly reason: string }
  | { readonly kind: 'text'; readonly text: string }

/** Short texts to and from one device: ordered, lost only when the channel goes offline. Not confidential to us. */
export interface SignalChannel extends AsyncDisposable {
  readonly online: boolean
  /** Longest text in UTF-8 bytes. */
  readonly maximumTextBytes: number
  /** False when the device is offline or the queue is full: the text was not taken. */
  send(text: string): boolean
  subscribe(listener: (event: SignalEvent) => void): Disposable
  /** A hint that the network may have changed: check the way to the device now instead of at the next timer. */
  nudge(): void
}

// ---------------------------------------------------------------------------------------------------- secret

export type SecretState =
  /** Nothing is sent: the device is offline, or the conversation ended. */
  | { readonly kind: 'closed'; readonly reason: string }
  | { readonly kind: 'agreeing' }
  | { readonly kind: 'secure'; readonly fingerprint: OtrFingerprint; readonly sessionId: Uint8Array }
  /** The device holds another key than the pinned one. Stays so until the channel is disposed. */
  | { readonly kind: 'refused'; readonly fingerprint: OtrFingerprint }

export type SecretEvent =
  | { readonly kind: 'secure'; readonly fingerprint: OtrFingerprint; readonly sessionId: Uint8Array }
  | { readonly kind: 'insecure'; readonly reason: string }
  | { readonly kind: 'refused'; readonly fingerprint: OtrFingerprint }
  | { readonly kind: 'message'; readonly message: Uint8Array }
  /** A run of the proof ended: both sides know the same secret, or not. */
  | { readonly kind: 'proof'; readonly ok: boolean }

/** Messages to and from one device, confidential and known to come from the holder of `fingerprint`. */
export interface SecretChannel extends AsyncDisposable {
  readonly state: SecretState
  /** False when the channel is not secure or the signal channel did not take it. At most once, in order. */
  send(message: Uint8Array): boolean
  /** Proves to the device that we know `secret`, and learns whether it does, without showing it (OTR v3 SMP). */
  prove(secret: Uint8Array): void
  /** The secret with which the device's own `prove` is answered; without one it is answered by an abort. */
  expectProof(secret: Uint8Array | undefined): void
  subscribe(listener: (event: SecretEvent) => void): Disposable
}

/** What one agreement is bound to: it holds only inside this secret conversation, between these two devices. */
export interface KeyAgreementBinding {
  /** Exactly one side is the initiator. */
  readonly initiator: boolean
  readonly sessionId: Uint8Array
  readonly ownFingerprint: OtrFingerprint
  readonly peerFingerprint: OtrFingerprint
}

export interface KeyAgreementStep {
  /** To be sent to the peer's run. */
  readonly send?: Uint8Array
  /** Set once, on the step that completes the run. */
  readonly presharedKey?: SecretKey
  /** The peer broke the rules or is not who was pinned; the run is over. */
  readonly refused?: string
}

/** Post-quantum agreement on WireGuard's pre-shared key, signed by the pinned identities, inside the secret channel. */
export interface KeyAgreement {
  begin(binding: KeyAgreementBinding): KeyAgreementRun
}

export interface KeyAgreementRun {
  /** The initiator's first message; nothing for the responder. */
  start(): KeyAgreementStep
  receive(message: Uint8Array): KeyAgreementStep
}

// ---------------------------------------------------------------------------------------------------- punch

/** RFC 8445 §5.1.1. */
export type CandidateKind = 'host' | 'server-reflexive' | 'peer-reflexive' | 'relayed'

export interface PunchCandidate {
  readonly kind: CandidateKind
  readonly endpoint: Endpoint
  /** The base's endpoint for reflexive candidates; absent when it should not be shown. */
  readonly related?: Endpoint
  readonly foundation: string
  /** RFC 8445 §5.1.2, 32 bits. */
  readonly priority: number
}

/** What two punchers tell each other through the secret channel. A new generation is an ICE restart. */
export type PunchMessage =
  | { readonly kind: 'description'; readonly generation: number; readonly ufrag: string; readonly password: string }
  | { readonly kind: 'candidate'; readonly generation: number; readonly candidate: PunchCandidate }
  | { readonly kind: 'end-of-candidates'; readonly generation: number }

export interface PunchExchange {
  send(message: PunchMessage): void
  subscribe(listener: (message: PunchMessage) => void): Disposable
}

/** How a path was found. `cached`: the endpoint of an earlier path still answered. */
export type PathKind = CandidateKind | 'cached'

export interface PathStatus {
  readonly kind: PathKind
  readonly remote: Endpoint
  /** Our address as the peer sees it, when known. */
  readonly mapped: Endpoint | undefined
  /** Last measured, ms. */
  readonly roundTrip: number | undefined
  /** Largest IP packet that is known to pass, bytes; `undefined` until something was found out. */
  readonly mtu?: number | undefined
}

/** A way to the peer on the shared socket, checked in both directions with authenticated STUN. */
export interface Path extends AsyncDisposable {
  status(): PathStatus
  /** Resolves, with the reason in words, as soon as the path is found silent; never rejects. */
  readonly lost: Promise<string>
  /** The peer's endpoint moved (it answers from elsewhere), or `mtu` changed. */
  subscribe(listener: (remote: Endpoint) => void): Disposable
  /** Something looks wrong: probe now and quickly. */
  check(): void
  /** Answers a peer that restarted and resumes with this secret, and follows it, until disposed. */
  acceptResume(options: { readonly secret: SecretKey; readonly controlling: boolean }): Disposable
}

export interface PunchOptions {
  readonly exchange: PunchExchange
  /** RFC 8445 §6.1.1. Exactly one side. A conflict is repaired. */
  readonly controlling: boolean
  readonly signal: AbortSignal
}

export interface ResumeOptions {
  /** Where the peer was when a path last worked. */
  readonly remote: Endpoint
  /** Known to both ends from their last meeting; the probes are authenticated with keys derived from it. */
  readonly secret: SecretKey
  /** Which of the two derived keys is ours. Exactly one side. */
  readonly controlling: boolean
  readonly signal: AbortSignal
}

export interface Puncher extends AsyncDisposable {
  /**
   * Exchanges candidates until a pair is nominated. Every call is a new generation on the same socket.
   * @throws PunchGuardError PUNCH_NO_PATH; the signal's reason when aborted
   */
  open(options: PunchOptions): Promise<Path>
  /** Probes an endpoint that worked before, until it answers or `signal` aborts. */
  resume(options: ResumeOptions): Promise<Path>
}

// ---------------------------------------------------------------------------------------------------- guard

export type GuardKind = 'embedded' | 'kernel' | 'wireguard-go' | 'openvpn'

export interface GuardPeerOptions {
  readonly publicKey: TunnelPublicKey
  readonly presharedKey: SecretKey | undefined
  /** CIDR prefixes the peer may use inside the tunnel. */
  readonly allowedIps: readonly string[]
}

export type GuardEvent =
  /** A handshake completed and the peer has shown that it holds the new keys: packets pass both ways. */
  | { readonly kind: 'established' }
  /** We sent, and nothing came back for a second: the path may be dead. */
  | { readonly kind: 'unanswered' }

export interface GuardPeerStats {
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Monotonic ms, `undefined` when never. */
  readonly lastHandshakeAt: number | undefined
  readonly lastReceivedAt: number | undefined
  readonly endpoint: Endpoint | undefined
  /** Datagrams that were dropped, by reason. */
  readonly dropped: Readonly<Record<string, number>>
}

/** How a guard does its work. */
export interface GuardStatus {
  /** Who works on the packets, if anybody yet: two workers of ours, our main thread, the kernel, or another program. */
  readonly dataPlane: 'none' | 'starting' | 'workers' | 'plain' | 'kernel' | 'process'
  /** Which implementation of the cipher, `openssl-raw` for example, or of the guard: `wireguard-go 0.0.20220316`. */
  readonly implementation: string | undefined
  /** What the system does for many packets at once: `tso`, `uso`, `udp-segment`, `udp-gro`. */
  readonly offloads: readonly string[]
}

export interface GuardPeer extends AsyncDisposable {
  /** Where packets for the peer go in: the guard's interface, or one of the peer's own. */
  readonly interfaceName: string
  /**
   * Sends over this path from now on, or nowhere. `initiate` starts a handshake at once; otherwise one is answered.
   * A running tunnel moves over without losing its keys.
   */
  use(path: Path | undefined, options?: { readonly initiate?: boolean }): void
  /** Takes effect with the next handshake. */
  setPresharedKey(key: SecretKey): void
  /** In place of the prefixes before. @throws PunchGuardError CONFIG_INVALID for what is no prefix */
  setAllowedIps(allowedIps: readonly string[]): Promise<void>
  /** What the peer's guard has told of itself, before `use`: its `parameters`. */
  meet(parameters: Uint8Array): void
  stats(): GuardPeerStats
  subscribe(listener: (event: GuardEvent) => void): Disposable
}

/** The VPN: one interface, any number of peers. Addresses and routes are set by whoever opened it. */
export interface Guard extends AsyncDisposable {
  readonly kind: GuardKind
  readonly interfaceName: string
  /** What a peer's guard must know of ours beforehand; empty for WireGuard, at most 256 bytes. */
  readonly parameters: Uint8Array
  status(): GuardStatus
  /** @throws PunchGuardError CONFIG_INVALID, PEER_EXISTS, GUARD_UNAVAILABLE */
  addPeer(options: GuardPeerOptions): Promise<GuardPeer>
}

/** The guards that speak the same protocol understand each other. */
export const guardProtocols: Readonly<Record<GuardKind, 'wireguard' | 'openvpn'>> = {
  embedded: 'wireguard',
  kernel: 'wireguard',
  'wireguard-go': 'wireguard',
  openvpn: 'openvpn',
}

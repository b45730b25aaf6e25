/**
 * The control half of a WireGuard device as a pure machine (whitepaper §5 and §6): handshake messages, peers, timers and
 * the defence against floods. Inputs carry the time; outputs are effects. Transport messages (type 4) never come here:
 * a data plane opens and seals them, is told what to do by `data-plane` effects, and tells of it through `report`.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import { SecretKey } from '../../api/keys.ts'
import { assertNever } from '../../util/assert-never.ts'
import { toHex } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import type { PeerActivity, PeerId } from '../dataplane/data-plane.ts'
import type { Prefix } from './allowed-ips.ts'
import { REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES } from './constants.ts'
import { CookieChecker } from './cookie.ts'
import { type DhKeyPair, dh, importKeyPair, KEY_SIZE } from './crypto.ts'
import { DropCounter } from './drop-counter.ts'
import type { DeviceEffect, Moment } from './effects.ts'
import { identifyInitiation } from './handshake.ts'
import { IndexTable } from './index-table.ts'
import { AddressLimiter, LoadGauge } from './load.ts'
import { type CookieReply, decodeHandshakeMessage, type Initiation, type Response } from './messages.ts'
import { type MessageLimits, Peer, type PeerContext } from './peer.ts'
import { nextTimestamp } from './tai64n.ts'

export interface DeviceOptions {
  readonly privateKey: SecretKey
  readonly random: Random
  /**
   * The last timestamp an earlier run sent (`lastTimestamp`). With it, peers that outlived that run accept our
   * initiations even when the clock was set back in between.
   */
  readonly lastTimestamp?: Uint8Array | undefined
  /** For tests and measurements; the protocol's own otherwise. */
  readonly limits?: Partial<MessageLimits>
  /** Handshake messages a second above which senders need a cookie. */
  readonly underLoadMessages?: number
}

export interface PeerOptions {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** Copied. */
  readonly presharedKey?: SecretKey | undefined
  readonly allowedIps: readonly Prefix[]
  /** ms; 0, the default, for none. */
  readonly persistentKeepalive?: number
}

export interface PeerStats {
  readonly endpoint: Endpoint | undefined
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly lastHandshakeAt: number | undefined
  readonly lastReceivedAt: number | undefined
  readonly dropped: Readonly<Record<string, number>>
}

/** Why a message was dropped before its peer was known. */
export type DeviceDrop =
  | 'malformed'
  | 'bad-mac1'
  | 'cookie-required'
  | 'rate-limited'
  | 'unauthenticated'
  | 'unknown-peer'
  | 'unknown-index'

export class WireGuardDevice {
  readonly #identity: DhKeyPair
  readonly #context: PeerContext
  readonly #cookies: CookieChecker
  readonly #load: LoadGauge
  readonly #addresses: AddressLimiter = new AddressLimiter()
  readonly #indices: IndexTable<Peer>
  readonly #peers: Map<PeerId, Peer> = new Map()
  readonly #peersByKey: Map<string, Peer> = new Map()
  readonly #drops: DropCounter<DeviceDrop> = new DropCounter()
  #lastTimestamp: Uint8Array | undefined
  #nextPeerId: PeerId = 1

  constructor(options: DeviceOptions) {
    const { privateKey, random, lastTimestamp, limits, underLoadMessages } = options
    this.#identity = importKeyPair(privateKey.reveal())
    this.#cookies = new CookieChecker(this.#identity.publicKey, random)
    this.#load = new LoadGauge(underLoadMessages)
    this.#indices = new IndexTable(random)
    this.#lastTimestamp = lastTimestamp
    this.#context = {
      identity: this.#identity,
      indices: this.#indices,
      random,
      limits: { rekeyAfterMessages: REKEY_AFTER_MESSAGES, rejectAfterMessages: REJECT_AFTER_MESSAGES, ...limits },
      timestamp: (wallTime) => this.#takeTimestamp(wallTime),
    }
  }

  get publicKey(): Uint8Array {
    return this.#identity.publicKey
  }

  /** The last timestamp we sent, 12 bytes, to be handed to the next run. */
  get lastTimestamp(): Uint8Array | undefined {
    return this.#lastTimestamp
  }

  /** How many indices are in use: at most four for each peer. */
  get indexCount(): number {
    return this.#indices.size
  }

  /** `undefined` when there is such a peer already, when the key is our own, or when it is no usable point. */
  addPeer(options: PeerOptions): { readonly peer: PeerId; readonly effects: readonly DeviceEffect[] } | undefined {
    const { publicKey, presharedKey, allowedIps, persistentKeepalive = 0 } = options
    const name = toHex(publicKey)
    if (publicKey.length !== KEY_SIZE || this.#peersByKey.has(name) || name === toHex(this.publicKey)) return undefined
    const staticStatic = dh(this.#identity, publicKey)
    if (staticStatic === undefined) return undefined
    const remote = {
      publicKey: Uint8Array.from(publicKey),
      staticStatic: new SecretKey(staticStatic),
      presharedKey: new SecretKey(Uint8Array.from(presharedKey?.reveal() ?? new Uint8Array(KEY_SIZE))),
    }
    const peer = new Peer(this.#context, { id: this.#nextPeerId, remote, persistentKeepalive })
    this.#nextPeerId++
    this.#peers.set(peer.id, peer)
    this.#peersByKey.set(name, peer)
    return {
      peer: peer.id,
      effects: [{ kind: 'data-plane', command: { kind: 'add-peer', peer: peer.id, allowedIps } }],
    }
  }

  setAllowedIps(id: PeerId, allowedIps: readonly Prefix[]): readonly DeviceEffect[] {
    if (!this.#peers.has(id)) return []
    return [{ kind: 'data-plane', command: { kind: 'set-allowed-ips', peer: id, allowedIps } }]
  }

  removePeer(id: PeerId): readonly DeviceEffect[] {
    const out: DeviceEffect[] = []
    const peer = this.#peers.get(id)
    if (peer === undefined) return out
    peer.dispose(out)
    this.#peers.delete(id)
    this.#peersByKey.delete(toHex(peer.publicKey))
    return out
  }

  /** Sends to the peer there from now on, or nowhere. `initiate`: a handshake starts at once and is repeated eagerly. */
  use(
    id: PeerId,
    endpoint: Endpoint | undefined,
    options: { readonly initiate: boolean; readonly moment: Moment },
  ): readonly DeviceEffect[] {
    const out: DeviceEffect[] = []
    this.#peers.get(id)?.use(endpoint, { ...options, out })
    return out
  }

  /** The peer of the path in use is now there. */
  move(id: PeerId, endpoint: Endpoint, moment: Moment): readonly DeviceEffect[] {
    const out: DeviceEffect[] = []
    this.#peers.get(id)?.move(endpoint, moment, out)
    return out
  }

  setPresharedKey(id: PeerId, key: SecretKey): void {
    this.#peers.get(id)?.setPresharedKey(key)
  }

  /** A datagram of type 1, 2 or 3; its bytes are not kept. Everything that does not fit is dropped and counted. */
  receive(datagram: Uint8Array, from: Endpoint, moment: Moment): readonly DeviceEffect[] {
    const out: DeviceEffect[] = []
    const message = decodeHandshakeMessage(datagram)
    switch (message?.kind) {
      case undefined:
        this.#drops.count('malformed')
        break
      case 'initiation':
      case 'response':
        if (this.#admits(datagram, { message, from, moment, out })) this.#handle(message, { from, moment, out })
        break
      case 'cookie-reply':
        this.#receiveCookieReply(message, moment)
        break
      default:
        assertNever(message)
    }
    return out
  }

  /** How a peer's traffic stands, from the data plane; what that makes due is done. */
  report(id: PeerId, activity: PeerActivity, moment: Moment): readonly DeviceEffect[] {
    const out: DeviceEffect[] = []
    const peer = this.#peers.get(id)
    peer?.report(activity, moment, out)
    peer?.tick(moment, out)
    return out
  }

  tick(moment: Moment): readonly DeviceEffect[] {
    const out: DeviceEffect[] = []
    for (const peer of this.#peers.values()) peer.tick(moment, out)
    return out
  }

  /** When `tick` has something to do, monotonic ms. */
  get deadline(): number | undefined {
    let first: number | undefined
    for (const peer of this.#peers.values()) {
      const deadline = peer.deadline()
      if (deadline !== undefined && (first === undefined || deadline < first)) first = deadline
    }
    return first
  }

  peerStats(id: PeerId): PeerStats | undefined {
    const peer = this.#peers.get(id)
    if (peer === undefined) return undefined
    const { receivedBytes, sentBytes } = peer.activity
    const { endpoint, lastSessionAt: lastHandshakeAt, lastReceivedAt } = peer
    return { endpoint, receivedBytes, sentBytes, lastHandshakeAt, lastReceivedAt, dropped: peer.dropped() }
  }

  /** Handshake messages that no peer was found for, by reason. */
  dropped(): Readonly<Record<string, number>> {
    return this.#drops.counts()
  }

  /** §5.3: knows whom it writes to and, under load, has shown where it is. */
  #admits(
    datagram: Uint8Array,
    options: {
      readonly message: Initiation | Response
      readonly from: Endpoint
      readonly moment: Moment
      readonly out: DeviceEffect[]
    },
  ): boolean {
    const { message, from, moment, out } = options
    const { now } = moment
    if (!this.#cookies.hasValidMac1(datagram)) {
      this.#drops.count('bad-mac1')
      return false
    }
    if (!this.#load.count(now)) return true
    if (!this.#cookies.hasValidMac2(datagram, from, now)) {
      const reply = this.#cookies.createReply(datagram, from, { receiver: message.sender, now })
      out.push({ kind: 'datagram', bytes: reply, to: from })
      this.#drops.count('cookie-required')
      return false
    }
    if (this.#addresses.allows(from.address, now)) return true
    this.#drops.count('rate-limited')
    return false
  }

  #handle(
    message: Initiation | Response,
    options: { readonly from: Endpoint; readonly moment: Moment; readonly out: DeviceEffect[] },
  ): void {
    if (message.kind === 'response') {
      const peer = this.#indices.lookup(message.receiver)
      if (peer === undefined) this.#drops.count('unknown-index')
      else peer.countDrop(peer.receiveResponse(message, options))
      return
    }
    const identified = identifyInitiation(this.#identity, message)
    const peer = identified === undefined ? undefined : this.#peersByKey.get(toHex(identified.initiator))
    if (identified === undefined) this.#drops.count('unauthenticated')
    else if (peer === undefined) this.#drops.count('unknown-peer')
    else peer.countDrop(peer.receiveInitiation(message, { identified, ...options }))
  }

  #receiveCookieReply(message: CookieReply, moment: Moment): void {
    const peer = this.#indices.lookup(message.receiver)
    if (peer === undefined) this.#drops.count('unknown-index')
    else peer.countDrop(peer.receiveCookieReply(message, moment.now))
  }

  #takeTimestamp(wallTime: number): Uint8Array {
    this.#lastTimestamp = nextTimestamp(wallTime, this.#lastTimestamp)
    return this.#lastTimestamp
  }
}

/**
 * One peer of a device, whitepaper §6: its handshakes, its three keypairs and its timers. Packets are not here: they are
 * the data plane's, which hears commands and tells how the traffic stands (dataplane/data-plane.ts).
 */

import { type Endpoint, sameEndpoint } from '../../api/endpoint.ts'
import { SecretKey } from '../../api/keys.ts'
import { assertNever } from '../../util/assert-never.ts'
import { type Random, randomBelow } from '../../util/random.ts'
import { type DataPlaneCommand, noActivity, type PeerActivity, type PeerId } from '../dataplane/data-plane.ts'
import {
  EAGER_RETRANSMIT,
  INITIATION_FLOOD,
  INITIATION_SPACING,
  REKEY_TIMEOUT,
  RETRANSMIT_JITTER,
} from './constants.ts'
import { CookieJar } from './cookie.ts'
import type { DhKeyPair } from './crypto.ts'
import { DropCounter, sumCounts } from './drop-counter.ts'
import type { DeviceEffect, Moment } from './effects.ts'
import {
  type ConsumedInitiation,
  consumeInitiation,
  consumeResponse,
  createInitiation,
  createResponse,
  type IdentifiedInitiation,
  type RemoteStatic,
  type SentInitiation,
  type TransportKeys,
} from './handshake.ts'
import type { IndexTable } from './index-table.ts'
import {
  confirmNext,
  installAsInitiator,
  installAsResponder,
  isUsable,
  type Keypair,
  type Keypairs,
  type KeypairsChange,
  listKeypairs,
  noKeypairs,
} from './keypair.ts'
import type { CookieReply, Initiation, Response } from './messages.ts'
import { isLater } from './tai64n.ts'
import { type Attempt, dueRule, nextDeadline, type Standing, type TimerName } from './timers.ts'

/** Why a handshake message of a known peer was dropped. */
export type PeerDrop =
  | 'no-path'
  | 'unauthenticated'
  | 'replayed-initiation'
  | 'initiation-flood'
  | 'unexpected-response'
  | 'unexpected-cookie'

export interface MessageLimits {
  readonly rekeyAfterMessages: number
  readonly rejectAfterMessages: number
}

/** What the peers of a device share. */
export interface PeerContext {
  readonly identity: DhKeyPair
  readonly indices: IndexTable<Peer>
  readonly random: Random
  readonly limits: MessageLimits
  /** A timestamp later than every one before. */
  readonly timestamp: (wallTime: number) => Uint8Array
}

type Handshake =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'initiated'
      readonly localIndex: number
      readonly sent: SentInitiation
      readonly attempt: Attempt
      /** The delays before the next initiations of this series; REKEY_TIMEOUT when there are no more. */
      readonly delays: readonly number[]
    }

/** A session that began while no one waited for it: the path it came on may be handed to us a moment later. */
interface EarlySession {
  readonly keypair: Keypair
  readonly at: number
}

/** An authentic initiation that came before there was a path: the news of the path may come a moment later. */
interface HeldInitiation {
  readonly initiation: ConsumedInitiation
  readonly from: Endpoint
  readonly at: number
}

const longAgo = Number.NEGATIVE_INFINITY

export class Peer {
  readonly id: PeerId
  readonly #context: PeerContext
  #remote: RemoteStatic
  readonly #cookieJar: CookieJar
  readonly #persistentKeepalive: number
  readonly #drops: DropCounter<PeerDrop> = new DropCounter()
  #endpoint: Endpoint | undefined
  #endpointRevision = 0
  #handshake: Handshake = { kind: 'none' }
  #keypairs: Keypairs = noKeypairs
  #activity: PeerActivity = noActivity
  /** The greatest timestamp of an accepted initiation. */
  #lastTimestamp: Uint8Array | undefined
  #lastInitiationReceivedAt = longAgo
  #lastHandshakeSentAt: number | undefined
  #lastSessionAt: number | undefined
  #keysSince: number | undefined
  #settledAt = longAgo
  #heardAt = longAgo
  #keepaliveAt = longAgo
  #doubtedAt = longAgo
  #jitter = 0
  /** `use` was called and no session has begun since. */
  #isAwaited = false
  #early: EarlySession | undefined
  #held: HeldInitiation | undefined

  constructor(
    context: PeerContext,
    options: { readonly id: PeerId; readonly remote: RemoteStatic; readonly persistentKeepalive: number },
  ) {
    this.#context = context
    this.id = options.id
    this.#remote = options.remote
    this.#cookieJar = new CookieJar(options.remote.publicKey)
    this.#persistentKeepalive = options.persistentKeepalive
  }

  get publicKey(): Uint8Array {
    return this.#remote.publicKey
  }

  get endpoint(): Endpoint | undefined {
    return this.#endpoint
  }

  get activity(): PeerActivity {
    return this.#activity
  }

  /** When the current session began. */
  get lastSessionAt(): number | undefined {
    return this.#lastSessionAt
  }

  /** When an authenticated message of the peer last arrived. */
  get lastReceivedAt(): number | undefined {
    const at = Math.max(this.#heardAt, this.#activity.lastReceivedAt ?? longAgo)
    return at === longAgo ? undefined : at
  }

  dropped(): Readonly<Record<string, number>> {
    return sumCounts(this.#activity.dropped, this.#drops.counts())
  }

  deadline(): number | undefined {
    return nextDeadline(this.#standing())
  }

  /** A new way to the peer, or none. A session that is up moves over at once, with an authenticated packet. */
  use(
    endpoint: Endpoint | undefined,
    options: { readonly initiate: boolean; readonly moment: Moment; readonly out: DeviceEffect[] },
  ): void {
    const { initiate, moment, out } = options
    this.move(endpoint, moment, out)
    this.#isAwaited = endpoint !== undefined
    const held = this.#held
    this.#held = undefined
    if (endpoint === undefined) return
    if (held !== undefined && moment.now - held.at < REKEY_TIMEOUT) this.#respond(held, moment, out)
    if (initiate) this.#initiateEagerly(moment, out)
    else if (this.#cameEarly(endpoint, moment.now)) this.#announce(out)
  }

  /** The peer is now elsewhere on the same path. */
  move(endpoint: Endpoint | undefined, moment: Moment, out: DeviceEffect[]): void {
    this.#setEndpoint(endpoint, out)
    if (endpoint === undefined) this.#endAttempt()
    else if (isUsable(this.#keypairs.current, moment.now)) this.#command({ kind: 'send-keepalive', peer: this.id }, out)
  }

  /** The next handshake uses it; 32 bytes, copied. */
  setPresharedKey(key: SecretKey): void {
    this.#remote.presharedKey.wipe()
    this.#remote = { ...this.#remote, presharedKey: new SecretKey(Uint8Array.from(key.reveal())) }
    this.#early = undefined
  }

  /** The reason when it was dropped; one that is not authentic and new has changed nothing. */
  receiveInitiation(
    message: Initiation,
    options: {
      readonly identified: IdentifiedInitiation
      readonly from: Endpoint
      readonly moment: Moment
      readonly out: DeviceEffect[]
    },
  ): PeerDrop | undefined {
    const { identified, from, moment, out } = options
    const initiation = consumeInitiation(identified, this.#remote, message)
    if (initiation === undefined) return 'unauthenticated'
    const { timestamp } = initiation
    if (this.#lastTimestamp !== undefined && !isLater(timestamp, this.#lastTimestamp)) return 'replayed-initiation'
    if (moment.now - this.#lastInitiationReceivedAt < INITIATION_FLOOD) return 'initiation-flood'

    this.#lastTimestamp = Uint8Array.from(timestamp)
    this.#lastInitiationReceivedAt = moment.now
    const held = { initiation, from: placeOf(from), at: moment.now }
    if (this.#endpoint !== undefined) return this.#respond(held, moment, out)
    this.#held = held
    return 'no-path'
  }

  /** The reason when it was dropped; nothing has changed then. */
  receiveResponse(
    message: Response,
    options: { readonly from: Endpoint; readonly moment: Moment; readonly out: DeviceEffect[] },
  ): PeerDrop | undefined {
    const { moment, out } = options
    const from = placeOf(options.from)
    const handshake = this.#handshake
    if (handshake.kind !== 'initiated' || handshake.localIndex !== message.receiver) return 'unexpected-response'
    const keys = consumeResponse(this.#context.identity, this.#remote, { sent: handshake.sent, message })
    if (keys === undefined) return 'unauthenticated'

    this.#handshake = { kind: 'none' }
    handshake.sent.state.wipe()
    this.#heardFrom(from, moment, out)
    const keypair: Keypair = { localIndex: handshake.localIndex, created: moment.now, initiator: true, from }
    const old = this.#keypairs.current
    const change = installAsInitiator(this.#keypairs, keypair)
    this.#install(keypair, { change, keys, sender: message.sender, out })
    this.#begin(keypair, { old, moment, out })
    return undefined
  }

  receiveCookieReply(message: CookieReply, now: number): PeerDrop | undefined {
    return this.#cookieJar.consumeReply(message, now) ? undefined : 'unexpected-cookie'
  }

  /** Counts a message that one of the above dropped. */
  countDrop(reason: PeerDrop | undefined): void {
    if (reason !== undefined) this.#drops.count(reason)
  }

  /** How the traffic stands, from the data plane; possibly late. */
  report(activity: PeerActivity, moment: Moment, out: DeviceEffect[]): void {
    this.#activity = activity
    if (activity.endpointRevision === this.#endpointRevision && this.#endpoint !== undefined)
      this.#endpoint = activity.endpoint
    const { current, next } = this.#keypairs
    if (next === undefined || activity.confirmed !== next.localIndex) return
    this.#endAttempt()
    this.#change(confirmNext(this.#keypairs), out)
    this.#begin(next, { old: current, moment, out })
  }

  /** Does what is due. */
  tick(moment: Moment, out: DeviceEffect[]): void {
    for (;;) {
      const rule = dueRule(this.#standing(), moment.now)
      if (rule === undefined) return
      this.#perform(rule, moment, out)
    }
  }

  dispose(out: DeviceEffect[]): void {
    this.#endAttempt()
    this.#held?.initiation.state.wipe()
    for (const keypair of listKeypairs(this.#keypairs)) this.#context.indices.release(keypair.localIndex)
    this.#keypairs = noKeypairs
    this.#remote.staticStatic.wipe()
    this.#remote.presharedKey.wipe()
    this.#command({ kind: 'remove-peer', peer: this.id }, out)
  }

  #standing(): Standing {
    return {
      reachable: this.#endpoint !== undefined,
      attempt: this.#handshake.kind === 'initiated' ? this.#handshake.attempt : undefined,
      lastHandshakeSentAt: this.#lastHandshakeSentAt,
      current: this.#keypairs.current,
      activity: this.#activity,
      settledAt: this.#settledAt,
      heardAt: this.#heardAt,
      keysSince: this.#keysSince,
      keepaliveAt: this.#keepaliveAt,
      doubtedAt: this.#doubtedAt,
      persistentKeepalive: this.#persistentKeepalive,
      jitter: this.#jitter,
    }
  }

  #perform(rule: TimerName, moment: Moment, out: DeviceEffect[]): void {
    switch (rule) {
      case 'rekey-attempt-time':
        this.#endAttempt()
        this.#settledAt = moment.now
        this.#command({ kind: 'drop-queue', peer: this.id }, out)
        break
      case 'retransmit-handshake':
        if (this.#handshake.kind === 'none') break
        this.#initiate(this.#handshake.attempt.since, { delays: this.#handshake.delays, moment, out })
        break
      case 'zero-key-material':
        this.#keysSince = undefined
        this.#change({ keypairs: noKeypairs, removed: listKeypairs(this.#keypairs) }, out)
        break
      case 'no-session':
      case 'rekey-after-messages':
      case 'rekey-after-time':
      case 'rekey-before-reject':
      case 'new-handshake':
        this.#initiate(moment.now, { delays: [], moment, out })
        break
      case 'send-keepalive':
      case 'persistent-keepalive':
        this.#keepaliveAt = moment.now
        this.#command({ kind: 'send-keepalive', peer: this.id }, out)
        break
      case 'doubt-path':
        this.#doubtedAt = moment.now
        out.push({ kind: 'unanswered', peer: this.id })
        break
      default:
        assertNever(rule)
    }
  }

  #respond({ initiation, from }: HeldInitiation, moment: Moment, out: DeviceEffect[]): PeerDrop | undefined {
    const { indices, random } = this.#context
    const localIndex = indices.allocate(this)
    const ephemeralSecret = random.bytes(32)
    const { sender } = initiation
    const response = createResponse(this.#remote, initiation, { sender: localIndex, ephemeralSecret })
    if (response === undefined) {
      indices.release(localIndex)
      return 'unauthenticated'
    }
    this.#heardFrom(from, moment, out)
    const keypair: Keypair = { localIndex, created: moment.now, initiator: false, from }
    this.#install(keypair, { change: installAsResponder(this.#keypairs, keypair), keys: response.keys, sender, out })
    this.#sendHandshakeMessage(response.message, moment, out)
    return undefined
  }

  /** Without the wait between two handshakes, for a path that was checked a moment ago. */
  #initiateEagerly(moment: Moment, out: DeviceEffect[]): void {
    const handshake = this.#handshake
    if (handshake.kind === 'initiated' && moment.now - handshake.attempt.sentAt < INITIATION_SPACING) {
      const attempt = { since: moment.now, sentAt: handshake.attempt.sentAt, retryAfter: INITIATION_SPACING }
      this.#handshake = { ...handshake, attempt, delays: EAGER_RETRANSMIT }
      return
    }
    this.#initiate(moment.now, { delays: EAGER_RETRANSMIT, moment, out })
  }

  /** Sends an initiation, one of the series that began at `since`; the one before it, if any, is forgotten. */
  #initiate(
    since: number,
    options: { readonly delays: readonly number[]; readonly moment: Moment; readonly out: DeviceEffect[] },
  ): void {
    const { delays, moment, out } = options
    const { identity, indices, random, timestamp } = this.#context
    this.#endAttempt()
    const localIndex = indices.allocate(this)
    const initiation = createInitiation(identity, this.#remote, {
      sender: localIndex,
      ephemeralSecret: random.bytes(32),
      timestamp: timestamp(moment.wallTime),
    })
    this.#jitter = randomBelow(random, RETRANSMIT_JITTER)
    const retryAfter = delays[0] ?? REKEY_TIMEOUT + this.#jitter
    const attempt = { since, sentAt: moment.now, retryAfter }
    this.#handshake = { kind: 'initiated', localIndex, sent: initiation.sent, attempt, delays: delays.slice(1) }
    this.#sendHandshakeMessage(initiation.message, moment, out)
  }

  #endAttempt(): void {
    if (this.#handshake.kind === 'none') return
    this.#context.indices.release(this.#handshake.localIndex)
    this.#handshake.sent.state.wipe()
    this.#handshake = { kind: 'none' }
  }

  #sendHandshakeMessage(message: Uint8Array, moment: Moment, out: DeviceEffect[]): void {
    if (this.#endpoint === undefined) return
    this.#cookieJar.setMacs(message, moment.now)
    this.#lastHandshakeSentAt = moment.now
    out.push({ kind: 'datagram', bytes: message, to: this.#endpoint })
  }

  #install(
    keypair: Keypair,
    options: {
      readonly change: KeypairsChange
      readonly keys: TransportKeys
      /** The peer's index. */
      readonly sender: number
      readonly out: DeviceEffect[]
    },
  ): void {
    const { change, keys, sender, out } = options
    const { localIndex, created } = keypair
    const dataKeypair = { localIndex, remoteIndex: sender, ...keys, created, ...this.#context.limits }
    this.#command({ kind: 'install-keypair', peer: this.id, keypair: dataKeypair }, out)
    this.#keysSince = created
    this.#change(change, out)
  }

  #change({ keypairs, removed }: KeypairsChange, out: DeviceEffect[]): void {
    this.#keypairs = keypairs
    for (const { localIndex } of removed) {
      this.#context.indices.release(localIndex)
      this.#command({ kind: 'remove-keypair', peer: this.id, localIndex }, out)
    }
  }

  /** The keypair has become the current one: both sides hold it. */
  #begin(
    keypair: Keypair,
    options: { readonly old: Keypair | undefined; readonly moment: Moment; readonly out: DeviceEffect[] },
  ): void {
    const { old, moment, out } = options
    const { localIndex, initiator } = keypair
    this.#command({ kind: 'use-keypair', peer: this.id, localIndex, confirm: initiator }, out)
    this.#settledAt = moment.now
    this.#lastSessionAt = moment.now
    if (this.#isAwaited || !isUsable(old, moment.now)) this.#announce(out)
    else this.#early = { keypair, at: moment.now }
  }

  #announce(out: DeviceEffect[]): void {
    this.#isAwaited = false
    this.#early = undefined
    out.push({ kind: 'established', peer: this.id })
  }

  /** The peer's handshake outran the news of the path it came on. */
  #cameEarly(endpoint: Endpoint, now: number): boolean {
    const early = this.#early
    return early !== undefined && now - early.at < REKEY_TIMEOUT && sameEndpoint(early.keypair.from, endpoint)
  }

  /** An authenticated message came from there, so that is where the peer is. */
  #heardFrom(from: Endpoint, moment: Moment, out: DeviceEffect[]): void {
    this.#heardAt = moment.now
    if (this.#endpoint === undefined || !sameEndpoint(this.#endpoint, from)) this.#setEndpoint(from, out)
  }

  #setEndpoint(endpoint: Endpoint | undefined, out: DeviceEffect[]): void {
    this.#endpoint = endpoint
    this.#endpointRevision++
    this.#command({ kind: 'set-endpoint', peer: this.id, endpoint, revision: this.#endpointRevision }, out)
  }

  #command(command: DataPlaneCommand, out: DeviceEffect[]): void {
    out.push({ kind: 'data-plane', command })
  }
}

/** A copy that can be kept: the one given may hold more, and change after the call. */
function placeOf({ address, port }: Endpoint): Endpoint {
  return { address, port }
}

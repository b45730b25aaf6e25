/**
 * One crypto connection with a friend: cookie request, crypto handshake, session. Tox protocol specification,
 * "net_crypto", over UDP. What goes beyond it: several addresses are tried, and the session follows the peer to the
 * address its newest packet came from.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import { assertNever } from '../../../util/assert-never.ts'
import { equalBytes } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import {
  createKeyPair,
  type DhtPublicKey,
  type KeyPair,
  type LongTermPublicKey,
  nonceBytes,
  sharedKey,
} from '../crypto.ts'
import type { PeerBox } from '../peer-box.ts'
import { decodeCookieResponse, echoBytes, encodeCookie, encodeCookieRequest } from './cookie.ts'
import { encodeHandshake, type Handshake } from './handshake.ts'
import { PathWatch } from './path-watch.ts'
import { Paths } from './paths.ts'
import { CryptoSession, type SessionDrop } from './session.ts'
import { SessionCipher } from './session-cipher.ts'

/** From the specification: a connection that is not confirmed by then is dropped, ms. */
const patience = 8_000
/** Our choice: pauses between the tries of cookie requests and handshakes, ms; the specification's second is the last. */
const pauses = [250, 500, 1_000] as const

/** Our own keys, as far as connections need them. */
export interface LocalKeys {
  readonly longTermKey: LongTermPublicKey
  readonly dhtKey: DhtPublicKey
  /** Boxes of the DHT key pair. */
  readonly dhtBox: PeerBox
  readonly cookieKey: Uint8Array
  readonly random: Random
}

export interface ConnectionPeer {
  readonly longTermKey: LongTermPublicKey
  readonly dhtKey: DhtPublicKey
  /** The shared key of both long-term keys. */
  readonly handshakeKey: Uint8Array
}

interface Retry {
  readonly giveUpAt: number
  readonly nextAt: number
  readonly tries: number
}

type ConnectionState =
  | {
      readonly kind: 'cookie-requesting'
      readonly request: Uint8Array
      readonly echo: Uint8Array
      readonly retry: Retry
    }
  | { readonly kind: 'handshake-sent'; readonly handshake: Uint8Array; readonly retry: Retry }
  | {
      readonly kind: 'accepted'
      readonly handshake: Uint8Array
      readonly peerSessionKey: Uint8Array
      readonly session: CryptoSession
      readonly retry: Retry
    }
  | {
      readonly kind: 'confirmed'
      readonly peerSessionKey: Uint8Array
      readonly session: CryptoSession
      readonly watch: PathWatch
    }
  | { readonly kind: 'closed' }

export type ConnectionEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint }
  /** The first packet of the session came: packets pass both ways. */
  | { readonly kind: 'confirmed' }
  /** Id and data; lossless ones in their order. */
  | { readonly kind: 'packet'; readonly packet: Uint8Array }
  | { readonly kind: 'moved'; readonly to: Endpoint }
  /** The path does not prove itself: the peer should be looked for. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'closed'; readonly reason: string; readonly cause: CloseCause }

/** The handshake stayed without an answer; the peer said goodbye; it began another connection; we ended it. */
export type CloseCause = 'unanswered' | 'left' | 'replaced' | 'ended'

export class Connection {
  readonly peer: ConnectionPeer
  readonly #local: LocalKeys
  readonly #sessionPair: KeyPair
  readonly #baseNonce: Uint8Array
  readonly #paths = new Paths()
  #state: ConnectionState

  private constructor(local: LocalKeys, peer: ConnectionPeer) {
    this.peer = peer
    this.#local = local
    this.#sessionPair = createKeyPair(local.random)
    this.#baseNonce = local.random.bytes(nonceBytes)
    this.#state = { kind: 'closed' }
  }

  /** A connection we begin, with a cookie request; `tick` sends it. `undefined` when the DHT key is of low order. */
  static begin(local: LocalKeys, peer: ConnectionPeer, now: number): Connection | undefined {
    const connection = new Connection(local, peer)
    const echo = local.random.bytes(echoBytes)
    const { dhtKey, longTermKey, dhtBox: box, random } = local
    const request = encodeCookieRequest({ dhtKey, longTermKey, echo }, { box, peer: peer.dhtKey, random })
    if (request === undefined) return undefined
    connection.#state = { kind: 'cookie-requesting', request, echo, retry: firstTry(now) }
    return connection
  }

  /** A connection the peer began with a valid handshake; `tick` answers it. */
  static answer(local: LocalKeys, peer: ConnectionPeer, received: ReceivedHandshake): Connection | undefined {
    const connection = new Connection(local, peer)
    return connection.takeHandshake(received) ? connection : undefined
  }

  get kind(): ConnectionState['kind'] {
    return this.#state.kind
  }

  /** Whether data that comes from this address is probably from this peer. */
  hasAddress(endpoint: Endpoint): boolean {
    return this.#paths.has(endpoint)
  }

  get remote(): Endpoint | undefined {
    return this.#paths.current
  }

  /** The session key of the peer, once known. */
  get peerSessionKey(): Uint8Array | undefined {
    return 'peerSessionKey' in this.#state ? this.#state.peerSessionKey : undefined
  }

  /** How long nothing authentic has come, ms; zero before the session is confirmed. */
  silentFor(now: number): number {
    return this.#state.kind === 'confirmed' ? now - this.#state.watch.heardAt : 0
  }

  /** Whether the session lives on a path that is in doubt. */
  get doubted(): boolean {
    return this.#state.kind === 'confirmed' && this.#state.watch.doubted
  }

  /** Somebody says the peer is at this address. */
  addAddress(endpoint: Endpoint, now: number): ConnectionEffect[] {
    const isNew = this.#paths.add(endpoint)
    const state = this.#state
    switch (state.kind) {
      case 'cookie-requesting':
        return isNew && state.retry.tries > 0 ? [send(state.request, endpoint)] : []
      case 'handshake-sent':
        return isNew ? [send(state.handshake, endpoint)] : []
      case 'accepted':
        return isNew ? [send(state.handshake, endpoint)] : []
      case 'confirmed':
        return state.watch.doubted
          ? state.session.take(now, { urgent: true }).map((bytes) => send(bytes, endpoint))
          : []
      case 'closed':
        return []
      default:
        return assertNever(state)
    }
  }

  /** The peer's cookie: the handshake follows. `undefined` when it is no answer to our request. */
  receiveCookie(bytes: Uint8Array, from: Endpoint, now: number): ConnectionEffect[] | undefined {
    const state = this.#state
    if (state.kind !== 'cookie-requesting') return undefined
    const response = decodeCookieResponse(bytes, { box: this.#local.dhtBox, peer: this.peer.dhtKey }, now)
    if (response === undefined || !equalBytes(response.echo, state.echo)) return undefined
    this.#paths.add(from)
    this.#state = { kind: 'handshake-sent', handshake: this.#handshake(response.cookie, now), retry: firstTry(now) }
    return this.tick(now)
  }

  /** Takes the peer's half of the session keys, again if the session is not confirmed yet; false when of low order. */
  takeHandshake({ handshake, from, now }: ReceivedHandshake): boolean {
    const key = sharedKey(handshake.sessionKey, this.#sessionPair.secretKey)
    if (key === undefined) return false
    const state = this.#state
    const own =
      state.kind === 'handshake-sent' || state.kind === 'accepted'
        ? { handshake: state.handshake, retry: state.retry }
        : { handshake: this.#handshake(handshake.otherCookie, now), retry: firstTry(now) }
    if (state.kind === 'accepted') state.session.wipe()
    this.#paths.add(from)
    const cipher = new SessionCipher({ key, ownBaseNonce: this.#baseNonce, peerBaseNonce: handshake.baseNonce })
    this.#state = {
      kind: 'accepted',
      ...own,
      peerSessionKey: handshake.sessionKey,
      session: new CryptoSession(cipher),
    }
    return true
  }

  /** A crypto data packet; a word when it was dropped, `unreadable` when it is not of this session. */
  receiveData(bytes: Uint8Array, from: Endpoint, now: number): ConnectionEffect[] | SessionDrop {
    const state = this.#state
    if (state.kind !== 'accepted' && state.kind !== 'confirmed') return 'unreadable'
    const result = state.session.receive(bytes, now)
    if (result.kind === 'dropped') return result.reason
    if (result.kind === 'killed') return this.#close('left', 'it said goodbye')
    const effects: ConnectionEffect[] = []
    const { session, peerSessionKey } = state
    const watch = state.kind === 'confirmed' ? state.watch : new PathWatch(now)
    if (state.kind === 'accepted') {
      this.#state = { kind: 'confirmed', peerSessionKey, session, watch }
      effects.push({ kind: 'confirmed' })
    }
    const moved = result.newest && this.#paths.prove(from)
    if (moved) effects.push({ kind: 'moved', to: from })
    if (moved) session.resendAll(now)
    else if (watch.silent && result.newest) session.resendOverdue(now)
    watch.heard(now, result.acknowledgedFrom)
    for (const packet of result.packets) effects.push({ kind: 'packet', packet })
    effects.push(...this.#flush(now, { urgent: moved }))
    return effects
  }

  /** Queues a lossless packet (id and data); `undefined` when the session is not confirmed or its queue is full. */
  send(packet: Uint8Array, now: number): ConnectionEffect[] | undefined {
    if (this.#state.kind !== 'confirmed' || !this.#state.session.enqueue(packet)) return undefined
    return this.#flush(now)
  }

  /** Sends a lossy packet once; `undefined` when the session is not confirmed. */
  sendLossy(packet: Uint8Array): ConnectionEffect[] | undefined {
    if (this.#state.kind !== 'confirmed') return undefined
    const bytes = this.#state.session.lossy(packet)
    return this.#targets().map((to) => send(bytes, to))
  }

  /** The path must prove itself now. Something lossless should be under way, or nothing can be acknowledged. */
  nudge(now: number): ConnectionEffect[] {
    const state = this.#state
    if (state.kind !== 'confirmed') return []
    state.session.resendOverdue(now)
    state.watch.doubt(now, Math.min(400, Math.max(150, 2 * state.session.roundTrip + 50)))
    return this.tick(now)
  }

  /** Ends the connection with a kill packet, sent twice because nobody acknowledges it, when there is a session. */
  kill(reason: string): ConnectionEffect[] {
    const state = this.#state
    if (state.kind !== 'confirmed' && state.kind !== 'accepted') return this.#close('ended', reason)
    const bytes = state.session.kill()
    const again = state.session.kill()
    const goodbyes = this.#targets().flatMap((to) => [send(bytes, to), send(again, to)])
    return [...goodbyes, ...this.#close('ended', reason)]
  }

  /** Another connection with this peer takes its place. */
  replace(): ConnectionEffect[] {
    return this.#close('replaced', 'it started anew')
  }

  tick(now: number): ConnectionEffect[] {
    const state = this.#state
    switch (state.kind) {
      case 'cookie-requesting':
      case 'handshake-sent':
      case 'accepted': {
        if (now >= state.retry.giveUpAt) return this.#close('unanswered', 'it did not answer')
        const effects: ConnectionEffect[] = []
        if (now >= state.retry.nextAt) {
          const bytes = state.kind === 'cookie-requesting' ? state.request : state.handshake
          for (const to of this.#paths.all) effects.push(send(bytes, to))
          this.#state = { ...state, retry: nextTry(state.retry, now) }
        }
        if (state.kind === 'accepted') effects.push(...this.#flush(now))
        return effects
      }
      case 'confirmed': {
        const { probe, silent } = state.watch.take(now)
        const effects = this.#flush(now, { urgent: probe })
        if (silent) effects.push({ kind: 'silent' })
        return effects
      }
      case 'closed':
        return []
      default:
        return assertNever(state)
    }
  }

  /** When `tick` is next needed; `undefined` when closed. */
  get deadline(): number | undefined {
    const state = this.#state
    switch (state.kind) {
      case 'cookie-requesting':
      case 'handshake-sent':
        return Math.min(state.retry.nextAt, state.retry.giveUpAt)
      case 'accepted':
        return Math.min(state.retry.nextAt, state.retry.giveUpAt, state.session.deadline)
      case 'confirmed':
        return Math.min(state.session.deadline, state.watch.deadline)
      case 'closed':
        return undefined
      default:
        return assertNever(state)
    }
  }

  #close(cause: CloseCause, reason: string): ConnectionEffect[] {
    if (this.#state.kind === 'closed') return []
    if (this.#state.kind === 'confirmed' || this.#state.kind === 'accepted') this.#state.session.wipe()
    this.#sessionPair.secretKey.wipe()
    this.#state = { kind: 'closed' }
    return [{ kind: 'closed', reason, cause }]
  }

  #flush(now: number, options: { readonly urgent?: boolean } = {}): ConnectionEffect[] {
    if (this.#state.kind !== 'accepted' && this.#state.kind !== 'confirmed') return []
    const targets = this.#targets()
    return this.#state.session.take(now, options).flatMap((bytes) => targets.map((to) => send(bytes, to)))
  }

  /** One address while the path is trusted, all known ones otherwise. */
  #targets(): readonly Endpoint[] {
    const { current, all } = this.#paths
    const trusted = this.#state.kind === 'confirmed' && !this.#state.watch.silent
    return trusted && current !== undefined ? [current] : all
  }

  #handshake(cookie: Uint8Array, now: number): Uint8Array {
    const { cookieKey, random } = this.#local
    const { longTermKey, dhtKey, handshakeKey } = this.peer
    const otherCookie = encodeCookie({ time: now, longTermKey, dhtKey }, { key: cookieKey, random })
    const handshake = { baseNonce: this.#baseNonce, sessionKey: this.#sessionPair.publicKey, otherCookie }
    return encodeHandshake(handshake, { cookie, key: handshakeKey, random })
  }
}

export interface ReceivedHandshake {
  readonly handshake: Handshake
  readonly from: Endpoint
  readonly now: number
}

function firstTry(now: number): Retry {
  return { giveUpAt: now + patience, nextAt: now, tries: 0 }
}

function nextTry(retry: Retry, now: number): Retry {
  const pause = pauses[Math.min(retry.tries, pauses.length - 1)] ?? 1_000
  return { ...retry, nextAt: now + pause, tries: retry.tries + 1 }
}

function send(bytes: Uint8Array, to: Endpoint): ConnectionEffect {
  return { kind: 'send', bytes, to }
}

/**
 * All crypto connections of a client. Tox protocol specification, "net_crypto": cookies are answered without keeping
 * anything, handshakes are taken from friends only, data is given to the session that can open it. Leaves out TCP
 * relays. One machine, no clock, no socket.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import { equalBytes, toHex } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import { type DhtPublicKey, type KeyPair, type LongTermPublicKey, sharedKey } from '../crypto.ts'
import type { PeerBox } from '../peer-box.ts'
import { TokenBucket } from '../token-bucket.ts'
import { Connection, type ConnectionEffect, type LocalKeys } from './connection.ts'
import {
  type CookieContents,
  cookieRequestKind,
  cookieResponseKind,
  decodeCookie,
  decodeCookieRequest,
  encodeCookie,
  encodeCookieResponse,
} from './cookie.ts'
import { cryptoDataKind, nonceEnd } from './crypto-data.ts'
import { decodeHandshake, type Handshake, handshakeCookie, handshakeKind } from './handshake.ts'

/** From the specification: how old a cookie may be, ms. */
const cookieLifetime = 15_000
/** Our choice: a live session is not given up for another handshake with the same DHT key before this much silence. */
const liveliness = 2_000
/** Our choice: peers' session keys remembered per friend, so that a copied handshake cannot come back. */
const rememberedSessions = 32

export type NetCryptoEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint }
  /** The friend's handshake says it has this DHT key (now). */
  | { readonly kind: 'dht-key'; readonly friend: LongTermPublicKey; readonly dhtKey: DhtPublicKey }
  | ({ readonly friend: LongTermPublicKey } & Exclude<ConnectionEffect, { readonly kind: 'send' }>)

export type NetCryptoDrop =
  | 'malformed'
  | 'limited'
  | 'stranger'
  | 'stale cookie'
  | 'unreadable'
  | 'replayed'
  | 'repeated'
  | 'unexpected'
  | 'empty'
  | 'impossible'

export interface NetCryptoStats {
  readonly connections: number
  readonly confirmed: number
  readonly moved: number
  readonly dropped: Readonly<Partial<Record<NetCryptoDrop, number>>>
}

export interface NetCryptoOptions {
  readonly keyPair: KeyPair<LongTermPublicKey>
  readonly dhtKey: DhtPublicKey
  /** Boxes of the DHT key pair. */
  readonly dhtBox: PeerBox
  readonly random: Random
}

interface Friend {
  readonly longTermKey: LongTermPublicKey
  /** The shared key of both long-term keys. */
  readonly handshakeKey: Uint8Array
  connection: Connection | undefined
  /** Session keys the friend has used, newest last. */
  usedSessionKeys: readonly Uint8Array[]
}

/** A connection asked for: the friend's DHT key, and an address where that key answered. */
export interface ConnectTarget {
  readonly dhtKey: DhtPublicKey
  readonly endpoint: Endpoint
}

export class NetCrypto {
  readonly #keyPair: KeyPair<LongTermPublicKey>
  readonly #local: LocalKeys
  readonly #friends: Map<string, Friend> = new Map()
  /** Cookie responses: c-toxcore's own limit is ten at once and ten a second; a NAT may hide several friends. */
  readonly #cookies = new TokenBucket({ rate: 100, burst: 20 })
  /** Data from unknown addresses is tried with every session: bound what that may cost. */
  readonly #trials = new TokenBucket({ rate: 1_000, burst: 200 })
  readonly #dropped: Partial<Record<NetCryptoDrop, number>> = {}
  #moved = 0

  constructor(options: NetCryptoOptions) {
    this.#keyPair = options.keyPair
    this.#local = {
      longTermKey: options.keyPair.publicKey,
      dhtKey: options.dhtKey,
      dhtBox: options.dhtBox,
      cookieKey: options.random.bytes(32),
      random: options.random,
    }
  }

  /** Whether datagrams with this first byte are for `receive`. */
  static handles(kind: number): boolean {
    return kind >= cookieRequestKind && kind <= cryptoDataKind
  }

  /** From now on the friend may connect. False when its key is of low order. */
  addFriend(longTermKey: LongTermPublicKey): boolean {
    const name = toHex(longTermKey)
    if (this.#friends.has(name)) return true
    const handshakeKey = sharedKey(longTermKey, this.#keyPair.secretKey)
    if (handshakeKey === undefined) return false
    this.#friends.set(name, { longTermKey, handshakeKey, connection: undefined, usedSessionKeys: [] })
    return true
  }

  /** Kills the connection and takes nothing from the friend any more. */
  removeFriend(longTermKey: LongTermPublicKey): NetCryptoEffect[] {
    const effects = this.kill(longTermKey, 'removed')
    this.#friends.delete(toHex(longTermKey))
    return effects
  }

  /** What there is with a friend: no connection, one that is being made, or a session. */
  connectionWith(longTermKey: LongTermPublicKey): 'none' | 'connecting' | 'confirmed' {
    const kind = this.#friends.get(toHex(longTermKey))?.connection?.kind
    if (kind === undefined || kind === 'closed') return 'none'
    return kind === 'confirmed' ? 'confirmed' : 'connecting'
  }

  /** The DHT key of the friend's connection, if any. */
  dhtKeyOf(longTermKey: LongTermPublicKey): DhtPublicKey | undefined {
    return this.#friends.get(toHex(longTermKey))?.connection?.peer.dhtKey
  }

  /** How long the friend's session has heard nothing, ms. */
  silentFor(longTermKey: LongTermPublicKey, now: number): number {
    return this.#friends.get(toHex(longTermKey))?.connection?.silentFor(now) ?? 0
  }

  /** The address the friend's newest packet came from. */
  remoteOf(longTermKey: LongTermPublicKey): Endpoint | undefined {
    return this.#friends.get(toHex(longTermKey))?.connection?.remote
  }

  /** Begins a connection, or adds the address to the one there is; one with another DHT key is closed first. */
  connect(longTermKey: LongTermPublicKey, target: ConnectTarget, now: number): NetCryptoEffect[] {
    const friend = this.#friends.get(toHex(longTermKey))
    if (friend === undefined) return []
    const existing = friend.connection
    if (existing !== undefined && equalBytes(existing.peer.dhtKey, target.dhtKey)) {
      return this.#from(friend, existing.addAddress(target.endpoint, now))
    }
    const effects = existing === undefined ? [] : this.#from(friend, existing.replace())
    const connection = Connection.begin(this.#local, { ...friend, dhtKey: target.dhtKey }, now)
    if (connection === undefined) return effects
    connection.addAddress(target.endpoint, now)
    friend.connection = connection
    return [...effects, ...this.#from(friend, connection.tick(now))]
  }

  /** Takes one datagram whose first byte `handles`. Never throws; what is not valid is dropped and counted. */
  receive(bytes: Uint8Array, from: Endpoint, now: number): NetCryptoEffect[] {
    switch (bytes[0]) {
      case cookieRequestKind:
        return this.#receiveCookieRequest(bytes, from, now)
      case cookieResponseKind:
        return this.#receiveCookieResponse(bytes, from, now)
      case handshakeKind:
        return this.#receiveHandshake(bytes, from, now)
      case cryptoDataKind:
        return this.#receiveData(bytes, from, now)
      default:
        return this.#drop('malformed')
    }
  }

  /** Sends a lossless packet (id 16..191, and data); `undefined` when there is no session or its queue is full. */
  send(longTermKey: LongTermPublicKey, packet: Uint8Array, now: number): NetCryptoEffect[] | undefined {
    const friend = this.#friends.get(toHex(longTermKey))
    const effects = friend?.connection?.send(packet, now)
    return friend && effects && this.#from(friend, effects)
  }

  /** Sends a lossy packet (id 192..254, and data) once; `undefined` when there is no session. */
  sendLossy(longTermKey: LongTermPublicKey, packet: Uint8Array): NetCryptoEffect[] | undefined {
    const friend = this.#friends.get(toHex(longTermKey))
    const effects = friend?.connection?.sendLossy(packet)
    return friend && effects && this.#from(friend, effects)
  }

  /** The friend's path must prove itself now; a `silent` effect follows when it does not. */
  nudge(longTermKey: LongTermPublicKey, now: number): NetCryptoEffect[] {
    const friend = this.#friends.get(toHex(longTermKey))
    return friend?.connection === undefined ? [] : this.#from(friend, friend.connection.nudge(now))
  }

  /** Ends the connection and says so to the friend. */
  kill(longTermKey: LongTermPublicKey, reason: string): NetCryptoEffect[] {
    const friend = this.#friends.get(toHex(longTermKey))
    return friend?.connection === undefined ? [] : this.#from(friend, friend.connection.kill(reason))
  }

  tick(now: number): NetCryptoEffect[] {
    return [...this.#friends.values()].flatMap((friend) =>
      friend.connection === undefined ? [] : this.#from(friend, friend.connection.tick(now)),
    )
  }

  /** When `tick` is next needed, ms. */
  get deadline(): number | undefined {
    const deadlines = [...this.#friends.values()].flatMap((friend) => friend.connection?.deadline ?? [])
    return deadlines.length === 0 ? undefined : Math.min(...deadlines)
  }

  stats(): NetCryptoStats {
    const kinds = [...this.#friends.values()].flatMap((friend) => friend.connection?.kind ?? [])
    return {
      connections: kinds.length,
      confirmed: kinds.filter((kind) => kind === 'confirmed').length,
      moved: this.#moved,
      dropped: { ...this.#dropped },
    }
  }

  /** Stateless: the cookie holds all we need to know when it comes back. */
  #receiveCookieRequest(bytes: Uint8Array, from: Endpoint, now: number): NetCryptoEffect[] {
    if (!this.#cookies.take(now)) return this.#drop('limited')
    const { dhtBox: box, cookieKey: key, random } = this.#local
    const request = decodeCookieRequest(bytes, box, now)
    if (request === undefined) return this.#drop('unreadable')
    const cookie = encodeCookie(
      { time: now, longTermKey: request.longTermKey, dhtKey: request.dhtKey },
      { key, random },
    )
    const response = encodeCookieResponse({ cookie, echo: request.echo }, { box, peer: request.dhtKey, random })
    return response === undefined ? [] : [{ kind: 'send', bytes: response, to: from }]
  }

  #receiveCookieResponse(bytes: Uint8Array, from: Endpoint, now: number): NetCryptoEffect[] {
    for (const friend of this.#friends.values()) {
      const effects = friend.connection?.receiveCookie(bytes, from, now)
      if (effects !== undefined) return this.#from(friend, effects)
    }
    return this.#drop('unexpected')
  }

  #receiveHandshake(bytes: Uint8Array, from: Endpoint, now: number): NetCryptoEffect[] {
    const cookie = handshakeCookie(bytes)
    if (cookie === undefined) return this.#drop('malformed')
    const contents = decodeCookie(cookie, this.#local.cookieKey)
    if (contents === undefined || contents.time > now || now - contents.time > cookieLifetime + 1) {
      return this.#drop('stale cookie')
    }
    const friend = this.#friends.get(toHex(contents.longTermKey))
    if (friend === undefined) return this.#drop('stranger')
    const handshake = decodeHandshake(bytes, friend.handshakeKey)
    if (handshake === undefined) return this.#drop('unreadable')
    const verdict = judgeHandshake(friend, contents, handshake, now)
    if (verdict === 'repeated' || verdict === 'replayed') return this.#drop(verdict)
    return this.#takeHandshake(friend, verdict, { dhtKey: contents.dhtKey, handshake, from, now })
  }

  #takeHandshake(
    friend: Friend,
    verdict: 'join' | 'replace',
    received: {
      readonly dhtKey: DhtPublicKey
      readonly handshake: Handshake
      readonly from: Endpoint
      readonly now: number
    },
  ): NetCryptoEffect[] {
    const { dhtKey, handshake, from, now } = received
    const effects: NetCryptoEffect[] = []
    let connection = friend.connection
    if (connection === undefined || verdict === 'replace') {
      const peer = { longTermKey: friend.longTermKey, handshakeKey: friend.handshakeKey, dhtKey }
      const answering = Connection.answer(this.#local, peer, { handshake, from, now })
      if (answering === undefined) return this.#drop('unreadable')
      if (connection !== undefined) effects.push(...this.#from(friend, connection.replace()))
      connection = answering
      friend.connection = answering
    } else if (!connection.takeHandshake({ handshake, from, now })) {
      return this.#drop('unreadable')
    }
    friend.usedSessionKeys = [...friend.usedSessionKeys, handshake.sessionKey].slice(-rememberedSessions)
    effects.push({ kind: 'dht-key', friend: friend.longTermKey, dhtKey })
    return [...effects, ...this.#from(friend, connection.tick(now))]
  }

  /** First to the session of that address, then to all: the friend may have moved. */
  #receiveData(bytes: Uint8Array, from: Endpoint, now: number): NetCryptoEffect[] {
    if (nonceEnd(bytes) === undefined) return this.#drop('malformed')
    const friends = [...this.#friends.values()]
    const known = friends.filter((friend) => friend.connection?.hasAddress(from))
    const tried = this.#tryData(known, { bytes, from, now })
    if (tried !== undefined) return tried
    if (!this.#trials.take(now)) return this.#drop('limited')
    const others = friends.filter((friend) => !known.includes(friend))
    return this.#tryData(others, { bytes, from, now }) ?? this.#drop('unreadable')
  }

  #tryData(
    friends: readonly Friend[],
    datagram: { readonly bytes: Uint8Array; readonly from: Endpoint; readonly now: number },
  ): NetCryptoEffect[] | undefined {
    for (const friend of friends) {
      const result = friend.connection?.receiveData(datagram.bytes, datagram.from, datagram.now)
      if (result === undefined || result === 'unreadable') continue
      return typeof result === 'string' ? this.#drop(result) : this.#from(friend, result)
    }
    return undefined
  }

  #drop(reason: NetCryptoDrop): NetCryptoEffect[] {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1
    return []
  }

  /** Names the friend in its connection's effects, and forgets a connection that closed. */
  #from(friend: Friend, effects: readonly ConnectionEffect[]): NetCryptoEffect[] {
    return effects.map((effect) => {
      if (effect.kind === 'send') return effect
      if (effect.kind === 'moved') this.#moved += 1
      if (effect.kind === 'closed' && friend.connection?.kind === 'closed') friend.connection = undefined
      return { ...effect, friend: friend.longTermKey }
    })
  }
}

/**
 * What to do with an authentic handshake: join the connection that is being made, replace the one there is, or nothing.
 * Once a session is confirmed the specification replaces it only for a new DHT key. We also do when the session has
 * been silent for a while: then the peer has lost it and would have to wait for our 32 s.
 */
function judgeHandshake(
  friend: Friend,
  contents: CookieContents,
  handshake: Handshake,
  now: number,
): 'join' | 'replace' | 'repeated' | 'replayed' {
  const { connection } = friend
  const current = connection?.peerSessionKey
  if (current !== undefined && equalBytes(current, handshake.sessionKey)) return 'repeated'
  if (friend.usedSessionKeys.some((key) => equalBytes(key, handshake.sessionKey))) return 'replayed'
  if (connection === undefined) return 'join'
  if (!equalBytes(connection.peer.dhtKey, contents.dhtKey)) return 'replace'
  if (connection.kind !== 'confirmed') return 'join'
  return connection.silentFor(now) >= liveliness ? 'replace' : 'repeated'
}

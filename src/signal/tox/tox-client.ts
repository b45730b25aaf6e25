/**
 * A Tox client without a socket or a clock: a serving node, the onion client, net_crypto and the friends, behind one
 * receive / tick / deadline. What one machine says is carried to the next here, and nowhere else.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import { assertNever } from '../../util/assert-never.ts'
import { equalBytes, toHex } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import { createKeyPair, type DhtPublicKey, type KeyPair, type LongTermPublicKey } from './crypto.ts'
import type { DhtEffect } from './dht/dht-node.ts'
import {
  alivePacket,
  customPacket,
  FriendConnection,
  type FriendConnectionEffect,
  messagePacket,
  offlinePacket,
} from './friend-connection.ts'
import type { CloseCause } from './net-crypto/connection.ts'
import { NetCrypto, type NetCryptoEffect, type NetCryptoStats } from './net-crypto/net-crypto.ts'
import { OnionClient, type OnionEffect, type OnionStats } from './onion/onion-client.ts'
import type { NodeContact, PackedNode } from './packed-node.ts'
import { ServingNode, type ServingNodeStats } from './serving-node.ts'
import type { Nospam } from './tox-id.ts'

/** From the specification: how long a friend's DHT key and address are worth another attempt, ms. */
const freshness = 122_000
/** A session that was heard less than this ago is not given up for a DHT key that came another way, ms. */
const liveliness = 2_000
/** Our choice: a session that silent is not trusted to come back by itself, ms. */
const missedAfter = 5_000
/** Our choice: the DHT and the onion are hurried at most this often, ms. */
const hurryInterval = 300

export type ToxClientEffect =
  | { readonly kind: 'send'; readonly bytes: Uint8Array; readonly to: Endpoint }
  | { readonly kind: 'online'; readonly friend: LongTermPublicKey }
  | { readonly kind: 'offline'; readonly friend: LongTermPublicKey; readonly reason: string }
  | { readonly kind: 'message'; readonly friend: LongTermPublicKey; readonly text: string }
  /** Id and data. */
  | { readonly kind: 'custom'; readonly friend: LongTermPublicKey; readonly packet: Uint8Array }
  /** Somebody who is no friend asks to become one; 1..1016 bytes. */
  | { readonly kind: 'friend-request'; readonly from: LongTermPublicKey; readonly message: Uint8Array }

export interface ToxClientOptions {
  /** The long-term key pair. The DHT key pair is made new for every client. */
  readonly keyPair: KeyPair<LongTermPublicKey>
  readonly nospam: Nospam
  readonly random: Random
  /** Our addresses on our own LAN, as friends on it could use them. */
  readonly localEndpoints: () => readonly Endpoint[]
}

export interface FriendRequestOptions {
  readonly nospam: Nospam
  /** 1..921 bytes. */
  readonly message: Uint8Array
}

export interface ToxClientStats extends ServingNodeStats {
  readonly onionClient: OnionStats
  readonly netCrypto: NetCryptoStats
  readonly friends: number
  readonly friendsOnline: number
}

interface Friend {
  readonly key: LongTermPublicKey
  readonly connection: FriendConnection
  /** As told by the friend itself, through the onion or in a handshake. */
  dhtKey: DhtPublicKey | undefined
  /** Where that DHT key last answered. */
  found: { readonly endpoint: Endpoint; readonly at: number } | undefined
  /** The session is so silent that the friend is looked for through the onion as well: it may have started anew. */
  missed: boolean
}

export class ToxClient {
  readonly #node: ServingNode
  readonly #onion: OnionClient
  readonly #crypto: NetCrypto
  readonly #friends: Map<string, Friend> = new Map()
  #hurriedAt = Number.NEGATIVE_INFINITY

  constructor(options: ToxClientOptions) {
    const { keyPair, nospam, random, localEndpoints } = options
    const dhtKeyPair = createKeyPair<DhtPublicKey>(random)
    this.#node = new ServingNode({ keyPair: dhtKeyPair, random })
    const { dht, box: dhtBox } = this.#node
    this.#onion = new OnionClient({ keyPair, dhtKeyPair, dhtBox, nospam, localEndpoints, random, dht })
    this.#crypto = new NetCrypto({ keyPair, dhtKey: dhtKeyPair.publicKey, dhtBox, random })
  }

  get dhtKey(): DhtPublicKey {
    return this.#node.dht.publicKey
  }

  /** Whether the DHT answers. */
  connected(now: number): boolean {
    return this.#node.dht.connected(now)
  }

  /** Whether friends can find us. */
  get announced(): boolean {
    return this.#onion.announced
  }

  /** Replaces the nodes asked whenever we know nobody. */
  bootstrap(nodes: readonly NodeContact[], now: number): void {
    this.#node.bootstrap(nodes, now)
  }

  /** Adds a friend, and asks it for friendship when `request` is given. False when its key is of low order. */
  addFriend(
    key: LongTermPublicKey,
    options: { readonly request?: FriendRequestOptions; readonly now: number },
  ): boolean {
    const { request, now } = options
    if (!this.#crypto.addFriend(key)) return false
    const name = toHex(key)
    if (!this.#friends.has(name)) {
      this.#friends.set(name, {
        key,
        connection: new FriendConnection(),
        dhtKey: undefined,
        found: undefined,
        missed: false,
      })
    }
    if (request === undefined) this.#onion.addFriend(key, now)
    else this.#onion.requestFriend(key, { ...request, now })
    return true
  }

  /** Forgets a friend and tells it so when it is online. */
  removeFriend(key: LongTermPublicKey, now: number): ToxClientEffect[] {
    const friend = this.#friends.get(toHex(key))
    if (friend === undefined) return []
    const effects = this.#run(this.#crypto.send(key, offlinePacket(), now) ?? [], now)
    effects.push(...this.#run(this.#crypto.removeFriend(key), now))
    this.#onion.removeFriend(key)
    if (friend.dhtKey !== undefined) this.#node.dht.stopSearch(friend.dhtKey)
    this.#friends.delete(toHex(key))
    return effects
  }

  isOnline(key: LongTermPublicKey): boolean {
    return this.#friends.get(toHex(key))?.connection.online ?? false
  }

  /** A text message, 1..1372 bytes of UTF-8; `undefined` when it is not, or the friend is offline or its queue full. */
  sendMessage(key: LongTermPublicKey, text: string, now: number): ToxClientEffect[] | undefined {
    const packet = messagePacket(text)
    return packet && this.#send(key, packet, now)
  }

  /** A custom lossless packet, id 160..191 and at most 1372 bytes; `undefined` as with a message. */
  sendCustom(
    key: LongTermPublicKey,
    custom: { readonly id: number; readonly data: Uint8Array },
    now: number,
  ): ToxClientEffect[] | undefined {
    const packet = customPacket(custom.id, custom.data)
    return packet && this.#send(key, packet, now)
  }

  /** The network may have changed: the way to this friend must prove itself now. */
  nudge(key: LongTermPublicKey, now: number): ToxClientEffect[] {
    const friend = this.#friends.get(toHex(key))
    if (friend === undefined) return []
    this.#hurry(friend, now)
    if (this.#crypto.connectionWith(key) !== 'confirmed') return this.#tickNow(now)
    const alive = this.#run(this.#crypto.send(key, alivePacket(), now) ?? [], now)
    return [...alive, ...this.#run(this.#crypto.nudge(key, now), now), ...this.#tickNow(now)]
  }

  /** Says goodbye to all friends. Nothing may be called afterwards. */
  stop(now: number): ToxClientEffect[] {
    return [...this.#friends.values()].flatMap((friend) =>
      this.#run(this.#crypto.kill(friend.key, 'this device stopped'), now),
    )
  }

  /** Takes one datagram. Never throws; what is not valid is dropped and counted. */
  receive(bytes: Uint8Array, from: Endpoint, now: number): ToxClientEffect[] {
    const kind = bytes[0]
    if (kind === undefined) return []
    if (NetCrypto.handles(kind)) return this.#run(this.#crypto.receive(bytes, from, now), now)
    if (OnionClient.handles(kind)) return this.#run(this.#onion.receive(bytes, from, now), now)
    return this.#run(this.#node.receive(bytes, from, now) ?? [], now)
  }

  /** Does what is due. `wallTime` is ms since 1970, for the DHT-key packets. */
  tick(now: number, wallTime: number): ToxClientEffect[] {
    const effects = this.#tickNow(now)
    effects.push(...this.#run(this.#onion.tick(now, wallTime), now))
    return effects
  }

  /** When `tick` is next needed, ms. */
  get deadline(): number | undefined {
    const friends = [...this.#friends.values()].map((friend) => friend.connection.deadline)
    const all = [this.#node.deadline, this.#onion.deadline, this.#crypto.deadline, ...friends]
    const known = all.filter((deadline) => deadline !== undefined)
    return known.length === 0 ? undefined : Math.min(...known)
  }

  stats(): ToxClientStats {
    return {
      ...this.#node.stats(),
      onionClient: this.#onion.stats(),
      netCrypto: this.#crypto.stats(),
      friends: this.#friends.size,
      friendsOnline: [...this.#friends.values()].filter((friend) => friend.connection.online).length,
    }
  }

  #send(key: LongTermPublicKey, packet: Uint8Array, now: number): ToxClientEffect[] | undefined {
    if (!this.isOnline(key)) return undefined
    const effects = this.#crypto.send(key, packet, now)
    return effects && this.#run(effects, now)
  }

  /** Everything that is due and needs no wall time. */
  #tickNow(now: number): ToxClientEffect[] {
    const effects = this.#run(this.#node.tick(now), now)
    effects.push(...this.#run(this.#crypto.tick(now), now))
    for (const friend of [...this.#friends.values()]) {
      effects.push(...this.#runFriend(friend, friend.connection.tick(now), now))
    }
    return effects
  }

  /** The friend should be found again, and we should be found: quickly. */
  #hurry(friend: Friend, now: number): void {
    if (friend.dhtKey !== undefined) this.#node.dht.search(friend.dhtKey, { now })
    if (now < this.#hurriedAt + hurryInterval) return
    this.#hurriedAt = now
    this.#node.dht.nudge(now)
    this.#onion.nudge(now)
  }

  /** Carries effects of the machines to where they belong; what is left is for the outside. */
  #run(effects: readonly (DhtEffect | OnionEffect | NetCryptoEffect)[], now: number): ToxClientEffect[] {
    return effects.flatMap((effect) => this.#carry(effect, now))
  }

  #carry(effect: DhtEffect | OnionEffect | NetCryptoEffect, now: number): ToxClientEffect[] {
    switch (effect.kind) {
      case 'send':
      case 'friend-request':
        return [effect]
      case 'found':
        return this.#found(effect.dhtKey, effect.endpoint, now)
      case 'routed-dht-key':
        return this.#run(this.#onion.receiveRouted(effect.sender, effect.payload, now), now)
      case 'route':
        return this.#run(this.#node.dht.sendRouted(effect.dhtKey, effect.plain, now), now)
      case 'friend-dht-key':
        this.#toldDhtKey(effect.friend, effect, now)
        return []
      case 'dht-key':
        return this.#provedDhtKey(effect.friend, effect.dhtKey, now)
      case 'moved':
        return []
      case 'confirmed':
      case 'packet':
      case 'silent':
      case 'closed': {
        const friend = this.#friends.get(toHex(effect.friend))
        return friend === undefined ? [] : this.#crossed(friend, effect, now)
      }
      default:
        return assertNever(effect)
    }
  }

  /** What net_crypto says of a friend's session. */
  #crossed(
    friend: Friend,
    effect: Extract<NetCryptoEffect, { readonly kind: 'confirmed' | 'packet' | 'silent' | 'closed' }>,
    now: number,
  ): ToxClientEffect[] {
    const { key, connection } = friend
    switch (effect.kind) {
      case 'confirmed':
        this.#miss(friend, false, now)
        return this.#runFriend(friend, connection.confirmed(now), now)
      case 'packet':
        if (friend.missed) this.#miss(friend, false, now)
        return this.#runFriend(friend, connection.receive(effect.packet, now), now)
      case 'silent':
        this.#hurry(friend, now)
        if (!friend.missed && this.#crypto.silentFor(key, now) >= missedAfter) this.#miss(friend, true, now)
        return this.#run(this.#crypto.send(key, alivePacket(), now) ?? [], now)
      case 'closed':
        this.#onion.friendOnline(key, { online: false, now })
        return [
          ...this.#runFriend(friend, connection.closed(effect.reason), now),
          ...this.#again(friend, effect.cause, now),
        ]
      default:
        return assertNever(effect)
    }
  }

  #miss(friend: Friend, missed: boolean, now: number): void {
    friend.missed = missed
    this.#onion.friendOnline(friend.key, { online: !missed, now })
  }

  /** After a connection ended: once more to where the friend answered, if it is only that a handshake was lost. */
  #again(friend: Friend, cause: CloseCause, now: number): ToxClientEffect[] {
    if (cause === 'left') this.#forgetDhtKey(friend)
    const { dhtKey, found } = friend
    if (cause !== 'unanswered' || dhtKey === undefined || found === undefined) return []
    if (now - found.at > freshness) return []
    return this.#run(this.#crypto.connect(friend.key, { dhtKey, endpoint: found.endpoint }, now), now)
  }

  #runFriend(friend: Friend, effects: readonly FriendConnectionEffect[], now: number): ToxClientEffect[] {
    return effects.flatMap((effect): ToxClientEffect[] => {
      switch (effect.kind) {
        case 'packet':
          return this.#run(this.#crypto.send(friend.key, effect.packet, now) ?? [], now)
        case 'kill':
          return this.#run(this.#crypto.kill(friend.key, effect.reason), now)
        case 'online':
        case 'offline':
        case 'message':
        case 'custom':
          return [{ ...effect, friend: friend.key }]
        default:
          return assertNever(effect)
      }
    })
  }

  #found(dhtKey: DhtPublicKey, endpoint: Endpoint, now: number): ToxClientEffect[] {
    for (const friend of this.#friends.values()) {
      if (friend.dhtKey === undefined || !equalBytes(friend.dhtKey, dhtKey)) continue
      friend.found = { endpoint, at: now }
      return this.#run(this.#crypto.connect(friend.key, { dhtKey, endpoint }, now), now)
    }
    return []
  }

  /** The friend's word through the onion. It may be old: what a living session proves counts for more. */
  #toldDhtKey(
    key: LongTermPublicKey,
    told: { readonly dhtKey: DhtPublicKey; readonly nodes: readonly PackedNode[] },
    now: number,
  ): void {
    const friend = this.#friends.get(toHex(key))
    if (friend === undefined) return
    const { dhtKey, nodes: named } = told
    const alive = this.#crypto.connectionWith(key) === 'confirmed' && this.#crypto.silentFor(key, now) < liveliness
    if (alive && friend.dhtKey !== undefined && !equalBytes(friend.dhtKey, dhtKey)) return
    this.#useDhtKey(friend, dhtKey)
    this.#node.dht.search(dhtKey, { named, now })
  }

  /** The friend's word in a handshake, fresh by its cookie. */
  #provedDhtKey(key: LongTermPublicKey, dhtKey: DhtPublicKey, now: number): ToxClientEffect[] {
    const friend = this.#friends.get(toHex(key))
    if (friend === undefined) return []
    this.#onion.friendDhtKey(key, dhtKey)
    this.#useDhtKey(friend, dhtKey)
    this.#node.dht.search(dhtKey, { now })
    return []
  }

  #useDhtKey(friend: Friend, dhtKey: DhtPublicKey): void {
    if (friend.dhtKey !== undefined && equalBytes(friend.dhtKey, dhtKey)) return
    this.#forgetDhtKey(friend)
    friend.dhtKey = dhtKey
  }

  #forgetDhtKey(friend: Friend): void {
    if (friend.dhtKey !== undefined) this.#node.dht.stopSearch(friend.dhtKey)
    friend.dhtKey = undefined
    friend.found = undefined
  }
}

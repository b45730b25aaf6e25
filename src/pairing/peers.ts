/**
 * The pinned peers: the devices this one talks to, with the keys it learned when they were paired. Pinned keys are never
 * replaced; `forget` is the only way out.
 */

import * as v from 'valibot'
import { freeDeviceName, isDeviceName } from '../api/device-name.ts'
import type { Endpoint } from '../api/endpoint.ts'
import { PunchGuardError } from '../api/errors.ts'
import { identityPublicKey, otrFingerprint, type SecretKey, tunnelPublicKey } from '../api/keys.ts'
import { toBase64 } from '../util/bytes.ts'
import { nearestName } from '../util/nearest-name.ts'
import { type Card, sameKeys, shareKey, toxIdLength } from './card.ts'
import { readStored, storedBytes, storedSecret, storeSecret } from './stored-value.ts'

export interface PinnedPeer extends Card {
  /** Wall time in ms. */
  readonly pinnedAt: number
  /** What the last meeting left behind, so that the next one begins without the signal networks. */
  readonly cached: CachedMeeting | undefined
  /** The last it has said of its addresses. */
  readonly announced: AnnouncedAddresses | undefined
}

export interface AnnouncedAddresses {
  readonly addresses: readonly string[]
  readonly fixedAddresses: boolean
  readonly networks: readonly string[]
}

export interface CachedMeeting {
  /** Where the peer was when a path last worked. */
  readonly remote: Endpoint
  /** The last agreed pre-shared key, 32 bytes. */
  readonly presharedKey: SecretKey
  /** What the peer's guard told of itself (api/roles.ts, `Guard.parameters`), at most 256 bytes. */
  readonly guardParameters?: Uint8Array | undefined
}

/** In the order of pinning; names are unique. A value: every change gives a new list. */
export type PinnedPeers = readonly PinnedPeer[]

/** Our choice: far more devices than one person has, few enough to read a damaged file safely. */
const maximumPeers = 256

/** As in a hello (session/messages.ts). */
const maximumGuardParameters = 256

/**
 * Pins a card. A name that another peer has already gets a number added.
 * @throws PunchGuardError PEER_EXISTS for a pinned device, PEER_REFUSED when only some of its keys are the pinned ones,
 * CARD_INVALID for our own card
 */
export function pinPeer(
  peers: PinnedPeers,
  card: Card,
  options: { readonly now: number; readonly own: Card },
): { readonly peers: PinnedPeers; readonly peer: PinnedPeer } {
  if (shareKey(card, options.own)) {
    throw new PunchGuardError('CARD_INVALID', "this is this device's own card", {
      hint: 'import it on the other device',
    })
  }
  const known = peers.find((peer) => shareKey(peer, card))
  if (known !== undefined && sameKeys(known, card)) {
    throw new PunchGuardError('PEER_EXISTS', `this device is paired already, as "${known.name}"`, {
      hint: `nothing needs doing; to begin anew: punchguard forget ${known.name}`,
    })
  }
  if (known !== undefined) {
    throw new PunchGuardError(
      'PEER_REFUSED',
      `this card says it is "${known.name}", but its keys are not the pinned ones`,
      {
        hint: `compare fingerprints with its owner; only if it was set up anew: punchguard forget ${known.name}`,
      },
    )
  }
  if (peers.length >= maximumPeers) {
    throw new PunchGuardError('PEER_EXISTS', `there are ${maximumPeers} peers already`, {
      hint: 'forget one: punchguard forget PEER',
    })
  }
  const taken = [...peers.map((peer) => peer.name), options.own.name]
  const peer: PinnedPeer = {
    ...card,
    name: freeDeviceName(card.name, taken),
    pinnedAt: options.now,
    cached: undefined,
    announced: undefined,
  }
  return { peers: [...peers, peer], peer }
}

/** @throws PunchGuardError PEER_UNKNOWN */
export function unpinPeer(peers: PinnedPeers, name: string): PinnedPeers {
  const peer = findPeer(peers, name)
  return peers.filter((other) => other !== peer)
}

/** @throws PunchGuardError PEER_UNKNOWN, with the nearest name */
export function findPeer(peers: PinnedPeers, name: string): PinnedPeer {
  const peer = peers.find((candidate) => candidate.name === name)
  if (peer !== undefined) return peer
  const names = peers.map((candidate) => candidate.name)
  const nearest = nearestName(name, names)
  const known = names.length === 0 ? 'there are no peers yet: punchguard pair' : `the peers are: ${names.join(', ')}`
  const hint = nearest === undefined ? known : `did you mean "${nearest}"?`
  throw new PunchGuardError('PEER_UNKNOWN', `there is no peer called "${name}"`, { hint })
}

/** Remembers what the last meeting left behind. Nothing happens when the peer was forgotten meanwhile. */
export function rememberMeeting(peers: PinnedPeers, name: string, cached: CachedMeeting): PinnedPeers {
  return peers.map((peer) => (peer.name === name ? { ...peer, cached } : peer))
}

/** Remembers what a peer has said of its addresses. */
export function rememberAddresses(peers: PinnedPeers, name: string, announced: AnnouncedAddresses): PinnedPeers {
  return peers.map((peer) => (peer.name === name ? { ...peer, announced } : peer))
}

/** The JSON value for a StateStore. It holds the cached pre-shared keys. */
export function encodePeers(peers: PinnedPeers): unknown {
  const stored = peers.map((peer) => ({
    name: peer.name,
    toxId: toBase64(peer.toxId),
    otrFingerprint: toBase64(peer.otrFingerprint),
    identityKey: toBase64(peer.identityKey),
    tunnelKey: toBase64(peer.tunnelKey),
    pinnedAt: peer.pinnedAt,
    ...(peer.cached && {
      cached: {
        remote: peer.cached.remote,
        presharedKey: storeSecret(peer.cached.presharedKey),
        ...(peer.cached.guardParameters && { guardParameters: toBase64(peer.cached.guardParameters) }),
      },
    }),
    ...(peer.announced && { announced: peer.announced }),
  }))
  return { version: 1, peers: stored }
}

const storedPeers = v.object({
  version: v.literal(1),
  peers: v.pipe(
    v.array(
      v.object({
        name: v.pipe(v.string(), v.check(isDeviceName)),
        toxId: storedBytes((bytes) => (bytes.length === toxIdLength ? bytes : undefined)),
        otrFingerprint: storedBytes(otrFingerprint),
        identityKey: storedBytes(identityPublicKey),
        tunnelKey: storedBytes(tunnelPublicKey),
        pinnedAt: v.pipe(v.number(), v.finite()),
        cached: v.optional(
          v.object({
            remote: v.object({
              address: v.pipe(v.string(), v.ip()),
              port: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)),
            }),
            presharedKey: storedSecret(32),
            guardParameters: v.optional(
              storedBytes((bytes) => (bytes.length <= maximumGuardParameters ? bytes : undefined)),
            ),
          }),
        ),
        announced: v.optional(
          v.object({
            addresses: v.pipe(v.array(v.pipe(v.string(), v.ip())), v.maxLength(8)),
            fixedAddresses: v.boolean(),
            networks: v.pipe(v.array(v.string()), v.maxLength(64)),
          }),
        ),
      }),
    ),
    v.maxLength(maximumPeers),
    v.check((peers) => new Set(peers.map((peer) => peer.name)).size === peers.length),
  ),
})

/** @throws PunchGuardError STATE_DAMAGED */
export function parsePeers(value: unknown): PinnedPeers {
  const hint = 'restore peers.json from a backup; without one, move it away and pair again'
  const { peers } = readStored(value, { name: 'list of peers', schema: storedPeers, hint })
  return peers.map((peer) => ({ ...peer, cached: peer.cached, announced: peer.announced }))
}

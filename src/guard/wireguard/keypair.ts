/**
 * The keypairs of a peer, whitepaper §6.1 and §6.2: the current one is sent with, the previous one still receives, and a
 * responder's next one becomes current when the peer has used it. The keys themselves are in the data plane. There may
 * be two previous ones: see installAsInitiator.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import { REJECT_AFTER_TIME } from './constants.ts'

export interface Keypair {
  readonly localIndex: number
  /** Monotonic ms. */
  readonly created: number
  /** Whether we sent the initiation. */
  readonly initiator: boolean
  /** Where the handshake message came from that completed it here. */
  readonly from: Endpoint
}

export interface Keypairs {
  readonly previous: readonly Keypair[]
  readonly current: Keypair | undefined
  readonly next: Keypair | undefined
}

/** The new three, and those that are no longer among them. */
export interface KeypairsChange {
  readonly keypairs: Keypairs
  readonly removed: readonly Keypair[]
}

export const noKeypairs: Keypairs = { previous: [], current: undefined, next: undefined }

/**
 * The response was authenticated: the responder holds the keys, so they are used at once. Until it hears of that it goes
 * on with what it had, and if it initiated too, we cannot know which that is: our response may never have arrived. So
 * both keep receiving; with one of them dropped, a lost packet would leave a tunnel that passes nothing for 15 s.
 */
export function installAsInitiator(old: Keypairs, keypair: Keypair): KeypairsChange {
  return change(old, { previous: present(old.next, old.current), current: keypair, next: undefined })
}

/**
 * We responded: the initiator may not have heard it, so the keypair waits for its first packet. The previous one stays,
 * because after two handshakes at once it is the one that the peer sends with.
 */
export function installAsResponder(old: Keypairs, keypair: Keypair): KeypairsChange {
  return change(old, { ...old, next: keypair })
}

/** The peer used the next keypair. */
export function confirmNext(old: Keypairs): KeypairsChange {
  return change(old, { previous: present(old.current), current: old.next, next: undefined })
}

export function isUsable(keypair: Keypair | undefined, now: number): keypair is Keypair {
  return keypair !== undefined && now - keypair.created < REJECT_AFTER_TIME
}

export function listKeypairs(keypairs: Keypairs): readonly Keypair[] {
  return present(...keypairs.previous, keypairs.current, keypairs.next)
}

function present(...keypairs: readonly (Keypair | undefined)[]): readonly Keypair[] {
  return keypairs.filter((keypair) => keypair !== undefined)
}

function change(old: Keypairs, keypairs: Keypairs): KeypairsChange {
  const kept = listKeypairs(keypairs)
  return { keypairs, removed: listKeypairs(old).filter((keypair) => !kept.includes(keypair)) }
}

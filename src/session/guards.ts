/** What the guards at the two ends are to each other: whether they speak the same protocol, and what ours is told of theirs. */

import { type GuardKind, type GuardPeer, guardProtocols } from '../api/roles.ts'
import { equalBytes } from '../util/bytes.ts'
import type { PeerLink } from './link.ts'

export interface GuardsAtBothEnds {
  /** The peer's name, for people. */
  readonly peer: string
  readonly link: PeerLink
  /** Ours. */
  readonly guardKind: GuardKind
  readonly guardPeer: GuardPeer
  readonly cached: () => { readonly guardParameters?: Uint8Array | undefined } | undefined
}

/** Whether packets that one guard sealed can be opened by the other: one that we do not know is another. */
export function isCommonGuard(own: GuardKind, theirs: string | undefined): boolean {
  return theirs !== undefined && isGuardKind(theirs) && guardProtocols[own] === guardProtocols[theirs]
}

/** The peer is there, but there is no guard in common; `undefined` as long as nobody says so. */
export function guardConflict({ peer, link, guardKind }: GuardsAtBothEnds): GuardConflict | undefined {
  if (link.state.kind !== 'secure' || link.state.hello === undefined) return undefined
  const [theirs] = link.state.hello.guards
  if (isCommonGuard(guardKind, theirs)) return undefined
  return {
    reason: `${peer} carries packets with ${nameOf(theirs)}, this device with ${guardKind}: they do not understand each other`,
    hint: 'set guard to the same in config.toml on both, or leave it out on both',
  }
}

export interface GuardConflict {
  readonly reason: string
  readonly hint: string
}

/** Whether the peer is on the other end of a secret channel, wants a tunnel, and our guard understands its. */
export function isReady(guards: GuardsAtBothEnds): boolean {
  const { state } = guards.link
  return state.kind === 'secure' && state.hello?.up === true && guardConflict(guards) === undefined
}

/** What the peer's guard tells of itself: as it says now, or else as it said when we last met. */
export function guardParametersOf(guards: GuardsAtBothEnds): Uint8Array | undefined {
  const { state } = guards.link
  if (state.kind === 'secure' && state.hello !== undefined && isReady(guards)) return state.hello.guardParameters
  return guards.cached()?.guardParameters
}

/** Tells our guard of the peer's, now and whenever that says something else, until disposed. */
export function introduceGuards(guards: GuardsAtBothEnds): Disposable {
  let told: Uint8Array | undefined
  const tell = (): void => {
    const parameters = guardParametersOf(guards)
    if (parameters === undefined || (told !== undefined && equalBytes(told, parameters))) return
    told = parameters
    guards.guardPeer.meet(parameters)
  }
  tell()
  return guards.link.subscribe((event) => {
    if (event.kind === 'state') tell()
  })
}

/** As the peer wrote it, for people. */
function nameOf(guard = ''): string {
  return /^[a-z0-9-]{1,32}$/.test(guard) ? guard : 'a guard without a name'
}

function isGuardKind(name: string): name is GuardKind {
  return Object.hasOwn(guardProtocols, name)
}

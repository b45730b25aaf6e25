/**
 * Where one peer's story stands, as a pure union: each state holds exactly what is known in it, and `advance` knows
 * which state may follow which. The story itself is session.ts; drawn in docs/architecture.md.
 */

import type { PeerStateKind } from '../api/device.ts'
import type { Path } from '../api/roles.ts'

export type SessionState =
  | { readonly kind: 'down' }
  | { readonly kind: 'resuming' }
  | { readonly kind: 'reaching'; readonly reason: string; readonly hint?: string }
  | { readonly kind: 'securing' }
  | { readonly kind: 'punching'; readonly attempt: number }
  | { readonly kind: 'joining'; readonly path: Path }
  | { readonly kind: 'connected'; readonly path: Path }
  | { readonly kind: 'healing'; readonly reason: string }
  | { readonly kind: 'waiting'; readonly until: number; readonly reason: string; readonly hint?: string }
  | { readonly kind: 'refused'; readonly fingerprint: string }

/** Opening a path: the order depends on what is cached and on who is online, so these may follow one another. */
const opening: readonly PeerStateKind[] = ['resuming', 'reaching', 'securing', 'punching', 'joining']

/** Which states may follow; `down` and `refused` may follow any but themselves. */
const successors: Readonly<Record<PeerStateKind, readonly PeerStateKind[]>> = {
  down: ['resuming', 'reaching', 'securing', 'punching'],
  resuming: [...opening, 'waiting'],
  reaching: [...opening, 'waiting'],
  securing: [...opening, 'waiting'],
  punching: [...opening, 'waiting'],
  joining: ['connected', 'healing', 'waiting', 'reaching'],
  connected: ['healing', 'reaching'],
  healing: ['reaching', 'joining', 'waiting'],
  waiting: ['resuming', 'reaching', 'securing', 'punching'],
  refused: [],
}

/** Whether `to` may follow `from`. A state may be entered again with other data, except the two ends. */
export function mayFollow(from: PeerStateKind, to: PeerStateKind): boolean {
  if (to === 'down' || to === 'refused') return from !== to
  return from === to || successors[from].includes(to)
}

/** The next state, which must be one that may follow: anything else is a bug in the story. */
export function advance(from: SessionState, to: SessionState): SessionState {
  if (!mayFollow(from.kind, to.kind)) throw new Error(`A session cannot go from ${from.kind} to ${to.kind}`)
  return to
}

/** Why the session is in this state, and what a person could do about it, in words. */
export function explain(state: SessionState, peer: string): { readonly reason: string; readonly hint?: string } {
  switch (state.kind) {
    case 'down':
      return { reason: 'switched off here', hint: 'punchguard up' }
    case 'resuming':
      return { reason: `trying the endpoint at which ${peer} was last` }
    case 'reaching':
      return state.hint === undefined ? { reason: state.reason } : { reason: state.reason, hint: state.hint }
    case 'securing':
      return { reason: `found ${peer}, agreeing on keys` }
    case 'punching':
      return { reason: state.attempt === 1 ? 'opening a path' : `opening a path, attempt ${state.attempt}` }
    case 'joining':
      return { reason: 'a path is open, starting the tunnel on it' }
    case 'connected':
      return { reason: 'packets pass both ways' }
    case 'healing':
      return { reason: state.reason }
    case 'waiting':
      return state.hint === undefined ? { reason: state.reason } : { reason: state.reason, hint: state.hint }
    case 'refused':
      return {
        reason: `${peer} holds another key than the one that was pinned: ${state.fingerprint}`,
        hint: `if ${peer} was set up anew, run punchguard forget ${peer} here and pair again; if not, somebody poses as it`,
      }
  }
}

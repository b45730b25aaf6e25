/** What goes into the control machine beside bytes, and what comes out of it. */

import type { Endpoint } from '../../api/endpoint.ts'
import type { DataPlaneCommand, PeerId } from '../dataplane/data-plane.ts'

/** The time of an input: monotonic and wall, ms. */
export interface Moment {
  readonly now: number
  readonly wallTime: number
}

export type DeviceEffect =
  | { readonly kind: 'datagram'; readonly bytes: Uint8Array; readonly to: Endpoint }
  | { readonly kind: 'data-plane'; readonly command: DataPlaneCommand }
  /** A session began where none was valid, or the first one since `use`. */
  | { readonly kind: 'established'; readonly peer: PeerId }
  /** We sent, and nothing came back for a second. */
  | { readonly kind: 'unanswered'; readonly peer: PeerId }

/** What the public servers (processes/servers.ts) are told and answer. */

import type { BootstrapNode } from '../../src/api/servers.ts'

export interface ServerOptions {
  /** Addresses on which a STUN server answers. */
  readonly stun: readonly string[]
  readonly stunPort: number
  /** Addresses on which a Tox node answers. */
  readonly tox: readonly string[]
  readonly toxPort: number
}

/** The first line on standard output, when every server answers. Keys in hex. */
export interface ServersReady {
  readonly tox: readonly (Omit<BootstrapNode, 'key'> & { readonly key: string })[]
}

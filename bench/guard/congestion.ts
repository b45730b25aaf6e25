/**
 * Which congestion control TCP uses here: Linux's own choice, whatever the machine prefers. By a route: a socket that is
 * told so after it has begun with BBR, as iperf3 does it, goes on with BBR's timers.
 */

import { readFileSync } from 'node:fs'
import type { Side, TwoNamespaces } from '../two-namespaces.ts'

/** What a new network namespace has. */
export function preferredHere(): string {
  return readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim()
}

/** As long as it is there, new connections from one side to an address use cubic. */
export class CubicRoute implements Disposable {
  readonly #spaces: TwoNamespaces
  readonly #from: Side
  readonly #to: string

  constructor(spaces: TwoNamespaces, { from, to }: { readonly from: Side; readonly to: string }) {
    this.#spaces = spaces
    this.#from = from
    this.#to = to
    const { device } = routeTo(spaces, from, to)
    spaces.ip(from, ['route', 'replace', to, 'dev', device, 'congctl', 'cubic'])
  }

  /** For one run of iperf3 from a to an address of b's: `-R` lets b send. */
  static ofRun(spaces: TwoNamespaces, { address, args }: RunOptions): CubicRoute {
    if (!args.includes('-R')) return new CubicRoute(spaces, { from: 'a', to: address })
    return new CubicRoute(spaces, { from: 'b', to: routeTo(spaces, 'a', address).source })
  }

  /** The bare link serves the next run too. */
  [Symbol.dispose](): void {
    this.#spaces.tryRun(this.#from, 'ip', ['route', 'del', this.#to])
  }
}

interface RunOptions {
  readonly address: string
  readonly args: readonly string[]
}

function routeTo(spaces: TwoNamespaces, from: Side, to: string): { readonly device: string; readonly source: string } {
  const answer = spaces.ip(from, ['-o', 'route', 'get', to])
  const [, device, source] = / dev (\S+) src (\S+)/.exec(answer) ?? []
  if (device === undefined || source === undefined) throw new Error(`no route to ${to}: ${answer}`)
  return { device, source }
}

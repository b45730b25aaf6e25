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

/** New connections from one side to an address use cubic until it is disposed of, or the interface is gone. */
export function useCubic(spaces: TwoNamespaces, from: Side, to: string): Disposable {
  const route = [to, 'dev', routeTo(spaces, from, to).device, 'congctl', 'cubic']
  // Before any route of the tunnel's own, which stays.
  spaces.ip(from, ['route', 'prepend', ...route])
  return { [Symbol.dispose]: () => void spaces.tryRun(from, 'ip', ['route', 'del', ...route]) }
}

/** For one run of iperf3 from a to an address of b's: `-R` lets b send. */
export function useCubicFor(
  spaces: TwoNamespaces,
  { address, args }: { readonly address: string; readonly args: readonly string[] },
): Disposable {
  if (!args.includes('-R')) return useCubic(spaces, 'a', address)
  return useCubic(spaces, 'b', routeTo(spaces, 'a', address).source)
}

function routeTo(spaces: TwoNamespaces, from: Side, to: string): { readonly device: string; readonly source: string } {
  const answer = spaces.ip(from, ['-o', 'route', 'get', to])
  const [, device, source] = / dev (\S+) src (\S+)/.exec(answer) ?? []
  if (device === undefined || source === undefined) throw new Error(`no route to ${to}: ${answer}`)
  return { device, source }
}

/**
 * A network namespace with one interface of ours in it. Only ever used inside the lab's own mount and network
 * namespaces (enter.ts), where /run is private: nothing of it is seen, or left, outside.
 */

import { systemCalls } from '../src/net/ffi.ts'
import { sharedPollLoop } from '../src/net/poll-loop.ts'
import { openTunNow } from '../src/net/tun/linux.ts'
import type { Tun } from '../src/net/tun/tun.ts'
import { runProgram } from './program.ts'

/** Packets the system keeps for us while we are busy; its default of 500 is half of a TCP window here. */
const queueLength = 10_000

export const uplink = 'eth0'

export class Namespace {
  readonly name: string
  readonly #path: string

  private constructor(name: string) {
    this.name = name
    this.#path = `/run/netns/${name}`
  }

  static make(name: string): Namespace {
    runProgram(['ip', 'netns', 'add', name])
    const namespace = new Namespace(name)
    namespace.configure(['link set dev lo up'])
    return namespace
  }

  remove(): void {
    runProgram(['ip', 'netns', 'delete', this.name])
  }

  /** Runs lines of `ip` in it. */
  configure(lines: readonly string[]): void {
    runProgram(['ip', '-n', this.name, '-batch', '-'], { input: lines.map((line) => `${line}\n`).join('') })
  }

  /** The command line that runs a program in it. */
  command(argv: readonly string[]): readonly string[] {
    return ['nsenter', `--net=${this.#path}`, '--', ...argv]
  }

  /** Gives it an uplink whose other end is the returned TUN. `addresses` with their prefix length. */
  async plug(addresses: readonly string[], options: { readonly mtu?: number } = {}): Promise<Tun> {
    const name = `pg-${this.name}`.slice(0, 15)
    const parts = { system: await systemCalls(), poll: await sharedPollLoop() }
    const tun = openTunNow({ name, mtu: options.mtu ?? 1500 }, parts)
    runProgram(['ip', 'link', 'set', 'dev', name, 'netns', this.name, 'name', uplink])
    this.configure([
      // IPv6 is off outside: no link-local address, so the system says nothing by itself.
      `link set dev ${uplink} addrgenmode none`,
      `link set dev ${uplink} txqueuelen ${queueLength}`,
      ...addresses.map((address) => `addr add ${address} dev ${uplink}`),
      `link set dev ${uplink} up`,
      `route add default dev ${uplink}`,
    ])
    return tun
  }
}

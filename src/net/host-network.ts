/** The operating system's network as the rooms see it: UDP over IPv4, local addresses, names, and changes. */

import { lookup } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { DatagramSocket, HostNetwork } from '../api/network.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { Listeners } from '../util/listeners.ts'
import { runInBackground } from '../util/run-in-background.ts'
import { systemCalls } from './ffi.ts'
import { watchNetlink } from './netlink.ts'
import { defaultRoutes, NetworkWatch } from './network-watch.ts'
import { sharedPollLoop } from './poll-loop.ts'
import { bindUdpSocket } from './udp-socket.ts'

export interface SystemHostOptions {
  readonly clock?: Clock
  /** Names of our own tunnel interfaces; read at every look, so it may be filled later. */
  readonly ignoreInterfaces?: readonly string[]
}

export function systemHost(options: SystemHostOptions = {}): HostNetwork {
  return new SystemHost(options)
}

class SystemHost implements HostNetwork {
  readonly #clock: Clock
  readonly #ignoreInterfaces: readonly string[]
  readonly #listeners: Listeners<void> = new Listeners()
  #watching: Disposable | undefined

  constructor(options: SystemHostOptions) {
    this.#clock = options.clock ?? systemClock
    this.#ignoreInterfaces = options.ignoreInterfaces ?? []
  }

  bindUdp({ port }: { readonly port: number }): Promise<DatagramSocket> {
    return bindUdpSocket(port)
  }

  localAddresses(): readonly string[] {
    const addresses: string[] = []
    for (const [name, entries] of Object.entries(networkInterfaces())) {
      if (this.#ignoreInterfaces.includes(name)) continue
      for (const { family, internal, address } of entries ?? [])
        if (family === 'IPv4' && !internal && !isLinkLocal(address)) addresses.push(address)
    }
    return addresses
  }

  async resolve(host: string): Promise<string | undefined> {
    if (isIPv4(host)) return host
    try {
      const { address } = await lookup(host, { family: 4 })
      return address
    } catch {
      return undefined
    }
  }

  watch(listener: () => void): Disposable {
    const registration = this.#listeners.add(listener)
    this.#watching ??= this.#startWatching()
    return {
      [Symbol.dispose]: () => {
        registration[Symbol.dispose]()
        if (this.#listeners.size > 0) return
        this.#watching?.[Symbol.dispose]()
        this.#watching = undefined
      },
    }
  }

  #startWatching(): Disposable {
    const watch = new NetworkWatch({
      clock: this.#clock,
      snapshot: () => this.#snapshot(),
      changed: () => this.#listeners.emit(),
    })
    const hints = new AsyncHints(() => watch.hint())
    return {
      [Symbol.dispose]: () => {
        hints[Symbol.dispose]()
        watch[Symbol.dispose]()
      },
    }
  }

  #snapshot(): string {
    return [...[...this.localAddresses()].sort(), ...defaultRoutes(routeTable(), this.#ignoreInterfaces)].join('\n')
  }
}

/** Netlink as soon as it is loaded, where there is any; without it the watch looks by itself. */
class AsyncHints implements Disposable {
  #netlink: Disposable | undefined
  #disposed = false

  constructor(onChange: () => void) {
    if (process.platform === 'linux') runInBackground(this.#open(onChange), () => {})
  }

  async #open(onChange: () => void): Promise<void> {
    const parts = { system: await systemCalls(), poll: await sharedPollLoop() }
    if (!this.#disposed) this.#netlink = watchNetlink(parts, onChange)
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#netlink?.[Symbol.dispose]()
  }
}

/** RFC 3927. */
function isLinkLocal(address: string): boolean {
  return address.startsWith('169.254.')
}

/** Empty where there is no such file. */
function routeTable(): string {
  try {
    return readFileSync('/proc/net/route', 'utf8')
  } catch {
    return ''
  }
}

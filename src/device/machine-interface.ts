/**
 * Addresses and routes of a tunnel on this machine. Both are given as they shall be: what is there already stays as it
 * is, so that nothing flows elsewhere in between, and every change has its undo (net/undo-log.ts).
 */

import { PunchGuardError } from '../api/errors.ts'
import { hostPrefix, isIpv6 } from '../api/ip-prefix.ts'
import { NetworkInterface } from '../net/interface.ts'
import type { NetworkCommands } from '../net/network-commands.ts'
import type { RunCommand } from '../net/run-command.ts'
import { overlapsLiveRoute, systemNetwork } from '../net/system-network.ts'
import type { UndoLog } from '../net/undo-log.ts'
import type { PeerRoutes, TunnelInterface } from './parts.ts'
import { Serial } from './serial.ts'

interface Parts {
  readonly log: UndoLog
  readonly run?: RunCommand
  readonly network?: NetworkCommands
}

interface Route extends AsyncDisposable {
  readonly interfaceName: string
  mtu: number | undefined
}

export class MachineInterface implements TunnelInterface, AsyncDisposable {
  readonly #parts: Parts
  readonly #main: NetworkInterface
  /** The guard's, and those that it has for single peers. */
  readonly #interfaces: Map<string, NetworkInterface>
  /** By address, then by interface: those of single peers have them too. */
  readonly #addresses: Map<string, Map<NetworkInterface, AsyncDisposable>> = new Map()
  /** By peer, then by prefix. */
  readonly #routes: Map<string, Map<string, Route>> = new Map()
  readonly #serial: Serial = new Serial()

  private constructor(main: NetworkInterface, parts: Parts) {
    this.#main = main
    this.#parts = parts
    this.#interfaces = new Map([[main.name, main]])
  }

  /** An interface that is there, such as a TUN. `mtu`: as it is unless told. @throws PunchGuardError GUARD_UNAVAILABLE */
  static async adopt(options: Parts & { readonly name: string; readonly mtu?: number }): Promise<MachineInterface> {
    const main = await NetworkInterface.adopt(options)
    if (options.mtu !== undefined) await main.setMtu(options.mtu)
    return new MachineInterface(main, options)
  }

  /** An interface of a kernel driver, deleted at the end. @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED */
  static async create(
    options: Parts & { readonly name: string; readonly type: string; readonly mtu: number },
  ): Promise<MachineInterface> {
    const main = await NetworkInterface.create(options)
    await main.setMtu(options.mtu)
    return new MachineInterface(main, options)
  }

  /** An interface that was made already. */
  static of(main: NetworkInterface, parts: Parts): MachineInterface {
    return new MachineInterface(main, parts)
  }

  /** One more interface, for a single peer, with our addresses. Taken over. Gone when what is given back is disposed. */
  async addInterface(added: NetworkInterface): Promise<AsyncDisposable> {
    const remove = (): Promise<void> => this.#serial.run(() => this.#removeInterface(added))
    try {
      await this.#serial.run(async () => {
        this.#interfaces.set(added.name, added)
        for (const [address, places] of this.#addresses) places.set(added, await added.addAddress(hostPrefix(address)))
        await added.setUp()
      })
    } catch (error) {
      await remove()
      throw error
    }
    return { [Symbol.asyncDispose]: remove }
  }

  /** With the first addresses the interface goes up. @throws PunchGuardError ADDRESS_IN_USE; nothing has changed then */
  setAddresses(addresses: readonly string[]): Promise<void> {
    return this.#serial.run(async () => {
      const wanted = addresses.filter((address) => this.#hasIpv6() || !isIpv6(address))
      for (const address of wanted) await this.#refuseTaken(address)
      for (const address of wanted) {
        if (this.#addresses.has(address)) continue
        const places = new Map<NetworkInterface, AsyncDisposable>()
        this.#addresses.set(address, places)
        for (const one of this.#interfaces.values()) places.set(one, await one.addAddress(hostPrefix(address)))
      }
      for (const [address, places] of this.#addresses) {
        if (wanted.includes(address)) continue
        this.#addresses.delete(address)
        for (const added of places.values()) await added[Symbol.asyncDispose]()
      }
      await this.#main.setUp()
    })
  }

  setRoutes(peer: string, { interfaceName, cidrs, mtu }: PeerRoutes): Promise<void> {
    return this.#serial.run(async () => {
      const routes = this.#routes.get(peer) ?? new Map<string, Route>()
      this.#routes.set(peer, routes)
      const wanted = cidrs.filter((cidr) => this.#hasIpv6() || !isIpv6(cidr))
      for (const [cidr, route] of routes) {
        if (wanted.includes(cidr) && route.interfaceName === interfaceName) continue
        routes.delete(cidr)
        await route[Symbol.asyncDispose]()
      }
      for (const cidr of wanted) await this.#setRoute(routes, { cidr, interfaceName, mtu: mtuFor(cidr, mtu) })
      if (routes.size === 0) this.#routes.delete(peer)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#serial.run(async () => {
      for (const one of [...this.#interfaces.values()].reverse()) await one[Symbol.asyncDispose]()
    })
  }

  async #removeInterface(removed: NetworkInterface): Promise<void> {
    this.#interfaces.delete(removed.name)
    for (const places of this.#addresses.values()) places.delete(removed)
    for (const routes of this.#routes.values()) {
      for (const [cidr, { interfaceName }] of routes) if (interfaceName === removed.name) routes.delete(cidr)
    }
    await removed[Symbol.asyncDispose]()
  }

  #hasIpv6(): boolean {
    return (this.#parts.network ?? systemNetwork).hasIpv6()
  }

  async #setRoute(
    routes: Map<string, Route>,
    wanted: { readonly cidr: string; readonly interfaceName: string; readonly mtu: number | undefined },
  ): Promise<void> {
    const { cidr, interfaceName, mtu } = wanted
    const known = routes.get(cidr)
    const through = await this.#interfaceNamed(interfaceName)
    if (known === undefined) {
      const added = await through.addRoute(cidr, { mtu })
      routes.set(cidr, { interfaceName, mtu, [Symbol.asyncDispose]: () => added[Symbol.asyncDispose]() })
    } else if (known.mtu !== mtu) {
      await through.changeRoute(cidr, { mtu })
      known.mtu = mtu
    }
  }

  async #interfaceNamed(name: string): Promise<NetworkInterface> {
    const known = this.#interfaces.get(name)
    if (known !== undefined) return known
    const adopted = await NetworkInterface.adopt({ ...this.#parts, name })
    this.#interfaces.set(name, adopted)
    return adopted
  }

  /** Our address must not lie in a network that this machine is on: its packets would go astray. */
  async #refuseTaken(address: string): Promise<void> {
    if (isIpv6(address)) return
    const ignoreInterfaces = [...this.#interfaces.keys()]
    const route = await overlapsLiveRoute(hostPrefix(address), { ...this.#parts, ignoreInterfaces })
    if (route === undefined) return
    const via = route.via === undefined ? '' : ` (${route.via})`
    throw new PunchGuardError(
      'ADDRESS_IN_USE',
      `the tunnel address ${address} lies in ${route.cidr}${via}, a network of this machine`,
      { hint: 'set other ones in config.toml: addresses = ["10.77.1.2", "fd70::1234"]' },
    )
  }
}

/** RFC 8200 §5: no IPv6 link may have less. Larger IPv6 packets than the path's are cut outside the tunnel then. */
const leastIpv6Mtu = 1280

function mtuFor(cidr: string, mtu: number | undefined): number | undefined {
  return mtu === undefined || !isIpv6(cidr) ? mtu : Math.max(mtu, leastIpv6Mtu)
}

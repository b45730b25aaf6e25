/**
 * Address, MTU, state and routes of one interface, through the programs of the system (network-commands.ts). Every change
 * is in the undo log before it is made, and is taken back in reverse when the interface is disposed.
 */

import { PunchGuardError } from '../api/errors.ts'
import { randomBelow, systemRandom } from '../util/random.ts'
import type { InterfaceChange, InterfaceIdentity, NetworkCommands } from './network-commands.ts'
import { type RunCommand, runCommand } from './run-command.ts'
import { systemNetwork } from './system-network.ts'
import { makePersistentTun } from './tun/linux.ts'
import type { TunOptions } from './tun/tun.ts'
import type { Undo } from './undo.ts'
import type { UndoLog } from './undo-log.ts'

export interface InterfaceOptions {
  readonly name: string
  readonly log: UndoLog
  readonly run?: RunCommand
  readonly network?: NetworkCommands
}

/** Above what the kernel gives out by itself: chosen before the interface exists, so that the log can name it. */
const ownIndexes = { first: 2 ** 24, count: 2 ** 30 } as const

export class NetworkInterface implements AsyncDisposable {
  readonly name: string
  readonly #identity: InterfaceIdentity
  readonly #log: UndoLog
  readonly #run: RunCommand
  readonly #network: NetworkCommands
  /** Of routes whose packets must be shorter than the interface's, by prefix. */
  readonly #routeMtus: Map<string, number> = new Map()
  /** As it was set, or found. */
  #mtu: number | undefined
  /** Ids in the undo log, oldest first. */
  readonly #changes: Set<number> = new Set()

  private constructor(options: InterfaceOptions, found: { readonly index: number; readonly mtu?: number }) {
    const { network = systemNetwork } = options
    this.name = options.name
    this.#identity = { name: options.name, index: found.index, place: network.place() }
    this.#log = options.log
    this.#run = options.run ?? runCommand
    this.#network = network
    this.#mtu = found.mtu
  }

  /**
   * An interface that we opened already, such as a TUN.
   * @throws PunchGuardError GUARD_UNAVAILABLE when there is none, or no program to ask
   */
  static async adopt(options: InterfaceOptions): Promise<NetworkInterface> {
    const { run = runCommand, network = systemNetwork } = options
    const link = await network.findLink(options.name, run)
    if (link !== undefined) return new NetworkInterface(options, link)
    throw new PunchGuardError('GUARD_UNAVAILABLE', `there is no interface named ${options.name}`, {
      hint: 'start again: another program may have removed it',
    })
  }

  /**
   * A new interface of a kernel driver of Linux, such as `wireguard`; it is deleted at the end.
   * @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED
   */
  static async create(options: InterfaceOptions & { readonly type: string }): Promise<NetworkInterface> {
    const index = newIndex()
    const created = new NetworkInterface(options, { index })
    const args = ['link', 'add', 'name', options.name, 'index', String(index), 'type', options.type]
    const undo: Undo = { kind: 'delete-interface', of: created.#identity }
    await created.#changeBy(undo, () => created.#run('ip', args))
    return created
  }

  /**
   * A TUN of Linux for another program, which opens it by its name and may come and go; it is deleted at the end.
   * @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED
   */
  static async createTun(
    options: InterfaceOptions & TunOptions & { readonly make?: typeof makePersistentTun },
  ): Promise<NetworkInterface> {
    const { make = makePersistentTun } = options
    const index = newIndex()
    const created = new NetworkInterface(options, { index })
    await created.#changeBy({ kind: 'delete-interface', of: created.#identity }, () => make({ ...options, index }))
    return created
  }

  /** `10.70.1.2/32` or `fd70::1/128`. Where IPv6 is switched off the latter fails: ask `hasIpv6` first. */
  async addAddress(cidr: string): Promise<AsyncDisposable> {
    const undo: Undo = { kind: 'delete-address', of: this.#identity, cidr }
    return this.#undoing(await this.#change(undo, { kind: 'add-address', cidr }))
  }

  /** Bytes. */
  async setMtu(mtu: number): Promise<void> {
    this.#mtu = mtu
    await this.#changeMtu(mtu)
  }

  async setUp(): Promise<void> {
    await this.#change({ kind: 'set-down', of: this.#identity }, { kind: 'set-up' })
  }

  /** Sends a prefix into the interface until the route is disposed, or the interface. `mtu`: of the interface unless told. */
  async addRoute(cidr: string, { mtu }: { readonly mtu?: number | undefined } = {}): Promise<AsyncDisposable> {
    const undo: Undo = { kind: 'delete-route', of: this.#identity, cidr }
    const route = this.#undoing(await this.#change(undo, { kind: 'add-route', cidr, mtu }))
    await this.#fitRoute(cidr, mtu)
    return {
      [Symbol.asyncDispose]: async () => {
        await route[Symbol.asyncDispose]()
        await this.#fitRoute(cidr, undefined)
      },
    }
  }

  /** A route that is there, with another MTU: at no moment do its packets go elsewhere. */
  async changeRoute(cidr: string, { mtu }: { readonly mtu: number | undefined }): Promise<void> {
    await this.#make({ kind: 'change-route', cidr, mtu }).catch((error: unknown) => {
      throw this.#network.explained(error)
    })
    await this.#fitRoute(cidr, mtu)
  }

  /** Never rejects: what could not be taken back stays in the log. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of [...this.#changes].reverse()) await this.#log.undo(id).catch(() => {})
    this.#changes.clear()
    this.#routeMtus.clear()
  }

  /** Where routes have no MTU the interface has the least of theirs: no packet is too long for its path. */
  async #fitRoute(cidr: string, mtu: number | undefined): Promise<void> {
    if (this.#network.routesHaveMtu) return
    const known = this.#routeMtus.get(cidr)
    if (known === mtu) return
    if (mtu === undefined) this.#routeMtus.delete(cidr)
    else this.#routeMtus.set(cidr, mtu)
    const fitting = Math.min(this.#mtu ?? Number.POSITIVE_INFINITY, ...this.#routeMtus.values())
    if (Number.isFinite(fitting)) await this.#changeMtu(fitting)
  }

  async #changeMtu(mtu: number): Promise<void> {
    const before = (await this.#network.findLink(this.name, this.#run))?.mtu
    if (before === undefined || before === mtu) return
    await this.#change({ kind: 'set-mtu', of: this.#identity, mtu: before }, { kind: 'set-mtu', mtu })
  }

  #undoing(id: number): AsyncDisposable {
    return {
      [Symbol.asyncDispose]: async () => {
        await this.#log.undo(id)
        this.#changes.delete(id)
      },
    }
  }

  #change(undo: Undo, change: InterfaceChange): Promise<number> {
    return this.#changeBy(undo, () => this.#make(change))
  }

  #make(change: InterfaceChange): Promise<void> {
    return this.#network.change(this.name, change, this.#run)
  }

  async #changeBy(undo: Undo, make: () => Promise<unknown>): Promise<number> {
    const id = await this.#log.record(undo)
    try {
      await make()
    } catch (error) {
      await this.#log.forget(id)
      throw this.#network.explained(error)
    }
    this.#changes.add(id)
    return id
  }
}

function newIndex(): number {
  return ownIndexes.first + randomBelow(systemRandom, ownIndexes.count)
}

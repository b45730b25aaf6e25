/**
 * Address, MTU, state and routes of one interface on Linux, through `ip`. Every change is in the undo log before it is
 * made, and is taken back in reverse when the interface is disposed.
 */

import { PunchGuardError } from '../api/errors.ts'
import { randomBelow, systemRandom } from '../util/random.ts'
import { currentPlace, explained, familyOption, findLink, type InterfaceIdentity } from './ip-command.ts'
import { type RunCommand, runCommand } from './run-command.ts'
import { makePersistentTun, type TunOptions } from './tun/linux.ts'
import type { Undo } from './undo.ts'
import type { UndoLog } from './undo-log.ts'

export interface InterfaceOptions {
  readonly name: string
  readonly log: UndoLog
  readonly run?: RunCommand
}

/** Above what the kernel gives out by itself: chosen before the interface exists, so that the log can name it. */
const ownIndexes = { first: 2 ** 24, count: 2 ** 30 } as const

export class NetworkInterface implements AsyncDisposable {
  readonly name: string
  readonly #identity: InterfaceIdentity
  readonly #log: UndoLog
  readonly #run: RunCommand
  /** Ids in the undo log, oldest first. */
  readonly #changes: Set<number> = new Set()

  private constructor(options: InterfaceOptions, index: number) {
    this.name = options.name
    this.#identity = { name: options.name, index, place: currentPlace() }
    this.#log = options.log
    this.#run = options.run ?? runCommand
  }

  /**
   * An interface that we opened already, such as a TUN.
   * @throws PunchGuardError GUARD_UNAVAILABLE when there is none, or no `ip`
   */
  static async adopt(options: InterfaceOptions): Promise<NetworkInterface> {
    const link = await findLink(options.name, options.run)
    if (link !== undefined) return new NetworkInterface(options, link.index)
    throw new PunchGuardError('GUARD_UNAVAILABLE', `there is no interface named ${options.name}`, {
      hint: 'start again: another program may have removed it',
    })
  }

  /**
   * A new interface of a kernel driver, such as `wireguard`; it is deleted at the end.
   * @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED
   */
  static async create(options: InterfaceOptions & { readonly type: string }): Promise<NetworkInterface> {
    const index = newIndex()
    const created = new NetworkInterface(options, index)
    const args = ['link', 'add', 'name', options.name, 'index', String(index), 'type', options.type]
    await created.#change({ kind: 'delete-interface', of: created.#identity }, args)
    return created
  }

  /**
   * A TUN for another program, which opens it by its name and may come and go; it is deleted at the end.
   * @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED
   */
  static async createTun(
    options: InterfaceOptions & TunOptions & { readonly make?: typeof makePersistentTun },
  ): Promise<NetworkInterface> {
    const { make = makePersistentTun } = options
    const index = newIndex()
    const created = new NetworkInterface(options, index)
    await created.#changeBy({ kind: 'delete-interface', of: created.#identity }, () => make({ ...options, index }))
    return created
  }

  /** `10.70.1.2/32` or `fd70::1/128`. Where IPv6 is switched off the latter fails: ask `hasIpv6` first. */
  async addAddress(cidr: string): Promise<AsyncDisposable> {
    const args = [familyOption(cidr), 'address', 'add', cidr, 'dev', this.name]
    return this.#undoing(await this.#change({ kind: 'delete-address', of: this.#identity, cidr }, args))
  }

  /** Bytes. */
  async setMtu(mtu: number): Promise<void> {
    const before = (await findLink(this.name, this.#run))?.mtu
    if (before === undefined || before === mtu) return
    const args = ['link', 'set', 'dev', this.name, 'mtu', String(mtu)]
    await this.#change({ kind: 'set-mtu', of: this.#identity, mtu: before }, args)
  }

  async setUp(): Promise<void> {
    await this.#change({ kind: 'set-down', of: this.#identity }, ['link', 'set', 'dev', this.name, 'up'])
  }

  /** Sends a prefix into the interface until the route is disposed, or the interface. `mtu`: of the interface unless told. */
  async addRoute(cidr: string, options: { readonly mtu?: number | undefined } = {}): Promise<AsyncDisposable> {
    const args = [familyOption(cidr), 'route', 'add', cidr, 'dev', this.name, ...routeMtu(options.mtu)]
    return this.#undoing(await this.#change({ kind: 'delete-route', of: this.#identity, cidr }, args))
  }

  /** A route that is there, with another MTU: at no moment do its packets go elsewhere. */
  async changeRoute(cidr: string, options: { readonly mtu: number | undefined }): Promise<void> {
    const args = [familyOption(cidr), 'route', 'replace', cidr, 'dev', this.name, ...routeMtu(options.mtu)]
    await this.#run('ip', args).catch((error: unknown) => {
      throw explained(error)
    })
  }

  /** Never rejects: what could not be taken back stays in the log. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of [...this.#changes].reverse()) await this.#log.undo(id).catch(() => {})
    this.#changes.clear()
  }

  #undoing(id: number): AsyncDisposable {
    return {
      [Symbol.asyncDispose]: async () => {
        await this.#log.undo(id)
        this.#changes.delete(id)
      },
    }
  }

  #change(undo: Undo, args: readonly string[]): Promise<number> {
    return this.#changeBy(undo, () => this.#run('ip', args))
  }

  async #changeBy(undo: Undo, make: () => Promise<unknown>): Promise<number> {
    const id = await this.#log.record(undo)
    try {
      await make()
    } catch (error) {
      await this.#log.forget(id)
      throw explained(error)
    }
    this.#changes.add(id)
    return id
  }
}

function newIndex(): number {
  return ownIndexes.first + randomBelow(systemRandom, ownIndexes.count)
}

function routeMtu(mtu: number | undefined): readonly string[] {
  return mtu === undefined ? [] : ['mtu', String(mtu)]
}

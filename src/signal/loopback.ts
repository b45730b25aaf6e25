/**
 * A signal network in memory, for programs and tests that hold both devices: a hub carries texts between its members,
 * in order, each after a delay. It loses nothing; a member can be taken offline.
 */

import { PunchGuardError } from '../api/errors.ts'
import type { Introduction, SignalChannel, SignalEvent, SignalNetwork, SignalNetworkStatus } from '../api/roles.ts'
import { toUtf8 } from '../util/bytes.ts'
import type { Clock } from '../util/clock.ts'
import { Listeners } from '../util/listeners.ts'

const maximumTextBytes = 1372

export class LoopbackHub {
  readonly #members: Map<string, LoopbackNetwork> = new Map()
  readonly #clock: Clock
  /** ms from one member to another. */
  readonly #delay: number

  constructor(options: { readonly clock: Clock; readonly delay?: number }) {
    this.#clock = options.clock
    this.#delay = options.delay ?? 0
  }

  /** A member with this address. @throws PunchGuardError ADDRESS_IN_USE */
  join(address: string): LoopbackNetwork {
    if (this.#members.has(address)) {
      throw new PunchGuardError('ADDRESS_IN_USE', `Another member has the address "${address}"`, {
        hint: 'choose another',
      })
    }
    const member = new LoopbackNetwork(address, {
      member: (name) => this.#members.get(name),
      later: (run) => void this.#clock.after(this.#delay, run),
      left: () => {
        this.#members.delete(address)
        this.#meet()
      },
      moved: () => this.#meet(),
    })
    this.#members.set(address, member)
    return member
  }

  #meet(): void {
    for (const member of this.#members.values()) member.meet()
  }
}

interface Hub {
  member(address: string): LoopbackNetwork | undefined
  later(run: () => void): void
  left(): void
  moved(): void
}

export class LoopbackNetwork implements SignalNetwork {
  readonly name: string = 'loopback'
  readonly address: string
  readonly #hub: Hub
  readonly #channels: Map<string, LoopbackChannel> = new Map()
  readonly #introductions: Listeners<Introduction> = new Listeners()
  readonly #introduced: Set<string> = new Set()
  #online = true

  constructor(address: string, hub: Hub) {
    this.address = address
    this.#hub = hub
  }

  get online(): boolean {
    return this.#online
  }

  /** Takes the member off the hub, or back onto it. */
  setOnline(online: boolean): void {
    this.#online = online
    this.#hub.moved()
  }

  status(): SignalNetworkStatus {
    return this.#online ? { kind: 'online', detail: 'in memory' } : { kind: 'connecting', reason: 'taken offline' }
  }

  open(address: string, options: { readonly introduction?: string } = {}): SignalChannel {
    const existing = this.#channels.get(address)
    if (existing !== undefined) return existing
    const channel = new LoopbackChannel({
      later: this.#hub.later,
      other: () => this.#hub.member(address)?.channelTo(this.address),
      closed: () => {
        this.#channels.delete(address)
        this.#hub.moved()
      },
    })
    this.#channels.set(address, channel)
    const { introduction } = options
    if (introduction !== undefined) {
      this.#hub.later(() => this.#hub.member(address)?.introduce({ address: this.address, text: introduction }))
    }
    this.#hub.later(() => this.#hub.moved())
    return channel
  }

  introductions(listener: (introduction: Introduction) => void): Disposable {
    return this.#introductions.add(listener)
  }

  channelTo(address: string): LoopbackChannel | undefined {
    return this.#channels.get(address)
  }

  introduce(introduction: Introduction): void {
    const { address } = introduction
    if (!this.#online || this.#channels.has(address) || this.#introduced.has(address)) return
    this.#introduced.add(address)
    this.#introductions.emit(introduction)
  }

  /** Looks which channels have both ends online now. */
  meet(): void {
    for (const [address, channel] of this.#channels) {
      const other = this.#hub.member(address)
      channel.setOnline(this.#online && other?.online === true && other.channelTo(this.address) !== undefined)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const channel of [...this.#channels.values()]) await channel[Symbol.asyncDispose]()
    this.#hub.left()
  }
}

interface ChannelEnd {
  later(run: () => void): void
  other(): LoopbackChannel | undefined
  closed(): void
}

class LoopbackChannel implements SignalChannel {
  readonly maximumTextBytes: number = maximumTextBytes
  readonly #end: ChannelEnd
  readonly #listeners: Listeners<SignalEvent> = new Listeners()
  #online = false

  constructor(end: ChannelEnd) {
    this.#end = end
  }

  get online(): boolean {
    return this.#online
  }

  send(text: string): boolean {
    if (!this.#online || toUtf8(text).length > maximumTextBytes) return false
    this.#end.later(() => this.#end.other()?.deliver(text))
    return true
  }

  subscribe(listener: (event: SignalEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  nudge(): void {}

  deliver(text: string): void {
    if (this.#online) this.#listeners.emit({ kind: 'text', text })
  }

  setOnline(online: boolean): void {
    if (this.#online === online) return
    this.#online = online
    this.#listeners.emit(online ? { kind: 'online' } : { kind: 'offline', reason: 'the other end has left' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#online = false
    this.#end.closed()
  }
}

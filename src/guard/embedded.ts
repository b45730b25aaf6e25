/**
 * The embedded guard: WireGuard in this process, on the very socket that punched. A thin shell around the control machine
 * (wireguard/device.ts) and a data plane (dataplane/), with one timer.
 */

import type { Endpoint } from '../api/endpoint.ts'
import { type SecretKey, shortKey } from '../api/keys.ts'
import type { Guard, GuardEvent, GuardPeer, GuardPeerOptions, GuardPeerStats, GuardStatus, Path } from '../api/roles.ts'
import type { Tun } from '../net/tun/tun.ts'
import { assertNever } from '../util/assert-never.ts'
import type { Clock } from '../util/clock.ts'
import { DeadlineTimer } from '../util/deadline-timer.ts'
import { Listeners } from '../util/listeners.ts'
import { type Logger, silentLogger, withFields } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { DataPlane, DataPlaneEvent, PeerId } from './dataplane/data-plane.ts'
import { type GuardUnderlay, type PacketDevice, PlainDataPlane } from './dataplane/plain.ts'
import { parseAllowedIp, refusedPeer } from './peer-options.ts'
import type { Prefix } from './wireguard/allowed-ips.ts'
import { WireGuardDevice } from './wireguard/device.ts'
import { sumCounts } from './wireguard/drop-counter.ts'
import type { DeviceEffect, Moment } from './wireguard/effects.ts'
import type { MessageLimits } from './wireguard/peer.ts'

export type GuardTun = PacketDevice & Pick<Tun, 'name'> & AsyncDisposable

export interface EmbeddedGuardOptions {
  /** Shared with the puncher; stays open when the guard is disposed. */
  readonly underlay: GuardUnderlay
  /** Taken over: closed with the guard. */
  readonly tun: GuardTun
  readonly clock: Clock
  readonly random: Random
  /** The caller's, which may wipe it once the guard is disposed. */
  readonly privateKey: SecretKey
  readonly logger?: Logger
  /** What `lastTimestamp` of an earlier run said: see wireguard/device.ts. */
  readonly lastTimestamp?: Uint8Array | undefined
  /** ms; for paths that nothing else keeps open. None by default: the punch keeps its own. */
  readonly persistentKeepalive?: number
  /** Taken over. The plain one by default. It is already wired to the socket and the TUN device. */
  readonly dataPlane?: DataPlane
  /** For tests and measurements. */
  readonly limits?: Partial<MessageLimits>
  readonly underLoadMessages?: number
}

export interface GuardStats {
  /** Messages and packets that belong to no peer and were dropped, by reason. */
  readonly dropped: Readonly<Record<string, number>>
}

export class EmbeddedGuard implements Guard {
  readonly kind = 'embedded'
  readonly #options: EmbeddedGuardOptions
  readonly #logger: Logger
  readonly #device: WireGuardDevice
  readonly #plane: DataPlane
  readonly #timer: DeadlineTimer
  readonly #peers: Map<PeerId, EmbeddedPeer> = new Map()

  constructor(options: EmbeddedGuardOptions) {
    this.#options = options
    this.#logger = options.logger ?? silentLogger
    this.#device = new WireGuardDevice(options)
    this.#plane = options.dataPlane ?? new PlainDataPlane(options)
    this.#plane.listen((event) => this.#receive(event))
    this.#timer = new DeadlineTimer(options.clock, () => this.#run(this.#device.tick(this.#moment())))
  }

  get interfaceName(): string {
    return this.#options.tun.name
  }

  /** The last handshake timestamp sent, 12 bytes: kept with the device's state, it outlives a clock that is set back. */
  get lastTimestamp(): Uint8Array | undefined {
    return this.#device.lastTimestamp
  }

  readonly parameters: Uint8Array = new Uint8Array(0)

  status(): GuardStatus {
    return this.#plane.status
  }

  /** @throws PunchGuardError CONFIG_INVALID, PEER_EXISTS */
  async addPeer(options: GuardPeerOptions): Promise<GuardPeer> {
    const { publicKey, presharedKey } = options
    const allowedIps = options.allowedIps.map(parseAllowedIp)
    const { persistentKeepalive = 0 } = this.#options
    const added = this.#device.addPeer({ publicKey, presharedKey, allowedIps, persistentKeepalive })
    if (added === undefined) throw refusedPeer(publicKey)
    const peer = new EmbeddedPeer({
      interfaceName: this.interfaceName,
      logger: withFields(this.#logger, { peer: shortKey(publicKey) }),
      use: (endpoint, initiate) =>
        this.#run(this.#device.use(added.peer, endpoint, { initiate, moment: this.#moment() })),
      move: (endpoint) => this.#run(this.#device.move(added.peer, endpoint, this.#moment())),
      setPresharedKey: (key) => this.#device.setPresharedKey(added.peer, key),
      stats: () => this.#device.peerStats(added.peer),
      setAllowedIps: (prefixes) => this.#run(this.#device.setAllowedIps(added.peer, prefixes)),
      remove: () => {
        this.#peers.delete(added.peer)
        this.#run(this.#device.removePeer(added.peer))
      },
    })
    this.#peers.set(added.peer, peer)
    this.#run(added.effects)
    return peer
  }

  stats(): GuardStats {
    return { dropped: sumCounts(this.#device.dropped(), this.#plane.dropped()) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of [...this.#peers.values()]) await peer[Symbol.asyncDispose]()
    this.#timer[Symbol.dispose]()
    this.#plane[Symbol.dispose]()
    await this.#options.tun[Symbol.asyncDispose]()
  }

  #receive(event: DataPlaneEvent): void {
    switch (event.kind) {
      case 'report':
        this.#run(this.#device.report(event.peer, event.activity, this.#moment()))
        break
      case 'handshake-message':
        this.#run(this.#device.receive(event.bytes, event.from, this.#moment()))
        break
      default:
        assertNever(event)
    }
  }

  #run(effects: readonly DeviceEffect[]): void {
    for (const effect of effects) this.#perform(effect)
    this.#timer.set(this.#device.deadline)
  }

  #perform(effect: DeviceEffect): void {
    switch (effect.kind) {
      case 'datagram':
        this.#options.underlay.send(effect.bytes, effect.to)
        break
      case 'data-plane':
        this.#plane.apply(effect.command)
        break
      case 'established':
      case 'unanswered':
        this.#peers.get(effect.peer)?.emit({ kind: effect.kind })
        break
      default:
        assertNever(effect)
    }
  }

  #moment(): Moment {
    const { clock } = this.#options
    return { now: clock.now(), wallTime: clock.wallTime() }
  }
}

/** What a peer may ask of its guard. */
interface PeerControls {
  readonly interfaceName: string
  readonly logger: Logger
  readonly use: (endpoint: Endpoint | undefined, initiate: boolean) => void
  readonly move: (endpoint: Endpoint) => void
  readonly setPresharedKey: (key: SecretKey) => void
  readonly setAllowedIps: (prefixes: readonly Prefix[]) => void
  readonly stats: () => GuardPeerStats | undefined
  readonly remove: () => void
}

const noStats: GuardPeerStats = {
  receivedBytes: 0,
  sentBytes: 0,
  lastHandshakeAt: undefined,
  lastReceivedAt: undefined,
  endpoint: undefined,
  dropped: {},
}

class EmbeddedPeer implements GuardPeer {
  readonly #controls: PeerControls
  readonly #listeners: Listeners<GuardEvent> = new Listeners()
  #moves: Disposable | undefined
  #isDisposed = false

  constructor(controls: PeerControls) {
    this.#controls = controls
  }

  get interfaceName(): string {
    return this.#controls.interfaceName
  }

  use(path: Path | undefined, options?: { readonly initiate?: boolean }): void {
    if (this.#isDisposed) return
    this.#moves?.[Symbol.dispose]()
    this.#moves = path?.subscribe((remote) => this.#controls.move(remote))
    this.#controls.use(path?.status().remote, options?.initiate ?? false)
  }

  setPresharedKey(key: SecretKey): void {
    this.#controls.setPresharedKey(key)
  }

  async setAllowedIps(allowedIps: readonly string[]): Promise<void> {
    this.#controls.setAllowedIps(allowedIps.map(parseAllowedIp))
  }

  /** Any two WireGuards understand each other. */
  meet(): void {}

  stats(): GuardPeerStats {
    return this.#controls.stats() ?? noStats
  }

  subscribe(listener: (event: GuardEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  emit(event: GuardEvent): void {
    this.#controls.logger.debug(event.kind)
    this.#listeners.emit(event)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.#moves?.[Symbol.dispose]()
    this.#controls.remove()
  }
}

/**
 * A peer of a guard that is not in this process: PolledPeer with its timer, its listeners and its orders to the kernel or
 * the program that has the peer.
 */

import type { Endpoint } from '../api/endpoint.ts'
import { errorMessage } from '../api/errors.ts'
import { SecretKey } from '../api/keys.ts'
import type { GuardEvent, GuardPeer, GuardPeerStats, Path } from '../api/roles.ts'
import { assertNever } from '../util/assert-never.ts'
import type { Clock } from '../util/clock.ts'
import { DeadlineTimer } from '../util/deadline-timer.ts'
import { Listeners } from '../util/listeners.ts'
import type { Logger } from '../util/logger.ts'
import { parseAllowedIp } from './peer-options.ts'
import { type PeerCounters, PolledPeer, type PolledPeerEffect } from './polled-peer.ts'
import type { Prefix } from './wireguard/allowed-ips.ts'

/** How the peer shall be. */
export interface PeerSettings {
  readonly endpoint: Endpoint
  /** Not to be kept: it is wiped when another takes its place. All zero where none was agreed. */
  readonly presharedKey: SecretKey
  /** In place of those before. */
  readonly allowedIps: readonly Prefix[]
}

/** Orders are carried out in the order of the calls. One that fails rejects. */
export interface PolledGuardPeerParts {
  readonly interfaceName: string
  /** Whether our tunnel key is the greater one: where two handshakes crossed, we begin again. */
  readonly hasPrecedence: boolean
  /** Copied. */
  readonly presharedKey: SecretKey | undefined
  readonly allowedIps: readonly Prefix[]
  readonly clock: Clock
  readonly logger: Logger
  /** Adds the peer if it is not known; keys it has stay. */
  readonly put: (settings: PeerSettings) => Promise<void>
  /** Removes the peer if it is known, and adds it anew with a persistent keepalive of `handshakeKeepalive`. */
  readonly renew: (settings: PeerSettings) => Promise<void>
  /** Nothing, when the peer is not known. */
  readonly update: (change: Partial<Omit<PeerSettings, 'endpoint'>>) => Promise<void>
  readonly remove: () => Promise<void>
  /** `undefined`: the peer is not known. */
  readonly read: () => Promise<PeerCounters | undefined>
  readonly disposed: () => void
}

export class PolledGuardPeer implements GuardPeer {
  readonly #parts: PolledGuardPeerParts
  readonly #machine: PolledPeer
  readonly #timer: DeadlineTimer
  readonly #listeners: Listeners<GuardEvent> = new Listeners()
  #presharedKey: SecretKey
  #allowedIps: readonly Prefix[]
  #moves: Disposable | undefined
  #lastOrder: Promise<void> = Promise.resolve()
  #isDisposed = false

  constructor(parts: PolledGuardPeerParts) {
    this.#parts = parts
    this.#machine = new PolledPeer(parts)
    this.#presharedKey = copyOf(parts.presharedKey)
    this.#allowedIps = parts.allowedIps
    this.#timer = new DeadlineTimer(parts.clock, () => this.#run(this.#machine.tick(parts.clock.now())))
  }

  get interfaceName(): string {
    return this.#parts.interfaceName
  }

  use(path: Path | undefined, options: { readonly initiate?: boolean } = {}): void {
    if (this.#isDisposed) return
    this.#moves?.[Symbol.dispose]()
    this.#moves = path?.subscribe((remote) => this.#run(this.#machine.move(remote)))
    const { initiate = false } = options
    const { remote, roundTrip } = path?.status() ?? {}
    this.#run(this.#machine.use(remote, { initiate, roundTrip, now: this.#parts.clock.now() }))
  }

  setPresharedKey(key: SecretKey): void {
    if (this.#isDisposed) return
    this.#presharedKey.wipe()
    this.#presharedKey = copyOf(key)
    this.#machine.rekey()
    void this.#order(this.#parts.update({ presharedKey: this.#presharedKey }))
  }

  async setAllowedIps(allowedIps: readonly string[]): Promise<void> {
    this.#allowedIps = allowedIps.map(parseAllowedIp)
    if (!this.#isDisposed) await this.#order(this.#parts.update({ allowedIps: this.#allowedIps }))
  }

  /** Any two WireGuards understand each other. */
  meet(): void {}

  stats(): GuardPeerStats {
    return this.#machine.stats()
  }

  subscribe(listener: (event: GuardEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) return
    this.use(undefined)
    this.#isDisposed = true
    this.#timer[Symbol.dispose]()
    this.#presharedKey.wipe()
    this.#parts.disposed()
    await this.#lastOrder
  }

  #run(effects: readonly PolledPeerEffect[]): void {
    for (const effect of effects) this.#perform(effect)
    this.#timer.set(this.#isDisposed ? undefined : this.#machine.deadline)
  }

  #perform(effect: PolledPeerEffect): void {
    switch (effect.kind) {
      case 'look':
        void this.#look(effect.revision)
        break
      case 'point':
        void this.#order(this.#parts.put(this.#settings(effect.remote)))
        break
      case 'handshake':
        void this.#order(this.#parts.renew(this.#settings(effect.remote)))
        break
      case 'remove':
        // A guard that is gone has no peer either.
        void this.#order(this.#parts.remove(), 'debug')
        break
      case 'established':
      case 'unanswered':
        this.#parts.logger.debug(effect.kind)
        this.#listeners.emit({ kind: effect.kind })
        break
      default:
        assertNever(effect)
    }
  }

  async #look(revision: number): Promise<void> {
    const { clock, read, logger } = this.#parts
    const looked = await read().then(
      (counters) => ({ counters }),
      (error: unknown) => ({ error }),
    )
    const moment = { now: clock.now(), wallTime: clock.wallTime() }
    if ('counters' in looked) {
      this.#run(this.#machine.observe(looked.counters, { revision, moment }))
      return
    }
    logger.debug('the peer could not be read', { reason: errorMessage(looked.error) })
    this.#run(this.#machine.missed({ revision, now: moment.now }))
  }

  #settings(endpoint: Endpoint): PeerSettings {
    return { endpoint, presharedKey: this.#presharedKey, allowedIps: this.#allowedIps }
  }

  /** Never rejects: a guard that is gone is lost as a whole, and the machine looks again. */
  #order(done: Promise<void>, level: 'debug' | 'warn' = 'warn'): Promise<void> {
    this.#lastOrder = done.catch((error: unknown) => {
      this.#parts.logger[level]('the guard did not do as told', { reason: errorMessage(error) })
    })
    return this.#lastOrder
  }
}

function copyOf(key: SecretKey | undefined): SecretKey {
  return new SecretKey(Uint8Array.from(key?.reveal() ?? new Uint8Array(32)))
}

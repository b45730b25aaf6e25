/**
 * A guard whose peers live elsewhere, in the kernel or in another program, which is told what to do and asked how it
 * goes. Peers are there only while they have a path, so that no handshake is answered before the keys are agreed. What
 * the counters mean is polled-peer.ts.
 */

import { type SecretKey, shortKey } from '../api/keys.ts'
import type { Guard, GuardKind, GuardPeer, GuardPeerOptions, GuardStatus } from '../api/roles.ts'
import { toHex } from '../util/bytes.ts'
import type { Clock } from '../util/clock.ts'
import { type Logger, silentLogger, withFields } from '../util/logger.ts'
import { parseAllowedIp, refusedPeer } from './peer-options.ts'
import type { PeerTable, PolledDevice, SetRequest } from './polled-device.ts'
import { PolledGuardPeer } from './polled-guard-peer.ts'
import { handshakeKeepalive } from './polled-peer.ts'
import { importKeyPair } from './wireguard/crypto.ts'

export interface PolledGuardOptions {
  readonly kind: GuardKind
  readonly device: PolledDevice
  /** The caller's. */
  readonly privateKey: SecretKey
  readonly clock: Clock
  readonly logger?: Logger
}

export class PolledGuard implements Guard {
  readonly kind: GuardKind
  readonly parameters: Uint8Array = new Uint8Array(0)
  readonly #options: PolledGuardOptions
  readonly #device: PolledDevice
  readonly #ownKey: string
  readonly #peers: Map<string, PolledGuardPeer> = new Map()
  /** Asked for, and not overtaken by any order since. */
  #reading: Promise<PeerTable> | undefined

  /** The device has its keys already. */
  constructor(options: PolledGuardOptions) {
    this.kind = options.kind
    this.#options = options
    this.#device = options.device
    this.#ownKey = toHex(importKeyPair(options.privateKey.reveal()).publicKey)
  }

  get interfaceName(): string {
    return this.#device.interfaceName
  }

  status(): GuardStatus {
    return this.#device.status
  }

  async addPeer(options: GuardPeerOptions): Promise<GuardPeer> {
    const { publicKey, presharedKey } = options
    const { clock, logger = silentLogger } = this.#options
    const name = toHex(publicKey)
    const allowedIps = options.allowedIps.map(parseAllowedIp)
    if (name === this.#ownKey || this.#peers.has(name)) throw refusedPeer(publicKey)
    const peer = new PolledGuardPeer({
      interfaceName: this.interfaceName,
      hasPrecedence: name < this.#ownKey,
      presharedKey,
      allowedIps,
      clock,
      logger: withFields(logger, { peer: shortKey(publicKey) }),
      put: (settings) => this.#set({ peers: [{ kind: 'set', publicKey, ...settings }] }),
      renew: (settings) => {
        const added = { kind: 'set', publicKey, ...settings, persistentKeepalive: handshakeKeepalive } as const
        return this.#set({ peers: [{ kind: 'remove', publicKey }, added] })
      },
      update: (change) => this.#set({ peers: [{ kind: 'set', publicKey, updateOnly: true, ...change }] }),
      remove: () => this.#set({ peers: [{ kind: 'remove', publicKey }] }),
      read: async () => (await this.#read()).get(name),
      disposed: () => this.#peers.delete(name),
    })
    this.#peers.set(name, peer)
    return peer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of [...this.#peers.values()]) await peer[Symbol.asyncDispose]()
  }

  #set(request: SetRequest): Promise<void> {
    this.#reading = undefined
    return this.#device.set(request)
  }

  /** One answer serves all peers that ask at about the same time. */
  #read(): Promise<PeerTable> {
    if (this.#reading !== undefined) return this.#reading
    const reading = this.#device.get()
    this.#reading = reading
    const over = (): void => {
      if (this.#reading === reading) this.#reading = undefined
    }
    reading.then(over, over)
    return reading
  }
}

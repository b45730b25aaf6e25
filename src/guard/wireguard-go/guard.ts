/**
 * The guard that wireguard-go carries, told what to do over its UAPI socket. Peers are in the program only while they
 * have a path, so that it answers no handshake before the keys are agreed. What the counters mean is polled-peer.ts.
 */

import { PunchGuardError } from '../../api/errors.ts'
import { type SecretKey, shortKey } from '../../api/keys.ts'
import type { Guard, GuardPeer, GuardPeerOptions, GuardStatus } from '../../api/roles.ts'
import { toHex } from '../../util/bytes.ts'
import type { Clock } from '../../util/clock.ts'
import { type Logger, silentLogger, withFields } from '../../util/logger.ts'
import { parseAllowedIp, refusedPeer } from '../peer-options.ts'
import { PolledGuardPeer } from '../polled-guard-peer.ts'
import { handshakeKeepalive } from '../polled-peer.ts'
import { importKeyPair } from '../wireguard/crypto.ts'
import { decodeGetAnswer, decodeSetAnswer, encodeSet, getRequest, type PeerTable, type SetRequest } from './uapi.ts'

/** A running wireguard-go (program-shell.ts). */
export interface UapiProgram {
  readonly interfaceName: string
  /** `wireguard-go 0.0.20220316` */
  readonly implementation: string
  /** The answer to one request; requests are put in the order of the calls. Rejects when there is none. */
  ask(request: string): Promise<string>
}

export interface WireguardGoGuardOptions {
  readonly program: UapiProgram
  /** The caller's. */
  readonly privateKey: SecretKey
  /** UDP port that the program is to bind; as soon as the interface goes up it does. */
  readonly port: number
  readonly clock: Clock
  readonly logger?: Logger
}

export class WireguardGoGuard implements Guard {
  readonly kind = 'wireguard-go'
  readonly parameters: Uint8Array = new Uint8Array(0)
  readonly #options: WireguardGoGuardOptions
  readonly #logger: Logger
  readonly #ownKey: string
  readonly #peers: Map<string, PolledGuardPeer> = new Map()
  /** Asked for, and not overtaken by any order since. */
  #reading: Promise<PeerTable> | undefined

  private constructor(options: WireguardGoGuardOptions) {
    this.#options = options
    this.#logger = options.logger ?? silentLogger
    this.#ownKey = toHex(importKeyPair(options.privateKey.reveal()).publicKey)
  }

  /** @throws PunchGuardError GUARD_UNAVAILABLE when the program refuses */
  static async open(options: WireguardGoGuardOptions): Promise<WireguardGoGuard> {
    const guard = new WireguardGoGuard(options)
    await guard.#set({ privateKey: options.privateKey, listenPort: options.port })
    return guard
  }

  get interfaceName(): string {
    return this.#options.program.interfaceName
  }

  status(): GuardStatus {
    return { dataPlane: 'process', implementation: this.#options.program.implementation, offloads: [] }
  }

  async addPeer(options: GuardPeerOptions): Promise<GuardPeer> {
    const { publicKey, presharedKey } = options
    const name = toHex(publicKey)
    const allowedIps = options.allowedIps.map(parseAllowedIp)
    if (name === this.#ownKey || this.#peers.has(name)) throw refusedPeer(publicKey)
    const peer = new PolledGuardPeer({
      interfaceName: this.interfaceName,
      hasPrecedence: name < this.#ownKey,
      presharedKey,
      allowedIps,
      clock: this.#options.clock,
      logger: withFields(this.#logger, { peer: shortKey(publicKey) }),
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

  async #set(request: SetRequest): Promise<void> {
    this.#reading = undefined
    const error = decodeSetAnswer(await this.#options.program.ask(encodeSet(request)))
    if (error !== 0) throw refusedRequest(error)
  }

  /** One answer serves all peers that ask at about the same time. */
  #read(): Promise<PeerTable> {
    if (this.#reading !== undefined) return this.#reading
    const reading = this.#get()
    this.#reading = reading
    const over = (): void => {
      if (this.#reading === reading) this.#reading = undefined
    }
    reading.then(over, over)
    return reading
  }

  async #get(): Promise<PeerTable> {
    const table = decodeGetAnswer(await this.#options.program.ask(getRequest))
    if (table === undefined) throw new Error('wireguard-go gave an answer that cannot be read')
    return table
  }
}

function refusedRequest(error: number | undefined): PunchGuardError {
  const what = error === undefined ? 'an answer that cannot be read' : `error ${error}`
  return new PunchGuardError('GUARD_UNAVAILABLE', `wireguard-go refused its settings: ${what}`, {
    hint: 'install the package wireguard-go anew, or set guard = "embedded" in config.toml',
  })
}

/**
 * Tox as a signal network: owns the UDP socket and the one timer of a ToxClient, and gives a channel per friend. Texts
 * travel as custom lossless packets, which chat clients do not show.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import { PunchGuardError } from '../../api/errors.ts'
import { type SecretKey, shortKey } from '../../api/keys.ts'
import type { HostNetwork } from '../../api/network.ts'
import type { Introduction, SignalChannel, SignalEvent, SignalNetwork, SignalNetworkStatus } from '../../api/roles.ts'
import type { BootstrapNode } from '../../api/servers.ts'
import { fromHex, fromUtf8, toHex, toUtf8 } from '../../util/bytes.ts'
import type { Clock } from '../../util/clock.ts'
import { Listeners } from '../../util/listeners.ts'
import type { Logger } from '../../util/logger.ts'
import type { Random } from '../../util/random.ts'
import { type KeyPair, keyPairOf, type LongTermPublicKey, longTermPublicKey, toxCryptoReady } from './crypto.ts'
import { isLocal } from './local-address.ts'
import { NodeSocket } from './node-socket-shell.ts'
import { ToxClient, type ToxClientEffect, type ToxClientStats } from './tox-client.ts'
import { formatToxId, type Nospam, nospamOf, parseToxId } from './tox-id.ts'

/** The custom lossless packet our texts travel in. */
const textPacketId = 160
const maximumIntroductionBytes = 900
/** Introductions kept for a listener that comes later. */
const maximumPending = 32

export interface ToxNetworkOptions {
  readonly host: HostNetwork
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** The long-term secret key, 32 bytes. */
  readonly secretKey: SecretKey
  /** 4 bytes that a friend request to us must know. */
  readonly nospam: Uint8Array
  readonly bootstrap: readonly BootstrapNode[]
  /** UDP port; 0 or none: the first free one of 33445..33545. */
  readonly port?: number
}

export class ToxNetwork implements SignalNetwork {
  readonly name: string = 'tox'
  readonly address: string
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #client: ToxClient
  readonly #socket: NodeSocket
  readonly #ownKey: LongTermPublicKey
  readonly #bootstrapNodes: number
  readonly #channels: Map<string, ToxChannel> = new Map()
  readonly #introductions: Listeners<Introduction> = new Listeners()
  #pending: readonly Introduction[] = []
  readonly #watch: Disposable

  /**
   * Binds the port and starts to join the network.
   * @throws PunchGuardError ADDRESS_IN_USE, PERMISSION_DENIED
   */
  static async open(options: ToxNetworkOptions): Promise<ToxNetwork> {
    await toxCryptoReady
    const nospam = nospamOf(options.nospam)
    if (nospam === undefined) throw new Error('A nospam has 4 bytes')
    const keyPair = keyPairOf<LongTermPublicKey>(options.secretKey)
    const socket = await NodeSocket.bind(options)
    return new ToxNetwork(options, { nospam, keyPair, socket })
  }

  private constructor(
    options: ToxNetworkOptions,
    made: { readonly nospam: Nospam; readonly keyPair: KeyPair<LongTermPublicKey>; readonly socket: NodeSocket },
  ) {
    const { nospam, keyPair, socket } = made
    this.#clock = options.clock
    this.#logger = options.logger
    this.#bootstrapNodes = options.bootstrap.length
    this.#ownKey = keyPair.publicKey
    this.address = formatToxId({ publicKey: keyPair.publicKey, nospam })
    const localEndpoints = (): readonly Endpoint[] => {
      const endpoints = options.host.localAddresses().map((address) => ({ address, port: socket.port }))
      return endpoints.filter(isLocal)
    }
    this.#client = new ToxClient({ keyPair, nospam, random: options.random, localEndpoints })
    this.#socket = socket
    socket.start({
      deadline: () => this.#client.deadline,
      connected: (now) => this.#client.connected(now),
      bootstrap: (nodes, now) => this.#client.bootstrap(nodes, now),
      receive: (bytes, from, now) => this.#run(this.#client.receive(bytes, from, now)),
      tick: (now) => this.#run(this.#client.tick(now, this.#clock.wallTime())),
    })
    this.#watch = options.host.watch(() => {
      for (const channel of this.#channels.values()) channel.nudge()
    })
  }

  /** The bound UDP port. */
  get port(): number {
    return this.#socket.port
  }

  status(): SignalNetworkStatus {
    if (this.#bootstrapNodes === 0) return { kind: 'connecting', reason: 'no bootstrap node is configured' }
    if (!this.#client.connected(this.#clock.now())) {
      return { kind: 'connecting', reason: 'no Tox node has answered yet: is UDP blocked?' }
    }
    if (!this.#client.announced) {
      return { kind: 'connecting', reason: 'Tox nodes answer, none has taken our announcement yet' }
    }
    const { dht, onionClient } = this.#client.stats()
    return { kind: 'online', detail: `${dht.closeNodes} Tox nodes near, announced on ${onionClient.announcedOn}` }
  }

  stats(): ToxClientStats {
    return this.#client.stats()
  }

  open(address: string, options: { readonly introduction?: string } = {}): SignalChannel {
    const { publicKey, nospam } = parseAddress(address)
    const message = options.introduction === undefined ? undefined : toUtf8(options.introduction)
    if (message !== undefined && (message.length === 0 || message.length > maximumIntroductionBytes)) {
      throw new PunchGuardError('CARD_INVALID', `An introduction has 1 to ${maximumIntroductionBytes} bytes`, {
        hint: 'use a shorter one',
      })
    }
    const request = message === undefined || nospam === undefined ? undefined : { nospam, message }
    const now = this.#clock.now()
    if (
      toHex(publicKey) === toHex(this.#ownKey) ||
      !this.#client.addFriend(publicKey, { now, ...(request && { request }) })
    ) {
      throw invalidAddress('This Tox address is not one of another device')
    }
    const name = toHex(publicKey)
    this.#pending = this.#pending.filter((introduction) => introduction.address.toLowerCase() !== name)
    const channel = this.#channels.get(name) ?? this.#channelTo(publicKey)
    this.#socket.wake()
    return channel
  }

  introductions(listener: (introduction: Introduction) => void): Disposable {
    const subscription = this.#introductions.add(listener)
    const pending = this.#pending
    this.#pending = []
    for (const introduction of pending) this.#introductions.emit(introduction)
    return subscription
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watch[Symbol.dispose]()
    this.#run(this.#client.stop(this.#clock.now()))
    this.#channels.clear()
    await this.#socket[Symbol.asyncDispose]()
  }

  #channelTo(friend: LongTermPublicKey): ToxChannel {
    const name = toHex(friend)
    const channel = new ToxChannel({
      online: () => this.#client.isOnline(friend),
      send: (data) => {
        const now = this.#clock.now()
        return this.#did(this.#client.sendCustom(friend, { id: textPacketId, data }, now))
      },
      nudge: () => {
        this.#did(this.#client.nudge(friend, this.#clock.now()))
      },
      close: () => {
        if (!this.#channels.delete(name)) return
        this.#did(this.#client.removeFriend(friend, this.#clock.now()))
      },
    })
    this.#channels.set(name, channel)
    return channel
  }

  /** Carries out what an input from above caused; false when it was refused. */
  #did(effects: readonly ToxClientEffect[] | undefined): boolean {
    if (effects === undefined) return false
    this.#run(effects)
    this.#socket.wake()
    return true
  }

  #run(effects: readonly ToxClientEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'send') this.#socket.send(effect.bytes, effect.to)
      else if (effect.kind === 'friend-request') this.#introduce(effect.from, effect.message)
      else this.#tell(effect)
    }
  }

  #tell(effect: Exclude<ToxClientEffect, { readonly kind: 'send' | 'friend-request' }>): void {
    const channel = this.#channels.get(toHex(effect.friend))
    if (effect.kind === 'online' || effect.kind === 'offline') {
      this.#logger.info(`tox: friend ${effect.kind}`, {
        friend: shortKey(effect.friend),
        ...(effect.kind === 'offline' && { reason: effect.reason }),
      })
      channel?.emit(effect.kind === 'online' ? { kind: 'online' } : { kind: 'offline', reason: effect.reason })
      return
    }
    if (effect.kind === 'message') {
      this.#logger.debug('tox: a chat message was not looked at', { friend: shortKey(effect.friend) })
      return
    }
    if (effect.packet[0] !== textPacketId) return
    const text = fromUtf8(effect.packet.subarray(1))
    if (text !== undefined) channel?.emit({ kind: 'text', text })
  }

  #introduce(from: LongTermPublicKey, message: Uint8Array): void {
    const text = fromUtf8(message)
    if (text === undefined || this.#channels.has(toHex(from))) return
    const introduction = { address: toHex(from).toUpperCase(), text }
    this.#logger.info('tox: a device introduced itself', { from: shortKey(from) })
    if (this.#introductions.size > 0) this.#introductions.emit(introduction)
    else this.#pending = [...this.#pending, introduction].slice(-maximumPending)
  }
}

interface ChannelEnd {
  online(): boolean
  send(data: Uint8Array): boolean
  nudge(): void
  close(): void
}

/** Tox takes 1372; these fit with their headers into 1280 bytes, which pass where larger ones and fragments do not. */
const maximumTextBytes = 1200

class ToxChannel implements SignalChannel {
  readonly maximumTextBytes: number = maximumTextBytes
  readonly #end: ChannelEnd
  readonly #listeners: Listeners<SignalEvent> = new Listeners()
  #open = true

  constructor(end: ChannelEnd) {
    this.#end = end
  }

  get online(): boolean {
    return this.#open && this.#end.online()
  }

  send(text: string): boolean {
    return this.#open && this.#end.send(toUtf8(text))
  }

  subscribe(listener: (event: SignalEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  nudge(): void {
    if (this.#open) this.#end.nudge()
  }

  emit(event: SignalEvent): void {
    if (this.#open) this.#listeners.emit(event)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return
    this.#open = false
    this.#end.close()
  }
}

/** A Tox ID (76 hex digits), or the public key alone (64). @throws PunchGuardError CARD_INVALID */
function parseAddress(address: string): { readonly publicKey: LongTermPublicKey; readonly nospam: Nospam | undefined } {
  const toxId = parseToxId(address)
  if (toxId !== undefined) return toxId
  const bytes = fromHex(address.trim())
  const publicKey = bytes && longTermPublicKey(bytes)
  if (publicKey === undefined) throw invalidAddress('This is not a Tox address')
  return { publicKey, nospam: undefined }
}

function invalidAddress(message: string): PunchGuardError {
  return new PunchGuardError('CARD_INVALID', message, {
    hint: 'copy the address again in full: a Tox ID has 76 hexadecimal digits, a public key 64',
  })
}

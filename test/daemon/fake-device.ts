/**
 * A device without networks, for tests of the daemon, its API and the command line. Its pinned peers are kept in the
 * store; what goes wrong is chosen by `faults`.
 */

import { createHash } from 'node:crypto'
import type { Config } from '../../src/api/config.ts'
import type { Device, DeviceEvent, DeviceStatus, InviteText, PairingStep, PeerStatus } from '../../src/api/device.ts'
import { isDeviceName } from '../../src/api/device-name.ts'
import type { PunchGuardError } from '../../src/api/errors.ts'
import { identityPublicKey, otrFingerprint, tunnelPublicKey } from '../../src/api/keys.ts'
import type { StateStore } from '../../src/api/state-store.ts'
import { type Card, formatCard, parseCard } from '../../src/pairing/card.ts'
import { formatInvite, type InviteBook, inviteUsed, issueInvite, parseInvite } from '../../src/pairing/invite.ts'
import { encodePeers, findPeer, type PinnedPeers, parsePeers, pinPeer, unpinPeer } from '../../src/pairing/peers.ts'
import type { Clock } from '../../src/util/clock.ts'
import { Listeners } from '../../src/util/listeners.ts'
import type { Logger } from '../../src/util/logger.ts'
import { systemRandom } from '../../src/util/random.ts'

export interface FakeFaults {
  /** What `up` throws. */
  readonly up?: PunchGuardError
  /** An invite's guest turns up at once. */
  readonly guest?: string
  /** The other device says that the invite was used already. */
  readonly used?: boolean
  /** Something throws where nobody catches it, soon after an invite was made. */
  readonly crash?: boolean
  /** The other device never answers. */
  readonly silent?: boolean
}

/** The same name gives the same card. */
export function fakeCard(name: string): Card {
  const bytes = (part: string, length: number): Uint8Array =>
    new Uint8Array(createHash('sha512').update(`${part} of ${name}`).digest().subarray(0, length))
  return {
    name,
    toxId: bytes('Tox ID', 38),
    otrFingerprint: otrFingerprint(bytes('fingerprint', 20))!,
    identityKey: identityPublicKey(bytes('identity', 32))!,
    tunnelKey: tunnelPublicKey(bytes('tunnel', 32))!,
  }
}

export class FakeDevice implements Device {
  readonly #options: FakeDeviceOptions
  readonly #listeners: Listeners<DeviceEvent> = new Listeners()
  readonly #own: Card
  #peers: PinnedPeers
  #invites: InviteBook = []
  #up = false
  disposed = false

  private constructor(options: FakeDeviceOptions, peers: PinnedPeers) {
    this.#options = options
    this.#own = fakeCard(options.config.name)
    this.#peers = peers
  }

  static async create(options: FakeDeviceOptions): Promise<FakeDevice> {
    const stored = await options.store.read('peers')
    return new FakeDevice(options, stored === undefined ? [] : parsePeers(stored))
  }

  status(): DeviceStatus {
    const { config, version } = this.#options
    return {
      name: config.name,
      version,
      up: this.#up,
      fingerprint: '00000000 11111111 22222222 33333333 44444444',
      addresses: ['10.64.0.1'],
      guard: {
        kind: 'embedded',
        interface: this.#up ? config.interface : undefined,
        dataPlane: 'none',
        implementation: undefined,
        offloads: [],
      },
      udpPort: 41_641,
      networks: [{ name: 'tox', status: { kind: 'online', detail: 'UDP, 4 nodes' } }],
      peers: this.#peers.map((peer) => this.#peerStatus(peer.name)),
      warnings: [],
    }
  }

  subscribe(listener: (event: DeviceEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  async invite(options: { readonly validFor?: number } = {}): Promise<InviteText> {
    const { clock, faults } = this.#options
    const now = clock.wallTime()
    const { book, invite } = issueInvite(this.#invites, { ...options, card: this.#own, random: systemRandom, now })
    this.#invites = book
    clock.after(20, () => {
      if (faults.crash) throw new Error('a fault in a timer')
      this.#tell('invited', 'invite made')
      if (faults.guest !== undefined) void this.#pair(faults.guest)
    })
    return { code: formatInvite(invite), expires: invite.expires }
  }

  async join(code: string, { signal }: { readonly signal: AbortSignal }): Promise<string> {
    const { clock, faults } = this.#options
    const { card } = parseInvite(code, { now: clock.wallTime(), own: this.#own })
    pinPeer(this.#peers, card, { now: clock.wallTime(), own: this.#own })
    this.#tell('reaching', `looking for ${card.name}`, card.name)
    if (faults.used) throw inviteUsed()
    if (faults.silent) {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
    }
    return this.#pair(card.name)
  }

  async up(): Promise<void> {
    const { up } = this.#options.faults
    if (up !== undefined) throw up
    this.#up = true
    for (const { name } of this.#peers) this.#peerEvent(name)
  }

  async down(): Promise<void> {
    this.#up = false
    for (const { name } of this.#peers) this.#peerEvent(name)
  }

  async forget(peer: string): Promise<void> {
    await this.#keep(unpinPeer(this.#peers, findPeer(this.#peers, peer).name))
  }

  exportCard(): string {
    return formatCard(this.#own)
  }

  async importCard(card: string): Promise<string> {
    const { clock } = this.#options
    const { peers, peer } = pinPeer(this.#peers, parseCard(card), { now: clock.wallTime(), own: this.#own })
    await this.#keep(peers)
    return peer.name
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true
    this.#options.logger?.info('the device is closed')
  }

  async #pair(name: string): Promise<string> {
    const { clock } = this.#options
    if (!isDeviceName(name)) throw new Error(`not a name: ${name}`)
    const { peers, peer } = pinPeer(this.#peers, fakeCard(name), { now: clock.wallTime(), own: this.#own })
    await this.#keep(peers)
    this.#tell('reached', `found ${name}`, name)
    this.#tell('paired', `paired with ${peer.name}`, peer.name)
    return peer.name
  }

  async #keep(peers: PinnedPeers): Promise<void> {
    await this.#options.store.write('peers', encodePeers(peers))
    this.#peers = peers
  }

  #tell(step: PairingStep, text: string, peer?: string): void {
    this.#listeners.emit({ at: this.#options.clock.wallTime(), kind: 'pairing', step, text, ...(peer && { peer }) })
  }

  #peerEvent(peer: string): void {
    const { state, reason } = this.#peerStatus(peer)
    this.#listeners.emit({ at: this.#options.clock.wallTime(), kind: 'peer', peer, state, reason })
  }

  #peerStatus(name: string): PeerStatus {
    const state = this.#up ? 'connected' : 'down'
    return {
      name,
      fingerprint: '99999999 88888888 77777777 66666666 55555555',
      state,
      reason: this.#up ? 'packets pass both ways' : 'switched off',
      since: this.#options.clock.wallTime() - 90_000,
      path: this.#up
        ? { kind: 'server-reflexive', remote: { address: '203.0.113.5', port: 7 }, mapped: undefined, roundTrip: 23.4 }
        : undefined,
      addresses: ['10.64.0.2'],
      receivedBytes: 1_234_567,
      sentBytes: 890,
      lastHandshake: undefined,
      history: [],
    }
  }
}

export interface FakeDeviceOptions {
  readonly config: Config
  readonly store: StateStore
  readonly version: string
  readonly clock: Clock
  readonly faults: FakeFaults
  readonly logger?: Logger
}

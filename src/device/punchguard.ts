/**
 * One device: its identity, its pinned peers, the invites it has out, and the tunnel while it is up. This is the class
 * that programs embed and that the daemon serves; what it is put together from is in parts.ts.
 */

import type { Device, DeviceEvent, DeviceStatus, InviteText } from '../api/device.ts'
import { errorMessage, PunchGuardError } from '../api/errors.ts'
import { formatFingerprint } from '../api/keys.ts'
import type { Introduction, SignalNetworkStatus } from '../api/roles.ts'
import { type Card, formatCard, parseCard } from '../pairing/card.ts'
import {
  encodeInvites,
  findInvite,
  formatInvite,
  type InviteBook,
  issueInvite,
  parseInvite,
  parseInvites,
  useInvite,
} from '../pairing/invite.ts'
import {
  type AnnouncedAddresses,
  type CachedMeeting,
  encodePeers,
  type PinnedPeer,
  type PinnedPeers,
  parsePeers,
  pinPeer,
  rememberAddresses,
  rememberMeeting,
  unpinPeer,
} from '../pairing/peers.ts'
import { explain } from '../session/state.ts'
import { delay } from '../util/clock.ts'
import { Listeners } from '../util/listeners.ts'
import { runInBackground } from '../util/run-in-background.ts'
import { AddressBook } from './address-book.ts'
import { admitJoiner, invitedBy, joinInvite, type PairedChannels } from './pairing.ts'
import type { DeviceParts, Tunnel } from './parts.ts'
import { Peer } from './peer.ts'
import { Reopening } from './reopening.ts'
import { Serial } from './serial.ts'

/** Strangers with an invite that are talked to at a time. */
const maximumAdmissions = 4
/** How long after its expiry a conversation about an invite may go on, ms. */
const admissionGrace = 60_000
/** How often the signal network is asked how it is, ms. */
const networkInterval = 250

export class PunchGuard implements Device {
  readonly #parts: DeviceParts
  readonly #listeners: Listeners<DeviceEvent> = new Listeners()
  readonly #closing: AbortController = new AbortController()
  readonly #subscriptions: Disposable[] = []
  readonly #afterwards: (() => void)[] = []
  readonly #peers: Map<string, Peer> = new Map()
  /** `up`, `down` and `forget` one after the other. */
  readonly #serial: Serial = new Serial()
  /** Writes of the state one after the other, the newest value each. */
  readonly #writing: Serial = new Serial()
  readonly #addresses: AddressBook
  #pinned: PinnedPeers
  #invites: InviteBook
  #tunnel: Tunnel | undefined
  #networkStatus: SignalNetworkStatus
  #upFailure: PunchGuardError | undefined
  /** Whether a person wants the tunnel. */
  #isWanted = false
  readonly #reopening: Reopening = new Reopening()
  #admissions = 0

  private constructor(
    parts: DeviceParts,
    stored: { readonly pinned: PinnedPeers; readonly invites: InviteBook; readonly addresses: AddressBook },
  ) {
    this.#parts = parts
    this.#addresses = stored.addresses
    this.#pinned = stored.pinned
    this.#invites = stored.invites
    this.#networkStatus = parts.network.status()
  }

  /** @throws PunchGuardError STATE_DAMAGED */
  static async open(parts: DeviceParts): Promise<PunchGuard> {
    const peers = await parts.store.read('peers')
    const invites = await parts.store.read('invites')
    const device = new PunchGuard(parts, {
      pinned: peers === undefined ? [] : parsePeers(peers),
      invites: invites === undefined ? [] : parseInvites(invites),
      addresses: await AddressBook.open(parts),
    })
    for (const pinned of device.#pinned) device.#addPeer(pinned)
    device.#subscriptions.push(parts.watchNetwork(() => device.#reviewAddressesLater()))
    device.#subscriptions.push(parts.network.introductions((introduction) => device.#onIntroduction(introduction)))
    device.#watchNetworkStatus()
    const wanted = await parts.store.read('device')
    if (isUp(wanted)) await device.up().catch((error: unknown) => device.#reportUpFailure(error))
    else device.#reviewAddressesLater()
    return device
  }

  status(): DeviceStatus {
    const parts = this.#parts
    return {
      name: parts.card.name,
      version: parts.version,
      up: this.#tunnel !== undefined,
      fingerprint: formatFingerprint(parts.card.otrFingerprint),
      addresses: this.#addresses.own,
      guard: {
        kind: this.#tunnel?.guard.kind ?? parts.guard,
        interface: this.#tunnel?.guard.interfaceName,
        ...(this.#tunnel?.guard.status() ?? { dataPlane: 'none', implementation: undefined, offloads: [] }),
      },
      udpPort: this.#tunnel?.udpPort,
      networks: [{ name: parts.network.name, status: parts.network.status() }],
      peers: [...this.#peers.values()].map((peer) => peer.status()),
      warnings: this.#warnings(),
    }
  }

  subscribe(listener: (event: DeviceEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  async invite(options: { readonly validFor?: number } = {}): Promise<InviteText> {
    const { card, random, clock } = this.#parts
    const issuing = { card, random, now: clock.wallTime(), ...options }
    const { invite } = await this.#changeInvites((book) => issueInvite(book, issuing))
    this.#emit({ kind: 'pairing', step: 'invited', text: 'waiting for the other device to use the invite' })
    return { code: formatInvite(invite), expires: invite.expires }
  }

  async join(code: string, options: { readonly signal: AbortSignal }): Promise<string> {
    const { clock, card } = this.#parts
    const invite = parseInvite(code, { now: clock.wallTime(), own: card })
    // Refuses a device that is pinned, before anything is sent.
    pinPeer(this.#pinned, invite.card, { now: clock.wallTime(), own: card })
    try {
      const paired = await joinInvite(this.#parts, {
        invite,
        report: (step, text) => this.#emit({ kind: 'pairing', step, text }),
        signal: AbortSignal.any([options.signal, this.#closing.signal]),
      })
      const pinned = await this.#pin(invite.card)
      this.#adopt(pinned, paired)
      return pinned.name
    } catch (error) {
      this.#emitPairingFailure(error)
      throw error
    }
  }

  up(): Promise<void> {
    this.#isWanted = true
    return this.#serial.run(() => this.#open())
  }

  down(): Promise<void> {
    this.#isWanted = false
    return this.#serial.run(async () => {
      await this.#parts.store.write('device', { version: 1, up: false })
      this.#upFailure = undefined
      await this.#closeTunnel()
      for (const peer of this.#peers.values()) peer.link.announce()
    })
  }

  forget(name: string): Promise<void> {
    return this.#serial.run(async () => {
      await this.#changePeers((peers) => ({ peers: unpinPeer(peers, name) }))
      const peer = this.#peers.get(name)
      this.#peers.delete(name)
      await peer?.[Symbol.asyncDispose]()
      await this.#reviewAddresses()
    })
  }

  exportCard(): string {
    return formatCard(this.#parts.card)
  }

  async importCard(text: string): Promise<string> {
    const pinned = await this.#pin(parseCard(text))
    this.#adopt(pinned, undefined)
    return pinned.name
  }

  /** Runs once everything of the device is closed. */
  whenDisposed(callback: () => void): void {
    this.#afterwards.push(callback)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(new PunchGuardError('DAEMON_FAILED', 'The device is shutting down', { hint: 'start it again' }))
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]()
    await this.#serial.run(() => this.#closeTunnel())
    for (const peer of this.#peers.values()) await peer[Symbol.asyncDispose]()
    await this.#parts.network[Symbol.asyncDispose]()
    await this.#writing.run(async () => {})
    for (const callback of this.#afterwards) callback()
  }

  // ------------------------------------------------------------------------------------------------- peers

  async #pin(card: Card): Promise<PinnedPeer> {
    const options = { now: this.#parts.clock.wallTime(), own: this.#parts.card }
    const { peer } = await this.#changePeers((peers) => pinPeer(peers, card, options))
    return peer
  }

  /** A newly pinned peer comes to life. */
  #adopt(pinned: PinnedPeer, paired: PairedChannels | undefined): void {
    const peer = this.#addPeer(pinned, paired)
    const started = this.#serial.run(async () => {
      await this.#reviewAddresses()
      if (this.#tunnel !== undefined && this.#peers.get(peer.name) === peer) await peer.start(this.#tunnel)
    })
    runInBackground(started, (error) => this.#report('session not started', error))
    this.#emit({ kind: 'pairing', step: 'paired', peer: pinned.name, text: `paired with ${pinned.name}` })
  }

  #addPeer(pinned: PinnedPeer, channels?: PairedChannels): Peer {
    const peer = new Peer({
      parts: this.#parts,
      pinned,
      ...(channels === undefined ? {} : { channels }),
      hello: () => ({
        up: this.#tunnel !== undefined,
        guards: [this.#parts.guard],
        guardParameters: this.#tunnel?.guard.parameters ?? new Uint8Array(0),
        ...this.#addresses.announcementFor(pinned.name),
      }),
      remember: (name, cached) => this.#remember(name, cached),
      announced: (heard, announced) => this.#onAnnounced(heard.name, announced),
      changed: (changed) => this.#emitPeer(changed),
    })
    this.#peers.set(pinned.name, peer)
    return peer
  }

  #onAnnounced(name: string, announced: AnnouncedAddresses): void {
    const saved = this.#changePeers((peers) => ({ peers: rememberAddresses(peers, name, announced) }))
    runInBackground(saved, (error) => this.#report('the addresses of a peer were not remembered', error))
    this.#reviewAddressesLater()
  }

  #reviewAddressesLater(): void {
    const reviewed = this.#serial.run(() => this.#reviewAddresses())
    runInBackground(reviewed, (error) => this.#report('the addresses were not set', error))
  }

  /** Who has which address is looked at anew; what comes out is set here and told to the peers. */
  async #reviewAddresses(): Promise<void> {
    const peers = [...this.#peers.values()]
    const before = peers.map(({ name }) => JSON.stringify(this.#addresses.announcementFor(name)))
    const ownBefore = this.#addresses.own
    await this.#addresses.review(peers)
    const { own } = this.#addresses
    // What a peer loses another may get: first nobody has it.
    for (const peer of peers)
      await peer.setAddresses(peer.addresses.filter((one) => this.#addresses.of(peer.name).includes(one)))
    for (const peer of peers) await peer.setAddresses(this.#addresses.of(peer.name))
    if (own.join() !== ownBefore.join()) {
      this.#parts.logger.info('addresses in the tunnel', { addresses: own.join(' ') })
      await this.#tunnel?.interface.setAddresses(own)
    }
    for (const [at, peer] of peers.entries()) {
      if (JSON.stringify(this.#addresses.announcementFor(peer.name)) !== before[at]) peer.link.announce()
    }
  }

  #remember(name: string, cached: CachedMeeting): void {
    const saved = this.#changePeers((peers) => ({ peers: rememberMeeting(peers, name, cached) }))
    runInBackground(saved, (error) => this.#report('the path was not remembered', error))
  }

  async #open(): Promise<void> {
    if (this.#tunnel !== undefined) return
    await this.#reviewAddresses()
    const tunnel = await this.#parts.openTunnel(this.#addresses.own)
    try {
      for (const peer of this.#peers.values()) await peer.start(tunnel)
      await this.#parts.store.write('device', { version: 1, up: true })
    } catch (error) {
      for (const peer of this.#peers.values()) await peer.stop()
      await tunnel[Symbol.asyncDispose]()
      throw error
    }
    const openedAt = this.#parts.clock.now()
    this.#tunnel = tunnel
    this.#upFailure = undefined
    runInBackground(
      tunnel.lost.then((reason) => this.#onTunnelLost(tunnel, { reason, openedAt })),
      (error) => this.#reportUpFailure(error),
    )
    for (const peer of this.#peers.values()) peer.link.announce()
  }

  async #closeTunnel(): Promise<void> {
    for (const peer of this.#peers.values()) await peer.stop()
    const tunnel = this.#tunnel
    this.#tunnel = undefined
    await tunnel?.[Symbol.asyncDispose]()
  }

  /** Somebody removed the interface, or the guard's program has ended: all is made anew, until that succeeds. */
  async #onTunnelLost(tunnel: Tunnel, options: { readonly reason: string; readonly openedAt: number }): Promise<void> {
    if (this.#tunnel !== tunnel || this.#closing.signal.aborted) return
    const { clock, logger } = this.#parts
    let lived = clock.now() - options.openedAt
    logger.warn('the interface was lost', { reason: options.reason })
    await this.#serial.run(() => this.#closeTunnel())
    while (this.#tunnel === undefined) {
      await delay(clock, this.#reopening.next(lived), this.#closing.signal).catch(() => {})
      if (!this.#isWanted || this.#closing.signal.aborted) return
      await this.#serial.run(() => this.#open()).catch((error: unknown) => this.#reportUpFailure(error))
      lived = 0
    }
  }

  // ----------------------------------------------------------------------------------------------- pairing

  #onIntroduction(introduction: Introduction): void {
    const id = invitedBy(introduction)
    const record = id && findInvite(this.#invites, id, { now: this.#parts.clock.wallTime() })
    if (record === undefined || this.#admissions >= maximumAdmissions) return
    this.#admissions++
    const limit = new AbortController()
    const remaining = Math.max(0, record.expires - this.#parts.clock.wallTime()) + admissionGrace
    const timer = this.#parts.clock.after(remaining, () => limit.abort(new Error('The invite expired')))
    let pinned: PinnedPeer | undefined
    const admission = admitJoiner(this.#parts, {
      introduction,
      record,
      pin: async (card) => {
        pinned = await this.#pinJoiner(card, record.id)
      },
      report: (step, text) => this.#emit({ kind: 'pairing', step, text }),
      signal: AbortSignal.any([limit.signal, this.#closing.signal]),
    }).then((paired) => {
      if (pinned !== undefined) this.#adopt(pinned, paired)
    })
    const finished = admission.finally(() => {
      timer[Symbol.dispose]()
      this.#admissions--
    })
    runInBackground(finished, (error) => this.#emitPairingFailure(error))
  }

  /** Pins the device that proved an invite, and closes the invite: both or neither. */
  async #pinJoiner(card: Card, invite: Uint8Array): Promise<PinnedPeer> {
    const peer = await this.#pin(card)
    const use = { now: this.#parts.clock.wallTime(), by: peer.name }
    try {
      await this.#changeInvites((book) => ({ book: useInvite(book, invite, use) }))
    } catch (error) {
      await this.#changePeers((peers) => ({ peers: unpinPeer(peers, peer.name) }))
      throw error
    }
    return peer
  }

  #emitPairingFailure(error: unknown): void {
    if (this.#closing.signal.aborted) return
    const hint = error instanceof PunchGuardError ? { hint: error.hint } : {}
    this.#emit({ kind: 'pairing', step: 'failed', text: errorMessage(error), ...hint })
  }

  // ------------------------------------------------------------------------------------------ state, events

  /** Stores the new list, and only then believes in it. */
  #changePeers<T extends { readonly peers: PinnedPeers }>(change: (peers: PinnedPeers) => T): Promise<T> {
    return this.#writing.run(async () => {
      const changed = change(this.#pinned)
      await this.#parts.store.write('peers', encodePeers(changed.peers))
      this.#pinned = changed.peers
      return changed
    })
  }

  #changeInvites<T extends { readonly book: InviteBook }>(change: (book: InviteBook) => T): Promise<T> {
    return this.#writing.run(async () => {
      const changed = change(this.#invites)
      await this.#parts.store.write('invites', encodeInvites(changed.book))
      this.#invites = changed.book
      return changed
    })
  }

  #watchNetworkStatus(): void {
    const look = (): void => {
      const status = this.#parts.network.status()
      if (describe(status) !== describe(this.#networkStatus)) {
        this.#networkStatus = status
        this.#emit({ kind: 'network', network: this.#parts.network.name, status })
      }
      timer = this.#parts.clock.after(networkInterval, look)
    }
    let timer = this.#parts.clock.after(networkInterval, look)
    this.#subscriptions.push({ [Symbol.dispose]: () => timer[Symbol.dispose]() })
  }

  #emitPeer(peer: Peer): void {
    const path = peer.path()
    const { kind } = peer.state
    const words = explain(peer.state, peer.name)
    this.#emit({ kind: 'peer', peer: peer.name, state: kind, ...words, ...(path === undefined ? {} : { path }) })
  }

  #emit(event: DeviceEventBody): void {
    this.#listeners.emit({ at: this.#parts.clock.wallTime(), ...event })
  }

  #reportUpFailure(error: unknown): void {
    this.#report('the tunnel was not opened', error)
    if (error instanceof PunchGuardError) this.#upFailure = error
  }

  #report(message: string, error: unknown): void {
    this.#parts.logger.error(message, { reason: errorMessage(error) })
  }

  #warnings(): readonly string[] {
    const warnings: string[] = [...this.#addresses.warnings]
    if (this.#upFailure !== undefined) {
      warnings.push(`the tunnel is not up: ${this.#upFailure.message} (${this.#upFailure.hint})`)
    }
    for (const peer of this.#peers.values()) {
      const { clockSkew } = peer.link
      if (clockSkew !== 0) warnings.push(clockWarning(peer.name, clockSkew))
    }
    return warnings
  }
}

type DeviceEventBody = DeviceEvent extends infer Event ? (Event extends DeviceEvent ? Omit<Event, 'at'> : never) : never

function describe(status: SignalNetworkStatus): string {
  return status.kind === 'online' ? 'online' : `connecting ${status.reason}`
}

function clockWarning(peer: string, skew: number): string {
  const minutes = Math.round(Math.abs(skew) / 60_000)
  const amount = minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`
  const direction = skew > 0 ? 'ahead of' : 'behind'
  return `the clock of ${peer} is ${amount} ${direction} this device's: set the wrong one right`
}

function isUp(stored: unknown): boolean {
  return typeof stored === 'object' && stored !== null && 'up' in stored && stored.up === true
}

/**
 * One pinned peer of a device: its link, which lives as long as the peer is pinned, and its session, which lives as
 * long as the device is up.
 */

import { createHash } from 'node:crypto'
import type { PeerChange, PeerStatus } from '../api/device.ts'
import { type Endpoint, sameEndpoint } from '../api/endpoint.ts'
import { errorMessage } from '../api/errors.ts'
import { hostPrefix } from '../api/ip-prefix.ts'
import { formatFingerprint, type SecretKey, type TunnelPublicKey } from '../api/keys.ts'
import type { GuardPeer, PathStatus } from '../api/roles.ts'
import type { Card } from '../pairing/card.ts'
import type { AnnouncedAddresses, CachedMeeting, PinnedPeer } from '../pairing/peers.ts'
import { type Hello, PeerLink } from '../session/link.ts'
import { runSession } from '../session/session.ts'
import { advance, explain, type SessionState } from '../session/state.ts'
import { compareBytes, concatBytes, toHex } from '../util/bytes.ts'
import { withFields } from '../util/logger.ts'
import { runInBackground } from '../util/run-in-background.ts'
import type { PairedChannels } from './pairing.ts'
import type { DeviceParts, Tunnel } from './parts.ts'
import { routeMtu } from './route-mtu.ts'

export interface PeerOptions {
  readonly parts: DeviceParts
  readonly pinned: PinnedPeer
  /** A conversation to go on with; without one the peer is looked for. */
  readonly channels?: PairedChannels
  /** What our hello says. */
  readonly hello: () => Omit<Hello, 'kind' | 'wallTime'>
  /** Keeps what the next start needs. */
  readonly remember: (name: string, cached: CachedMeeting) => void
  /** It has said something new of its addresses. */
  readonly announced: (peer: Peer, announced: AnnouncedAddresses) => void
  /** The state, its reason or the path has changed. */
  readonly changed: (peer: Peer) => void
}

interface RunningSession {
  readonly controller: AbortController
  readonly done: Promise<void>
  readonly guardPeer: GuardPeer
  readonly tunnel: Tunnel
}

const historyLength = 20

export class Peer implements AsyncDisposable {
  readonly name: string
  readonly #options: PeerOptions
  readonly #link: PeerLink
  #cached: CachedMeeting | undefined
  #announced: AnnouncedAddresses | undefined
  #addresses: readonly string[] = []
  #presharedKey: SecretKey | undefined
  #state: SessionState = { kind: 'down' }
  #since: number
  #history: readonly PeerChange[] = []
  #session: RunningSession | undefined
  /** Of the path in use, or of the last one. */
  #remote: Endpoint | undefined
  #pathMtu: number | undefined

  constructor(options: PeerOptions) {
    const { parts, pinned, channels } = options
    this.name = pinned.name
    this.#options = options
    this.#cached = pinned.cached
    this.#announced = pinned.announced
    this.#presharedKey = pinned.cached?.presharedKey
    this.#since = parts.clock.wallTime()
    const channel = channels?.channel ?? parts.network.open(toHex(pinned.toxId).toUpperCase())
    this.#link = new PeerLink({
      channel,
      missed: channels?.takeOver() ?? [],
      secret: channels?.secret ?? parts.openSecret(channel, pinned.otrFingerprint),
      agreement: parts.agreement({ peerIdentity: pinned.identityKey, context: bothTunnelKeys(parts.card, pinned) }),
      ownFingerprint: parts.card.otrFingerprint,
      pinned: pinned.otrFingerprint,
      initiator: compareBytes(parts.card.tunnelKey, pinned.tunnelKey) < 0,
      hello: options.hello,
      clock: parts.clock,
      logger: withFields(parts.logger, { peer: pinned.name }),
    })
    this.#link.subscribe((event) => {
      if (event.kind === 'agreed') {
        this.#presharedKey = event.presharedKey
        this.#session?.guardPeer.setPresharedKey(event.presharedKey)
      } else if (event.kind === 'state') this.#hearAddresses()
    })
  }

  get tunnelKey(): TunnelPublicKey {
    return this.#options.pinned.tunnelKey
  }

  /** What it has said of its addresses last, in an earlier run too. */
  get announced(): AnnouncedAddresses | undefined {
    return this.#announced
  }

  get addresses(): readonly string[] {
    return this.#addresses
  }

  /** The addresses it may use inside from now on. */
  async setAddresses(addresses: readonly string[]): Promise<void> {
    if (addresses.join() === this.#addresses.join()) return
    this.#addresses = addresses
    const session = this.#session
    if (session === undefined) return
    await session.guardPeer.setAllowedIps(addresses.map(hostPrefix))
    await this.#setRoutes(session)
    this.#options.changed(this)
  }

  /** The secret by which the peer's probes of a cached endpoint are known, when there is one. */
  get presharedKey(): SecretKey | undefined {
    return this.#presharedKey
  }

  get link(): PeerLink {
    return this.#link
  }

  get state(): SessionState {
    return this.#state
  }

  /** Starts the session on the tunnel. */
  async start(tunnel: Tunnel): Promise<void> {
    if (this.#session !== undefined) return
    const { parts, pinned, remember } = this.#options
    const guardPeer = await tunnel.guard.addPeer({
      publicKey: pinned.tunnelKey,
      presharedKey: this.#presharedKey,
      allowedIps: this.#addresses.map(hostPrefix),
    })
    await this.#setRoutes({ guardPeer, tunnel })
    const puncher = await tunnel.puncherFor(pinned.tunnelKey)
    const controller = new AbortController()
    const done = runSession(
      {
        peer: this.name,
        link: this.#link,
        puncher,
        guardKind: parts.guard,
        guardPeer,
        cached: () => this.#cached,
        remember: (cached) => {
          this.#cached = cached
          remember(this.name, cached)
        },
        presharedKey: () => this.#presharedKey,
        enter: (state) => this.#enter(state),
        watchNetwork: parts.watchNetwork,
        clock: parts.clock,
        random: parts.random,
        logger: withFields(parts.logger, { peer: this.name }),
      },
      controller.signal,
    )
    this.#session = { controller, done, guardPeer, tunnel }
  }

  /** Ends the session; the link stays. */
  async stop(): Promise<void> {
    const session = this.#session
    if (session === undefined) return
    this.#session = undefined
    session.controller.abort(new Error('The device was switched off'))
    await session.done
    await this.#setRoutes(session, [])
    await session.guardPeer[Symbol.asyncDispose]()
  }

  status(): PeerStatus {
    const { pinned } = this.#options
    const stats = this.#session?.guardPeer.stats()
    const { clock } = this.#options.parts
    const lastHandshake = stats?.lastHandshakeAt
    return {
      name: this.name,
      fingerprint: formatFingerprint(pinned.otrFingerprint),
      state: this.#state.kind,
      ...explain(this.#state, this.name),
      since: this.#since,
      path: this.path(),
      addresses: this.#addresses,
      receivedBytes: stats?.receivedBytes ?? 0,
      sentBytes: stats?.sentBytes ?? 0,
      lastHandshake: lastHandshake === undefined ? undefined : clock.wallTime() - (clock.now() - lastHandshake),
      history: this.#history,
    }
  }

  path(): PathStatus | undefined {
    return this.#state.kind === 'connected' ? this.#state.path.status() : undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.#link[Symbol.asyncDispose]()
  }

  async #setRoutes(
    { guardPeer, tunnel }: Pick<RunningSession, 'guardPeer' | 'tunnel'>,
    addresses: readonly string[] = this.#addresses,
  ): Promise<void> {
    const { interfaceName } = guardPeer
    const mtu = routeMtu({ pathMtu: this.#pathMtu, interfaceMtu: tunnel.mtu })
    await tunnel.interface.setRoutes(this.name, { interfaceName, cidrs: addresses.map(hostPrefix), mtu })
  }

  /** A path that takes less than the interface narrows the way to this peer alone. Until a new one is known, it is as before. */
  #followMtu({ mtu }: PathStatus): void {
    if (mtu === undefined || mtu === this.#pathMtu) return
    this.#pathMtu = mtu
    if (this.#session === undefined) return
    runInBackground(this.#setRoutes(this.#session), (error) =>
      this.#options.parts.logger.warn('the routes to a peer keep their MTU', { error: errorMessage(error) }),
    )
  }

  #hasMoved(path: PathStatus): boolean {
    const before = this.#remote
    this.#remote = path.remote
    return before === undefined || !sameEndpoint(before, path.remote)
  }

  #hearAddresses(): void {
    const { state } = this.#link
    if (state.kind !== 'secure' || state.hello === undefined) return
    const { addresses, fixedAddresses, networks } = state.hello
    const announced = { addresses, fixedAddresses, networks }
    if (JSON.stringify(announced) === JSON.stringify(this.#announced)) return
    this.#announced = announced
    this.#options.announced(this, announced)
  }

  #enter(next: SessionState): void {
    const before = { kind: this.#state.kind, ...explain(this.#state, this.name) }
    this.#state = advance(this.#state, next)
    const { reason } = explain(next, this.name)
    const hasMoved = next.kind === 'connected' && this.#hasMoved(next.path.status())
    if (next.kind === 'connected') this.#followMtu(next.path.status())
    if (before.kind === next.kind && before.reason === reason && !hasMoved) return
    if (before.kind !== next.kind) this.#since = this.#options.parts.clock.wallTime()
    const change: PeerChange = { at: this.#options.parts.clock.wallTime(), state: next.kind, reason }
    this.#history = [...this.#history, change].slice(-historyLength)
    this.#options.changed(this)
  }
}

/** What the key agreement is bound to besides the identities: the two ends of the tunnel it is for. */
function bothTunnelKeys(own: Card, other: Card): Uint8Array {
  const keys = [own.tunnelKey, other.tunnelKey].sort(compareBytes)
  return new Uint8Array(
    createHash('sha256')
      .update(concatBytes(...keys))
      .digest(),
  )
}

/**
 * One pinned peer of a device: its link, which lives as long as the peer is pinned, and its session, which lives as
 * long as the device is up.
 */

import { createHash } from 'node:crypto'
import type { PeerChange, PeerStatus } from '../api/device.ts'
import { formatFingerprint, type SecretKey } from '../api/keys.ts'
import type { GuardPeer, PathStatus } from '../api/roles.ts'
import { tunnelAddresses } from '../api/tunnel-addresses.ts'
import type { Card } from '../pairing/card.ts'
import type { CachedMeeting, PinnedPeer } from '../pairing/peers.ts'
import { type Hello, PeerLink } from '../session/link.ts'
import { runSession } from '../session/session.ts'
import { advance, explain, type SessionState } from '../session/state.ts'
import { compareBytes, concatBytes, toHex } from '../util/bytes.ts'
import { withFields } from '../util/logger.ts'
import type { PairedChannels } from './pairing.ts'
import type { DeviceParts, Tunnel } from './parts.ts'

export interface PeerOptions {
  readonly parts: DeviceParts
  readonly pinned: PinnedPeer
  /** A conversation to go on with; without one the peer is looked for. */
  readonly channels?: PairedChannels
  /** What our hello says. */
  readonly hello: () => Omit<Hello, 'kind' | 'wallTime'>
  /** Keeps what the next start needs. */
  readonly remember: (name: string, cached: CachedMeeting) => void
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
  #presharedKey: SecretKey | undefined
  #state: SessionState = { kind: 'down' }
  #since: number
  #history: readonly PeerChange[] = []
  #session: RunningSession | undefined

  constructor(options: PeerOptions) {
    const { parts, pinned, channels } = options
    this.name = pinned.name
    this.#options = options
    this.#cached = pinned.cached
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
      }
    })
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
    const cidrs = this.#addresses().map(hostPrefix)
    const guardPeer = await tunnel.guard.addPeer({
      publicKey: pinned.tunnelKey,
      presharedKey: this.#presharedKey,
      allowedIps: cidrs,
    })
    await tunnel.interface.setRoutes(this.name, { interfaceName: guardPeer.interfaceName, cidrs })
    const puncher = await tunnel.puncherFor(pinned.tunnelKey)
    const controller = new AbortController()
    const done = runSession(
      {
        peer: this.name,
        link: this.#link,
        puncher,
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
    await session.tunnel.interface.setRoutes(this.name, { interfaceName: session.guardPeer.interfaceName, cidrs: [] })
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
      addresses: this.#addresses(),
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

  #addresses(): readonly string[] {
    const { ipv4, ipv6 } = tunnelAddresses(this.#options.pinned.tunnelKey)
    return [ipv4, ipv6]
  }

  #enter(next: SessionState): void {
    const before = { kind: this.#state.kind, ...explain(this.#state, this.name) }
    this.#state = advance(this.#state, next)
    const { reason } = explain(next, this.name)
    if (before.kind === next.kind && before.reason === reason && next.kind !== 'connected') return
    if (before.kind !== next.kind) this.#since = this.#options.parts.clock.wallTime()
    const change: PeerChange = { at: this.#options.parts.clock.wallTime(), state: next.kind, reason }
    this.#history = [...this.#history, change].slice(-historyLength)
    this.#options.changed(this)
  }
}

/** `10.64.1.2/32`, `fd70::1/128`. */
function hostPrefix(address: string): string {
  return `${address}/${address.includes(':') ? 128 : 32}`
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

/**
 * The OpenVPN guard: one process, one interface and one UDP port for each peer (peer.ts). The processes carry the packets
 * past us; we only start, lead and watch them. Linux, OpenVPN 2.6 or newer.
 */

import { PunchGuardError } from '../../api/errors.ts'
import { type SecretKey, shortKey, type TunnelPublicKey } from '../../api/keys.ts'
import type { Guard, GuardPeer, GuardPeerOptions, GuardStatus } from '../../api/roles.ts'
import type { RunCommand } from '../../net/run-command.ts'
import { toHex } from '../../util/bytes.ts'
import type { Clock } from '../../util/clock.ts'
import { type Logger, withFields } from '../../util/logger.ts'
import { type Certificate, createCertificate } from './certificate.ts'
import { type OpenvpnConfig, renderConfig } from './config.ts'
import { certificateSeed, isServer, staticKey } from './keys.ts'
import { OpenvpnPeer, type PeerPlace } from './peer.ts'
import { notInstalled, type StartOpenvpn } from './process-shell.ts'

export interface OpenvpnGuardOptions {
  /** Of the guard: the first peer's. */
  readonly interfaceName: string
  readonly mtu: number
  /** The caller's, which may wipe it at once. */
  readonly privateKey: SecretKey
  readonly publicKey: TunnelPublicKey
  /** As `openvpnVersion` says. */
  readonly version: string
  readonly runAs: OpenvpnConfig['runAs']
  /** Interface and port of a peer. @throws PunchGuardError */
  readonly placeFor: (peer: TunnelPublicKey) => Promise<PeerPlace>
  readonly start: StartOpenvpn
  readonly clock: Clock
  readonly logger: Logger
}

/** `peer-fingerprint` between two peers, and ciphers agreed on without a server. */
const oldest = { major: 2, minor: 6 } as const

export class OpenvpnGuard implements Guard {
  readonly kind = 'openvpn'
  readonly interfaceName: string
  /** The SHA-256 fingerprint of our certificate, 32 bytes. */
  readonly parameters: Uint8Array
  /** Resolves, with the reason in words, when an interface is gone without us; never rejects. */
  readonly lost: Promise<string>
  readonly #options: OpenvpnGuardOptions
  readonly #certificate: Certificate
  readonly #peers: Map<string, GuardPeer> = new Map()
  #lose: (reason: string) => void = () => {}

  constructor(options: OpenvpnGuardOptions) {
    this.#options = options
    this.interfaceName = options.interfaceName
    const seed = certificateSeed(options.privateKey)
    this.#certificate = createCertificate(seed.reveal())
    seed.wipe()
    this.parameters = this.#certificate.fingerprint
    this.lost = new Promise((resolve) => {
      this.#lose = resolve
    })
  }

  status(): GuardStatus {
    return { dataPlane: 'process', implementation: `openvpn ${this.#options.version}`, offloads: [] }
  }

  /** @throws PunchGuardError CONFIG_INVALID, PEER_EXISTS, GUARD_UNAVAILABLE */
  async addPeer(peer: GuardPeerOptions): Promise<GuardPeer> {
    const { placeFor, start, clock, logger, mtu, runAs, publicKey } = this.#options
    const name = toHex(peer.publicKey)
    if (this.#peers.has(name) || name === toHex(publicKey)) {
      throw new PunchGuardError('PEER_EXISTS', `the tunnel key ${shortKey(peer.publicKey)} cannot be added`, {
        hint: 'every device needs a key of its own, and can be added once',
      })
    }
    const place = await placeFor(peer.publicKey)
    const ends = { own: publicKey, peer: peer.publicKey }
    try {
      const added = new OpenvpnPeer({
        peer,
        place,
        start,
        config: (target, managementSocket) => {
          const key = staticKey(target.presharedKey, ends)
          const config = renderConfig({
            interfaceName: place.interfaceName,
            mtu,
            localPort: place.port.port,
            remote: target.remote,
            isServer: isServer(ends),
            certificate: this.#certificate,
            peerFingerprint: target.peerFingerprint,
            staticKey: key,
            managementSocket,
            runAs,
          })
          key.wipe()
          return config
        },
        lost: (reason) => this.#lose(reason),
        disposed: () => void this.#peers.delete(name),
        clock,
        logger: withFields(logger, { interface: place.interfaceName }),
      })
      this.#peers.set(name, added)
      return added
    } catch (error) {
      await place[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#peers.values()].map((peer) => peer[Symbol.asyncDispose]()))
  }
}

/** `2.6.14`. @throws PunchGuardError GUARD_UNAVAILABLE when it is not installed, or too old */
export async function openvpnVersion(run: RunCommand): Promise<string> {
  // Older ones fail when they are asked.
  const text = await run('openvpn', ['--version']).catch((error: unknown) => {
    if (error instanceof PunchGuardError) throw notInstalled(error)
    return ''
  })
  const [, version, major, minor] = /^OpenVPN ((\d+)\.(\d+)\S*)/.exec(text) ?? []
  const isNewEnough = Number(major) > oldest.major || (Number(major) === oldest.major && Number(minor) >= oldest.minor)
  if (version !== undefined && isNewEnough) return version
  throw new PunchGuardError('GUARD_UNAVAILABLE', `openvpn ${version ?? 'of an unknown version'} is too old`, {
    hint: `install OpenVPN ${oldest.major}.${oldest.minor} or newer, or set guard = "embedded" in config.toml on both devices`,
  })
}

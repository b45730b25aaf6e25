/**
 * One peer of the OpenVPN guard: a process for each path, started when everything that it needs is known, started again when
 * it dies, and ended when the path, the peer's certificate or the key behind a silent tunnel has changed.
 */

import { type Endpoint, formatEndpoint } from '../../api/endpoint.ts'
import { errorMessage, PunchGuardError } from '../../api/errors.ts'
import type { SecretKey } from '../../api/keys.ts'
import type { GuardEvent, GuardPeer, GuardPeerOptions, GuardPeerStats, Path } from '../../api/roles.ts'
import { equalBytes } from '../../util/bytes.ts'
import type { Clock } from '../../util/clock.ts'
import { Listeners } from '../../util/listeners.ts'
import type { Logger } from '../../util/logger.ts'
import { runInBackground } from '../../util/run-in-background.ts'
import { parsePrefix } from '../wireguard/allowed-ips.ts'
import type { OpenvpnProcess, ProcessEvent, StartOpenvpn } from './process-shell.ts'
import { Traffic } from './traffic.ts'

/** What a peer has of the machine. */
export interface PeerPlace extends AsyncDisposable {
  readonly interfaceName: string
  /** Before a process is started. False when somebody removed the interface: the process would make another one. */
  readonly prepare: () => Promise<boolean>
  readonly port: PeerPort
}

/** The UDP port of a peer: ours, or that of the peer's process. */
export interface PeerPort {
  readonly port: number
  handOver(): Promise<void>
  takeBack(): Promise<void>
}

/** What changes from process to process. */
export interface ProcessTarget {
  readonly remote: Endpoint
  readonly presharedKey: SecretKey
  readonly peerFingerprint: Uint8Array
}

export interface OpenvpnPeerOptions {
  readonly peer: GuardPeerOptions
  /** Taken over. */
  readonly place: PeerPlace
  readonly start: StartOpenvpn
  readonly config: (target: ProcessTarget, managementSocket: string) => string
  /** The interface is gone without us. */
  readonly lost: (reason: string) => void
  readonly disposed: () => void
  readonly clock: Clock
  readonly logger: Logger
}

interface Run {
  readonly target: ProcessTarget
  readonly path: Path
  readonly process: OpenvpnProcess
  connected: boolean
}

/** Bytes of SHA-256. */
const fingerprintSize = 32
/** Before a process that died is started again, ms; doubled from then on. */
const firstPause = 250
const longestPause = 8000

export class OpenvpnPeer implements GuardPeer {
  readonly #options: OpenvpnPeerOptions
  readonly #listeners: Listeners<GuardEvent> = new Listeners()
  readonly #traffic: Traffic = new Traffic()
  #presharedKey: SecretKey | undefined
  #peerFingerprint: Uint8Array | undefined
  #path: Path | undefined
  #run: Run | undefined
  /** To be replaced, though it is what should run otherwise. */
  #stale: Run | undefined
  #settling: Promise<void> | undefined
  /** Something changed while the change before was still made. */
  #unsettled = false
  #failures = 0
  #pause: Disposable | undefined
  #lastHandshakeAt: number | undefined
  #isLost = false
  #disposed = false

  constructor(options: OpenvpnPeerOptions) {
    this.#options = options
    this.#presharedKey = options.peer.presharedKey
    checkPrefixes(options.peer.allowedIps)
  }

  get interfaceName(): string {
    return this.#options.place.interfaceName
  }

  /**
   * Both ends start at once, whoever initiates: OpenVPN's two sides find each other. A peer that moves on the path is
   * followed by the process itself.
   */
  use(path: Path | undefined): void {
    if (path !== this.#path) {
      this.#path = path
      this.#failures = 0
      this.#clearPause()
    }
    this.#settle()
  }

  setPresharedKey(key: SecretKey): void {
    this.#presharedKey = key
    this.#settle()
  }

  /** Routes alone keep the peers apart: see docs/openvpn.md. */
  async setAllowedIps(allowedIps: readonly string[]): Promise<void> {
    checkPrefixes(allowedIps)
  }

  meet(parameters: Uint8Array): void {
    if (parameters.length !== fingerprintSize) {
      this.#options.logger.warn('the peer named no certificate', { bytes: parameters.length })
      return
    }
    this.#peerFingerprint = parameters.slice()
    this.#settle()
  }

  stats(): GuardPeerStats {
    return {
      ...this.#traffic.stats(),
      lastHandshakeAt: this.#lastHandshakeAt,
      endpoint: this.#path?.status().remote,
      dropped: {},
    }
  }

  subscribe(listener: (event: GuardEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return
    this.use(undefined)
    this.#disposed = true
    await this.#settling
    this.#options.disposed()
    await this.#options.place[Symbol.asyncDispose]()
  }

  // ------------------------------------------------------------------------------------------------- one process

  /** What should run now; nothing before everything is known. */
  #wanted(): { readonly target: ProcessTarget; readonly path: Path } | undefined {
    const path = this.#isLost || this.#disposed ? undefined : this.#path
    const presharedKey = this.#presharedKey
    const peerFingerprint = this.#peerFingerprint
    if (path === undefined || presharedKey === undefined || peerFingerprint === undefined) return undefined
    return { target: { remote: path.status().remote, presharedKey, peerFingerprint }, path }
  }

  /** Makes what runs what should run. */
  #settle(): void {
    this.#unsettled = true
    this.#settling ??= this.#settleAll()
  }

  async #settleAll(): Promise<void> {
    while (this.#unsettled) {
      this.#unsettled = false
      await this.#settleNow().catch((error: unknown) => this.#failed(errorMessage(error)))
    }
    this.#settling = undefined
  }

  async #settleNow(): Promise<void> {
    const { port, prepare } = this.#options.place
    for (;;) {
      const wanted = this.#wanted()
      const run = this.#run
      if (run !== undefined) {
        if (wanted !== undefined && this.#fits(run, wanted)) return
        this.#run = undefined
        await run.process.end()
      } else if (wanted === undefined) {
        await port.takeBack()
        return
      } else if (this.#pause !== undefined) return
      else if (!(await prepare())) this.#lose()
      else {
        await port.handOver()
        await this.#begin(wanted)
      }
    }
  }

  #fits(run: Run, wanted: { readonly target: ProcessTarget; readonly path: Path }): boolean {
    if (run === this.#stale || run.path !== wanted.path) return false
    if (!equalBytes(run.target.peerFingerprint, wanted.target.peerFingerprint)) return false
    // A tunnel that works keeps the key that it began with.
    return run.connected || run.target.presharedKey === wanted.target.presharedKey
  }

  async #begin({ target, path }: { readonly target: ProcessTarget; readonly path: Path }): Promise<void> {
    const { start, config, logger } = this.#options
    this.#traffic.restart()
    let run: Run | undefined
    const process = await start({
      config: (managementSocket) => config(target, managementSocket),
      listener: (event) => {
        if (run !== undefined && run === this.#run) this.#onEvent(run, event)
      },
    })
    run = { target, path, process, connected: false }
    this.#run = run
    logger.debug('openvpn started', { remote: formatEndpoint(target.remote) })
    const own = run
    runInBackground(
      process.ended.then((reason) => {
        if (this.#run !== own) return
        this.#run = undefined
        this.#failed(`openvpn ended: ${reason}`)
      }),
      () => {},
    )
  }

  /** Tried again, at once the first time and then less and less often. */
  #failed(reason: string): void {
    const { clock, logger } = this.#options
    if (this.#wanted() === undefined) {
      logger.warn('the port of the tunnel is not ours again', { reason })
      return
    }
    const pause = this.#failures === 0 ? 0 : Math.min(longestPause, firstPause * 2 ** (this.#failures - 1))
    this.#failures++
    logger.warn('the tunnel process is started again', { reason, pause })
    this.#clearPause()
    this.#pause = clock.after(pause, () => {
      this.#pause = undefined
      this.#settle()
    })
  }

  #clearPause(): void {
    this.#pause?.[Symbol.dispose]()
    this.#pause = undefined
  }

  // ------------------------------------------------------------------------------------------------- events

  #onEvent(run: Run, event: ProcessEvent): void {
    const now = this.#options.clock.now()
    switch (event.kind) {
      case 'state':
        if (event.state === 'connected') {
          run.connected = true
          this.#failures = 0
          this.#lastHandshakeAt = now
          this.#listeners.emit({ kind: 'established' })
        } else if (event.state === 'reconnecting') {
          run.connected = false
          this.#listeners.emit({ kind: 'unanswered' })
          this.#renew(run)
        }
        break
      case 'bytes':
        if (this.#traffic.count(event.received, event.sent, now)) {
          this.#listeners.emit({ kind: 'unanswered' })
          this.#renew(run)
        }
        break
      case 'unreadable':
        this.#renew(run)
        break
      case 'fatal':
        break
      case 'interface-lost':
        this.#lose()
        this.#settle()
        break
    }
  }

  #lose(): void {
    this.#isLost = true
    this.#options.lost(`the interface ${this.interfaceName} was removed`)
  }

  /** The peer may have started again with a newer key, behind which we would wait for it in vain. */
  #renew(run: Run): void {
    if (this.#presharedKey === run.target.presharedKey) return
    this.#stale = run
    this.#settle()
  }
}

/** @throws PunchGuardError CONFIG_INVALID */
function checkPrefixes(allowedIps: readonly string[]): void {
  const wrong = allowedIps.find((text) => parsePrefix(text) === undefined)
  if (wrong === undefined) return
  throw new PunchGuardError('CONFIG_INVALID', `${wrong} is no IP prefix`, {
    hint: 'write it as ADDRESS/LENGTH, for example 10.64.1.2/32',
  })
}

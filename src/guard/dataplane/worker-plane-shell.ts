/**
 * The data plane of two workers (Linux): one reads the socket and writes the TUN, and does the other way round as well while
 * one core is enough; then the other one does that (tun-duty.ts). The main thread only steers. A tunnel begins on the plain data plane, so that nothing waits for threads to start; a moment after
 * its first session the workers do, borrow both descriptors, and go on with the same sessions where the plain plane was.
 * When a worker cannot start or dies, both descriptors come back and the plain data plane goes on: the peers are told to
 * it again, their sessions are not, and are made anew, so that no counter is used twice.
 */

import { type Endpoint, sameEndpoint } from '../../api/endpoint.ts'
import { errorMessage } from '../../api/errors.ts'
import type { GuardStatus } from '../../api/roles.ts'
import { c, type SystemCalls } from '../../net/ffi.ts'
import { assertNever } from '../../util/assert-never.ts'
import { type Clock, delay } from '../../util/clock.ts'
import { type Logger, silentLogger } from '../../util/logger.ts'
import { runInBackground } from '../../util/run-in-background.ts'
import type { Prefix } from '../wireguard/allowed-ips.ts'
import { REPORT_INTERVAL } from '../wireguard/constants.ts'
import { sumCounts } from '../wireguard/drop-counter.ts'
import type { CryptoBackend } from './aead/aead.ts'
import type { DataPlane, DataPlaneCommand, DataPlaneEvent, PeerActivity, PeerId } from './data-plane.ts'
import { DatagramRing } from './datagram-ring.ts'
import { type GuardUnderlay, type PacketDevice, PlainDataPlane, plainStatus } from './plain.ts'
import { PlaneWorker } from './plane-worker-shell.ts'
import { createDropRow, createPeerRow, readActivity, readDrops, seedPeerRow, versionOf } from './shared-activity.ts'
import { TrafficBalance } from './traffic-balance.ts'
import { TunDuty } from './tun-duty.ts'
import { Turnstile } from './turnstile.ts'
import { commandFor, decodeEndpoint, sharedBy } from './worker-commands.ts'
import type { Ipv4Endpoint, WorkerEvent, WorkerSetup } from './worker-messages.ts'

/** The TUN, as net/tun/offload.ts offers it. */
export interface LendableTun extends PacketDevice {
  readonly name: string
  lend(): { readonly fd: number; readonly offloads: { readonly tcp: boolean; readonly udp: boolean } }
  giveBack(): void
}

/** The socket, as net/lendable-socket.ts offers it; the same that `underlay` routes. */
export interface LendableDatagrams {
  lend(): Promise<number>
  deliver(bytes: Uint8Array, from: Endpoint): void
  giveBack(): void
}

export interface WorkerDataPlaneOptions {
  readonly system: SystemCalls
  readonly clock: Clock
  readonly underlay: GuardUnderlay
  readonly socket: LendableDatagrams
  readonly tun: LendableTun
  readonly logger?: Logger
  /** Tried in this order; all of them unless told. */
  readonly backends?: readonly CryptoBackend[]
}

interface PlanePeer {
  readonly id: PeerId
  allowedIps: readonly Prefix[]
  readonly row: Float64Array
  endpoint: Endpoint | undefined
  revision: number
  version: number
}

type State =
  /** No session yet, or the workers are not ready. */
  | { readonly kind: 'starting'; readonly plane: PlainDataPlane; readonly workers: readonly PlaneWorker[] }
  | { readonly kind: 'workers'; readonly workers: readonly PlaneWorker[] }
  | { readonly kind: 'plain'; readonly plane: PlainDataPlane }
  | { readonly kind: 'disposed' }

const allBackends: readonly CryptoBackend[] = ['openssl-state', 'openssl-raw', 'openssl-evp', 'wasm']
/** Datagrams of the workers handled in one turn of the event loop. */
const batch = 64
/** From the first session to the start of the threads, ms: what waited for the session goes first. */
const startDelay = 150
/** Packets that wait for a session are not handed over: so long they may hold up the workers, ms. */
const waitingPatience = 1000
const waitingInterval = 20

export class WorkerDataPlane implements DataPlane {
  readonly #options: WorkerDataPlaneOptions
  readonly #logger: Logger
  readonly #peers: Map<PeerId, PlanePeer> = new Map()
  readonly #ringMemory: SharedArrayBuffer
  readonly #ring: DatagramRing
  readonly #balance: TrafficBalance = new TrafficBalance()
  readonly #onExit = (): void => this.#stopWorkers()
  #offloads: string[] = []
  /** By the plain plane, before the workers took over. */
  #droppedBefore: Readonly<Record<string, number>> = {}
  #backend: CryptoBackend | undefined
  #state: State
  #route: Disposable | undefined
  #listener: (event: DataPlaneEvent) => void = () => {}
  #timer: { readonly isNow: boolean; readonly handle: Disposable } | undefined
  #isDraining = false
  #starting: Disposable | undefined

  constructor(options: WorkerDataPlaneOptions) {
    this.#options = options
    this.#logger = options.logger ?? silentLogger
    this.#ringMemory = DatagramRing.memory()
    this.#ring = new DatagramRing(this.#ringMemory)
    process.on('exit', this.#onExit)
    this.#state = { kind: 'starting', plane: new PlainDataPlane(options), workers: [] }
  }

  get status(): GuardStatus {
    switch (this.#state.kind) {
      case 'starting':
        return this.#state.workers.length === 0 ? plainStatus : { ...plainStatus, dataPlane: 'starting' }
      case 'workers':
        return { dataPlane: 'workers', implementation: this.#backend, offloads: [...this.#offloads] }
      case 'plain':
      case 'disposed':
        return plainStatus
      default:
        return assertNever(this.#state)
    }
  }

  listen(listener: (event: DataPlaneEvent) => void): void {
    this.#listener = listener
    if (this.#state.kind === 'starting' || this.#state.kind === 'plain') this.#state.plane.listen(listener)
  }

  apply(command: DataPlaneCommand): void {
    this.#remember(command)
    switch (this.#state.kind) {
      case 'starting':
        this.#state.plane.apply(command)
        if (command.kind === 'use-keypair') this.#startLater()
        break
      case 'workers':
        this.#command(this.#state.workers, command)
        this.#schedule(false)
        break
      case 'plain':
        this.#state.plane.apply(command)
        break
      case 'disposed':
        break
      default:
        assertNever(this.#state)
    }
  }

  dropped(): Readonly<Record<string, number>> {
    if (this.#state.kind === 'disposed') return {}
    if (this.#state.kind !== 'workers') return this.#state.plane.dropped()
    return sumCounts(this.#droppedBefore, readDrops(...this.#state.workers.map(({ drops }) => drops)))
  }

  [Symbol.dispose](): void {
    const state = this.#state
    if (state.kind === 'disposed') return
    this.#end()
    if (state.kind !== 'workers') state.plane[Symbol.dispose]()
    this.#state = { kind: 'disposed' }
    process.off('exit', this.#onExit)
  }

  /** For tests: one worker throws. */
  breakWorker(role: WorkerSetup['role']): void {
    if (this.#state.kind !== 'workers') return
    for (const worker of this.#state.workers) if (worker.role === role) worker.post({ kind: 'fail' })
  }

  /** For tests: if this worker reads the TUN, the other one does from now on. */
  giveTun(from: WorkerSetup['role']): void {
    if (this.#state.kind !== 'workers') return
    for (const worker of this.#state.workers) if (worker.role === from) worker.post({ kind: 'give-tun' })
  }

  #startLater(): void {
    this.#starting ??= this.#options.clock.after(startDelay, () => {
      if (this.#state.kind === 'starting') this.#state = { ...this.#state, workers: this.#startWorkers() }
    })
  }

  #startWorkers(): readonly PlaneWorker[] {
    const { system, clock, tun, backends = allBackends } = this.#options
    const [seconds, nanoseconds] = process.hrtime()
    const newWake = (): number => system.eventfd(0, c.O_CLOEXEC | c.O_NONBLOCK)
    const shared = {
      interfaceName: tun.name,
      mtu: tun.mtu,
      clockOffset: clock.now() - (seconds * 1000 + nanoseconds / 1e6),
      wakes: { transmit: newWake(), receive: newWake() },
      turnstile: Turnstile.memory(),
      duty: TunDuty.memory(),
      ring: this.#ringMemory,
      backends,
    }
    return (['transmit', 'receive'] as const).map((role): PlaneWorker => {
      const own = { role, control: new Int32Array(new SharedArrayBuffer(16)), drops: createDropRow() }
      const worker: PlaneWorker = new PlaneWorker(
        system,
        { ...shared, ...own },
        {
          hear: (event) => this.#hear(worker, event),
          failed: (reason) => this.#fallBack(reason),
          ended: () => this.#fallBack(`the ${role} worker ended`),
        },
      )
      return worker
    })
  }

  #hear(worker: PlaneWorker, event: WorkerEvent): void {
    if (this.#state.kind !== 'starting' && this.#state.kind !== 'workers') return
    switch (event.kind) {
      case 'ready':
        worker.ready(event.thread)
        this.#backend = event.backend
        for (const reason of event.refused) this.#logger.info('cipher not used', { worker: worker.role, reason })
        if (this.#state.workers.every(({ isReady }) => isReady))
          runInBackground(this.#takeOver(this.#state.workers), (error) => this.#fallBack(errorMessage(error)))
        break
      case 'started':
        this.#offloads = [...new Set([...this.#offloads, ...event.offloads])]
        if (worker.role === 'receive')
          this.#logger.info('data plane in workers', {
            cipher: this.#backend ?? '',
            offloads: this.#offloads.join(' '),
          })
        break
      case 'fell-back':
        this.#offloads = this.#offloads.filter((name) => name !== event.what)
        this.#logger.warn('offload not used any more', { offload: event.what, reason: event.reason })
        break
      case 'activity':
        this.#schedule(event.urgent)
        break
      case 'moved':
        this.#move(event.peer, event.endpoint, event.revision)
        break
      case 'datagrams':
        if (!this.#isDraining) this.#drain()
        break
      case 'lost':
        this.#fallBack(event.reason)
        break
      default:
        assertNever(event)
    }
  }

  /** The workers go on with the sessions of the plain plane, from where it was. */
  async #takeOver(workers: readonly PlaneWorker[]): Promise<void> {
    const { socket, system, clock, tun, underlay } = this.#options
    const patience = clock.now() + waitingPatience
    while (this.#state.kind === 'starting' && this.#state.plane.hasWaiting && clock.now() < patience)
      await delay(clock, waitingInterval)
    const lent = await Promise.all(workers.map(async () => socket.lend()))
    if (this.#state.kind !== 'starting') {
      for (const fd of lent) system.close(fd)
      socket.giveBack()
      return
    }
    const { plane } = this.#state
    this.#droppedBefore = plane.dropped()
    const { sessions, activities } = plane.handOver()
    this.#state = { kind: 'workers', workers }
    this.#route = underlay.route('wireguard', (bytes, from) => this.#receive(bytes, from))
    for (const { peer: id, activity } of activities) this.#handOverPeer(workers, id, activity)
    for (const { peer, keypair, isSending } of sessions) {
      this.#command(workers, { kind: 'install-keypair', peer, keypair })
      const { localIndex } = keypair
      if (isSending) this.#command(workers, { kind: 'use-keypair', peer, localIndex, confirm: false })
    }
    // Last: what they read before they know the peers would be nobody's.
    for (const [at, worker] of workers.entries()) {
      const { fd, offloads } = tun.lend()
      this.#offloads = [...(offloads.tcp ? ['tso'] : []), ...(offloads.udp ? ['uso'] : [])]
      worker.post({ kind: 'start', socket: lent[at] ?? -1, tun: fd, mayMergeUdp: offloads.udp })
    }
  }

  #handOverPeer(workers: readonly PlaneWorker[], id: PeerId, activity: PeerActivity): void {
    const peer = this.#peers.get(id)
    if (peer === undefined) return
    const { allowedIps, revision } = peer
    seedPeerRow(peer.row, activity)
    peer.endpoint = activity.endpoint
    this.#command(workers, { kind: 'add-peer', peer: id, allowedIps })
    this.#command(workers, { kind: 'set-endpoint', peer: id, endpoint: activity.endpoint, revision })
  }

  /** Every worker gets every command, with the keys that it needs. */
  #command(workers: readonly PlaneWorker[], command: DataPlaneCommand): void {
    const shared = sharedBy(command, this.#peers.get(command.peer)?.row)
    for (const worker of workers) {
      const own = commandFor(worker.role, command, shared)
      if (own !== undefined) worker.post(own)
    }
    if (command.kind === 'install-keypair') {
      command.keypair.sendKey.wipe()
      command.keypair.receiveKey.wipe()
    }
  }

  /** What a plain data plane would have to be told again. */
  #remember(command: DataPlaneCommand): void {
    if (command.kind === 'add-peer') {
      const { peer: id, allowedIps } = command
      this.#peers.set(id, { id, allowedIps, row: createPeerRow(), endpoint: undefined, revision: 0, version: 0 })
    } else if (command.kind === 'remove-peer') this.#peers.delete(command.peer)
    else if (command.kind === 'set-allowed-ips') {
      const peer = this.#peers.get(command.peer)
      if (peer !== undefined) peer.allowedIps = command.allowedIps
    } else if (command.kind === 'set-endpoint') {
      const peer = this.#peers.get(command.peer)
      if (peer === undefined) return
      peer.endpoint = command.endpoint
      peer.revision = command.revision
    }
  }

  /** Unless control has said otherwise since. */
  #move(id: PeerId, to: Ipv4Endpoint, revision: number): void {
    const peer = this.#peers.get(id)
    if (peer === undefined || peer.revision !== revision || peer.endpoint === undefined) return
    const endpoint = decodeEndpoint(to)
    if (sameEndpoint(peer.endpoint, endpoint)) return
    peer.endpoint = endpoint
    peer.version = -1
    if (this.#state.kind !== 'workers') return
    for (const worker of this.#state.workers) worker.post({ kind: 'set-endpoint', peer: id, endpoint: to, revision })
    this.#report()
  }

  /** WireGuard's messages, of the socket before it was lent and of the receive worker after. */
  #receive(bytes: Uint8Array, from: Endpoint): void {
    if (bytes[0] !== 4) this.#listener({ kind: 'handshake-message', bytes, from })
  }

  #drain(): void {
    this.#isDraining = true
    for (let count = 0; count < batch; count++) {
      const next = this.#ring.shift()
      if (next === undefined || this.#state.kind === 'disposed') {
        this.#isDraining = false
        return
      }
      this.#options.socket.deliver(next.bytes, decodeEndpoint(next.from))
    }
    setImmediate(() => this.#drain())
  }

  #schedule(isNow: boolean): void {
    if (this.#timer !== undefined && (this.#timer.isNow || !isNow)) return
    this.#timer?.handle[Symbol.dispose]()
    const handle = this.#options.clock.after(isNow ? 0 : REPORT_INTERVAL, () => this.#report())
    this.#timer = { isNow, handle }
  }

  #report(): void {
    this.#timer?.handle[Symbol.dispose]()
    this.#timer = undefined
    if (this.#state.kind !== 'workers') return
    const { workers } = this.#state
    // Before the rows are read: what changes from now on is told again.
    for (const worker of workers) worker.allowReports()
    const now = this.#options.clock.now()
    const changed = [...this.#peers.values()].filter((peer) => versionOf(peer.row) !== peer.version)
    if (changed.length === 0) {
      this.#balance.take(now)
      for (const worker of workers) worker.rest()
      return
    }
    // While there is traffic this looks again by itself: to be told each time costs both threads a wake-up.
    for (const worker of workers) worker.holdReports()
    this.#schedule(false)
    for (const peer of changed) {
      peer.version = versionOf(peer.row)
      const known = { endpoint: peer.endpoint, endpointRevision: peer.revision }
      const activity = readActivity(peer.row, known)
      this.#balance.add(peer.row, activity)
      this.#listener({ kind: 'report', peer: peer.id, activity })
    }
    const isAnswered = this.#balance.take(now)
    for (const worker of workers) worker.weigh(now, isAnswered)
  }

  #fallBack(reason: string): void {
    const state = this.#state
    if (state.kind !== 'starting' && state.kind !== 'workers') return
    this.#logger.warn('data plane in the main thread from now on', { reason })
    this.#end()
    if (state.kind === 'starting') {
      this.#state = { kind: 'plain', plane: state.plane }
      return
    }
    const plane = new PlainDataPlane(this.#options)
    this.#state = { kind: 'plain', plane }
    plane.listen(this.#listener)
    for (const { id: peer, allowedIps, endpoint, revision } of this.#peers.values()) {
      plane.apply({ kind: 'add-peer', peer, allowedIps })
      plane.apply({ kind: 'set-endpoint', peer, endpoint, revision })
    }
  }

  /** Both descriptors are our own again when this returns. */
  #end(): void {
    this.#stopWorkers()
    this.#starting?.[Symbol.dispose]()
    if (this.#state.kind !== 'workers') return
    for (const worker of this.#state.workers) worker.waitUntilStopped()
    this.#timer?.handle[Symbol.dispose]()
    this.#timer = undefined
    this.#route?.[Symbol.dispose]()
    this.#options.tun.giveBack()
    this.#options.socket.giveBack()
  }

  #stopWorkers(): void {
    if (this.#state.kind !== 'starting' && this.#state.kind !== 'workers') return
    for (const worker of this.#state.workers) worker.stop()
  }
}

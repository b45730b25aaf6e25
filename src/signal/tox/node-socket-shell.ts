/**
 * The thin shell around a Tox machine: its UDP socket, its one timer, and the looking up of bootstrap nodes. Uses
 * HostNetwork and Clock only, so it runs on a simulated network as well.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import { errorMessage, PunchGuardError } from '../../api/errors.ts'
import type { DatagramSocket, HostNetwork } from '../../api/network.ts'
import type { BootstrapNode } from '../../api/servers.ts'
import type { Clock } from '../../util/clock.ts'
import { DeadlineTimer } from '../../util/deadline-timer.ts'
import type { Logger } from '../../util/logger.ts'
import { runInBackground } from '../../util/run-in-background.ts'
import { dhtPublicKey } from './crypto.ts'
import type { NodeContact } from './packed-node.ts'

/** From the specification: where c-toxcore looks for nodes on the LAN, and binds by itself. */
const firstPort = 33_445
const lastPort = 33_545
/** Our choice: names are looked up again while nobody answers, and from time to time anyway, ms. */
const lookupInterval = { alone: 10_000, connected: 600_000 } as const

export interface NodeSocketOptions {
  readonly host: HostNetwork
  readonly clock: Clock
  readonly logger: Logger
  readonly bootstrap: readonly BootstrapNode[]
  /** UDP port; 0 or none: the first free one of 33445..33545. */
  readonly port?: number
}

/** The machine as the shell sees it; it carries out its own effects. */
export interface NodeMachine {
  deadline(): number | undefined
  connected(now: number): boolean
  bootstrap(nodes: readonly NodeContact[], now: number): void
  receive(bytes: Uint8Array, from: Endpoint, now: number): void
  tick(now: number): void
}

export class NodeSocket implements AsyncDisposable {
  readonly #options: NodeSocketOptions
  readonly #socket: DatagramSocket
  readonly #timer: DeadlineTimer
  #machine: NodeMachine | undefined
  #lookupAt: number

  /** @throws PunchGuardError ADDRESS_IN_USE, PERMISSION_DENIED */
  static async bind(options: NodeSocketOptions): Promise<NodeSocket> {
    return new NodeSocket(options, await bindPort(options.host, options.port ?? 0))
  }

  private constructor(options: NodeSocketOptions, socket: DatagramSocket) {
    this.#options = options
    this.#socket = socket
    this.#lookupAt = options.clock.now()
    this.#timer = new DeadlineTimer(options.clock, () => this.#tick())
  }

  get port(): number {
    return this.#socket.port
  }

  start(machine: NodeMachine): void {
    this.#machine = machine
    this.#socket.receive((bytes, from) => {
      machine.receive(bytes, from, this.#options.clock.now())
      this.wake()
    })
    this.#tick()
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    this.#socket.send(bytes, to)
  }

  /** The machine's deadline may have changed. */
  wake(): void {
    this.#arm(Number.NEGATIVE_INFINITY)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#machine = undefined
    this.#timer[Symbol.dispose]()
    await this.#socket[Symbol.asyncDispose]()
  }

  #tick(): void {
    const machine = this.#machine
    if (machine === undefined) return
    const now = this.#options.clock.now()
    if (now >= this.#lookupAt) {
      this.#lookupAt = now + (machine.connected(now) ? lookupInterval.connected : lookupInterval.alone)
      runInBackground(this.#lookUp(), (error) =>
        this.#options.logger.warn('tox: bootstrap nodes could not be looked up', { error: errorMessage(error) }),
      )
    }
    machine.tick(now)
    // What was not due by the rounding of a fraction is due a millisecond later; asking again at once could go on for ever.
    this.#arm(now + 1)
  }

  #arm(earliest: number): void {
    if (this.#machine === undefined) return
    const deadline = Math.min(this.#machine.deadline() ?? Number.POSITIVE_INFINITY, this.#lookupAt)
    this.#timer.set(Math.max(deadline, earliest))
  }

  /** Finds the addresses of the bootstrap nodes and hands them to the machine, those that are known first. */
  async #lookUp(): Promise<void> {
    const { host, bootstrap, clock } = this.#options
    const found = await Promise.all(
      bootstrap.map(async (node): Promise<readonly NodeContact[]> => {
        const publicKey = dhtPublicKey(node.key)
        const address = await host.resolve(node.host)
        if (publicKey === undefined || address === undefined) return []
        return [{ publicKey, endpoint: { address, port: node.udp } }]
      }),
    )
    this.#machine?.bootstrap(found.flat(), clock.now())
    this.wake()
  }
}

async function bindPort(host: HostNetwork, wanted: number): Promise<DatagramSocket> {
  if (wanted !== 0) return await host.bindUdp({ port: wanted })
  for (let port = firstPort; ; port++) {
    try {
      return await host.bindUdp({ port })
    } catch (error) {
      if (!(error instanceof PunchGuardError) || error.code !== 'ADDRESS_IN_USE' || port >= lastPort) throw error
    }
  }
}

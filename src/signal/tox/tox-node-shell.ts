/** A Tox node without friends, as people run for others: what the configuration calls a bootstrap node. */

import type { SecretKey } from '../../api/keys.ts'
import type { HostNetwork } from '../../api/network.ts'
import type { BootstrapNode } from '../../api/servers.ts'
import type { Clock } from '../../util/clock.ts'
import { type Logger, silentLogger } from '../../util/logger.ts'
import type { Random } from '../../util/random.ts'
import { type DhtPublicKey, type KeyPair, keyPairOf, toxCryptoReady } from './crypto.ts'
import type { DhtEffect } from './dht/dht-node.ts'
import { NodeSocket } from './node-socket-shell.ts'
import { ServingNode, type ServingNodeStats } from './serving-node.ts'

export interface ToxNodeOptions {
  readonly host: HostNetwork
  readonly clock: Clock
  readonly random: Random
  /** The DHT secret key, 32 bytes: kept, because others know the node by its public half. */
  readonly secretKey: SecretKey
  /** Other nodes to begin with; may be empty. */
  readonly bootstrap: readonly BootstrapNode[]
  /** UDP port; 0 or none: the first free one of 33445..33545. */
  readonly port?: number
  readonly logger?: Logger
}

export class ToxNode implements AsyncDisposable {
  readonly publicKey: DhtPublicKey
  readonly #node: ServingNode
  readonly #socket: NodeSocket

  /**
   * Binds the port and starts to serve.
   * @throws PunchGuardError ADDRESS_IN_USE, PERMISSION_DENIED
   */
  static async open(options: ToxNodeOptions): Promise<ToxNode> {
    await toxCryptoReady
    const keyPair = keyPairOf<DhtPublicKey>(options.secretKey)
    const socket = await NodeSocket.bind({ logger: silentLogger, ...options })
    return new ToxNode(options, { keyPair, socket })
  }

  private constructor(
    options: ToxNodeOptions,
    made: { readonly keyPair: KeyPair<DhtPublicKey>; readonly socket: NodeSocket },
  ) {
    const { keyPair, socket } = made
    this.publicKey = keyPair.publicKey
    this.#node = new ServingNode({ keyPair, random: options.random })
    this.#socket = socket
    socket.start({
      deadline: () => this.#node.deadline,
      connected: (now) => this.#node.dht.connected(now),
      bootstrap: (nodes, now) => this.#node.bootstrap(nodes, now),
      receive: (bytes, from, now) => this.#run(this.#node.receive(bytes, from, now) ?? []),
      tick: (now) => this.#run(this.#node.tick(now)),
    })
  }

  /** The bound UDP port. */
  get port(): number {
    return this.#socket.port
  }

  stats(): ServingNodeStats {
    return this.#node.stats()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#socket[Symbol.asyncDispose]()
  }

  /** A node that searches for nobody has nothing to say but datagrams. */
  #run(effects: readonly DhtEffect[]): void {
    for (const effect of effects) if (effect.kind === 'send') this.#socket.send(effect.bytes, effect.to)
  }
}

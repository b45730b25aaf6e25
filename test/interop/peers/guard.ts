/**
 * An embedded guard as a process of its own, for test/interop/wireguard.ts: a real TUN, a real socket, one peer. The first
 * line on standard input is the configuration, each further one an order; events go to standard output as JSON lines.
 */

import { createInterface } from 'node:readline'
import { fixedPath } from '../../../bench/fixed-path.ts'
import type { Endpoint } from '../../../src/api/endpoint.ts'
import { SecretKey, tunnelPublicKey } from '../../../src/api/keys.ts'
import type { DatagramSocket } from '../../../src/api/network.ts'
import type { GuardPeer } from '../../../src/api/roles.ts'
import { EmbeddedGuard } from '../../../src/guard/embedded.ts'
import { CookieJar } from '../../../src/guard/wireguard/cookie.ts'
import { runCommand } from '../../../src/net/run-command.ts'
import { openTun } from '../../../src/net/tun/linux.ts'
import { bindUdpSocket } from '../../../src/net/udp-socket.ts'
import { Underlay } from '../../../src/net/underlay.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { systemRandom } from '../../../src/util/random.ts'

export interface GuardConfig {
  readonly interfaceName: string
  readonly mtu: number
  readonly port: number
  /** base64, as `wg` writes it. */
  readonly privateKey: string
  readonly peerPublicKey: string
  readonly presharedKey: string | undefined
  readonly addresses: readonly string[]
  readonly allowedIps: readonly string[]
  readonly rekeyAfterMessages?: number
  readonly underLoadMessages?: number
}

export type GuardOrder =
  | { readonly kind: 'use'; readonly remote: Endpoint; readonly initiate: boolean }
  | { readonly kind: 'preshared-key'; readonly key: string }
  /** Begins a handshake as soon as the peer's initiation arrives, just before that is read: the two cross. */
  | { readonly kind: 'cross'; readonly remote: Endpoint }
  /** The socket moves to another port, as behind a NAT that forgot the mapping. */
  | { readonly kind: 'rebind'; readonly port: number }
  /** So many initiations of strangers, with a valid mac1, as fast as they go. */
  | { readonly kind: 'flood'; readonly count: number; readonly remote: Endpoint }
  | { readonly kind: 'stats' }

export type GuardReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'established' }
  | { readonly kind: 'unanswered' }
  | {
      readonly kind: 'stats'
      readonly endpoint: Endpoint | undefined
      readonly dropped: Readonly<Record<string, number>>
      /** Datagrams by type, both ways; `initiationsWithCookie` have a mac2. */
      readonly sent: readonly number[]
      readonly received: readonly number[]
      readonly initiationsWithCookie: number
    }

/** The real socket, which can be exchanged for one on another port, and counts messages by type. */
class MovableSocket implements DatagramSocket {
  readonly sent: number[] = [0, 0, 0, 0, 0]
  readonly received: number[] = [0, 0, 0, 0, 0]
  initiationsWithCookie = 0
  /** Called once, before the next initiation is passed on. */
  beforeInitiation: (() => void) | undefined
  #socket: DatagramSocket
  #receiver: (bytes: Uint8Array, from: Endpoint) => void = () => {}

  constructor(socket: DatagramSocket) {
    this.#socket = socket
  }

  get port(): number {
    return this.#socket.port
  }

  async rebind(port: number): Promise<void> {
    await this.#socket[Symbol.asyncDispose]()
    this.#socket = await bindUdpSocket(port)
    this.receive(this.#receiver)
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    count(this.sent, bytes)
    if (bytes[0] === 1 && bytes.subarray(132).some((byte) => byte !== 0)) this.initiationsWithCookie++
    this.#socket.send(bytes, to)
  }

  receive(receiver: (bytes: Uint8Array, from: Endpoint) => void): void {
    this.#receiver = receiver
    this.#socket.receive((bytes, from) => {
      count(this.received, bytes)
      const { beforeInitiation } = this
      if (bytes[0] === 1 && beforeInitiation !== undefined) {
        this.beforeInitiation = undefined
        beforeInitiation()
      }
      receiver(bytes, from)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#socket[Symbol.asyncDispose]()
  }
}

function count(counts: number[], [type = 0]: Uint8Array): void {
  counts[type] = (counts[type] ?? 0) + 1
}

function say(reply: GuardReply): void {
  process.stdout.write(`${JSON.stringify(reply)}\n`)
}

function key(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'))
}

/** An initiation that costs its receiver a curve operation and leads nowhere. */
function strangersInitiation(publicKey: Uint8Array): Uint8Array {
  const message = systemRandom.bytes(148)
  message.set([1, 0, 0, 0])
  message.fill(0, 132)
  new CookieJar(publicKey).setMacs(message, 0)
  return message
}

async function start(config: GuardConfig): Promise<(order: GuardOrder) => Promise<void>> {
  const publicKey = tunnelPublicKey(key(config.peerPublicKey))
  if (publicKey === undefined) throw new Error('The public key of the peer is not 32 bytes')
  const socket = new MovableSocket(await bindUdpSocket(config.port))
  const tun = await openTun({ name: config.interfaceName, mtu: config.mtu })
  for (const address of config.addresses) await runCommand('ip', ['address', 'add', address, 'dev', tun.name])
  await runCommand('ip', ['link', 'set', 'dev', tun.name, 'up'])
  const { rekeyAfterMessages, underLoadMessages } = config
  const guard = new EmbeddedGuard({
    underlay: new Underlay(socket),
    tun,
    clock: systemClock,
    random: systemRandom,
    privateKey: new SecretKey(key(config.privateKey)),
    ...(rekeyAfterMessages === undefined ? {} : { limits: { rekeyAfterMessages } }),
    ...(underLoadMessages === undefined ? {} : { underLoadMessages }),
  })
  const presharedKey = config.presharedKey === undefined ? undefined : new SecretKey(key(config.presharedKey))
  for (const cidr of config.allowedIps) await runCommand('ip', ['route', 'replace', cidr, 'dev', tun.name])
  const peer: GuardPeer = await guard.addPeer({ publicKey, presharedKey, allowedIps: config.allowedIps })
  peer.subscribe(({ kind }) => say({ kind }))
  return async (order) => {
    switch (order.kind) {
      case 'use':
        peer.use(fixedPath(order.remote), { initiate: order.initiate })
        break
      case 'preshared-key':
        peer.setPresharedKey(new SecretKey(key(order.key)))
        break
      case 'cross':
        socket.beforeInitiation = () => peer.use(fixedPath(order.remote), { initiate: true })
        break
      case 'rebind':
        await socket.rebind(order.port)
        break
      case 'flood': {
        const messages = Array.from({ length: 100 }, () => strangersInitiation(publicKey))
        for (let sent = 0; sent < order.count; sent++)
          socket.send(messages[sent % messages.length] ?? new Uint8Array(0), order.remote)
        break
      }
      case 'stats': {
        const { endpoint, dropped } = peer.stats()
        const { sent, received, initiationsWithCookie } = socket
        say({
          kind: 'stats',
          endpoint,
          dropped: { ...dropped, ...guard.stats().dropped },
          sent,
          received,
          initiationsWithCookie,
        })
        break
      }
    }
  }
}

let obey: ((order: GuardOrder) => Promise<void>) | undefined
for await (const line of createInterface({ input: process.stdin })) {
  if (obey === undefined) {
    obey = await start(JSON.parse(line))
    say({ kind: 'ready' })
  } else await obey(JSON.parse(line))
}
process.exit(0)

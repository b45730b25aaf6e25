/**
 * One device's end of a tunnel as a process of its own: a guard, opened as a device opens it, and a puncher on its port.
 * Told by one JSON argument, then by lines of JSON on its standard input; says lines of JSON. The other end's lines are
 * brought over by whoever started both.
 */

import { createHash, randomBytes } from 'node:crypto'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { SecretKey, tunnelPublicKey } from '../../src/api/keys.ts'
import type { GuardKind, GuardPeerStats, GuardStatus, Path, PathStatus, PunchMessage } from '../../src/api/roles.ts'
import { thisMachine } from '../../src/device/machine.ts'
import { importKeyPair } from '../../src/guard/wireguard/crypto.ts'
import { bindUdpSocket } from '../../src/net/udp-socket.ts'
import { IcePuncher } from '../../src/punch/puncher.ts'
import { assertNever } from '../../src/util/assert-never.ts'
import { Listeners } from '../../src/util/listeners.ts'
import { Opened } from '../../src/util/opened.ts'
import { runInBackground } from '../../src/util/run-in-background.ts'

export interface EndOptions {
  readonly name: string
  readonly guard: GuardKind
  readonly port: number
  /** 64 hex digits, as the other keys. */
  readonly privateKey: string
  readonly peerPrivateKey: string
  readonly presharedKey: string
  readonly address: string
  readonly peerAddress: string
  /** Begins the handshake, too. */
  readonly controlling: boolean
  readonly undoLogPath: string
}

export type EndOrder =
  | { readonly kind: 'punch' }
  | { readonly kind: 'punch-message'; readonly message: PunchMessage }
  | { readonly kind: 'stats' }
  /** Sends nowhere from now on. */
  | { readonly kind: 'leave' }
  /** Takes one connection inside the tunnel. */
  | { readonly kind: 'serve' }
  /** Connects to it and sends so many random bytes. */
  | { readonly kind: 'send'; readonly bytes: number }
  /** Closes everything and opens it anew. */
  | { readonly kind: 'reopen' }
  | { readonly kind: 'stop' }

export type EndReport =
  | { readonly kind: 'ready'; readonly status: GuardStatus }
  | { readonly kind: 'punch-message'; readonly message: PunchMessage }
  | { readonly kind: 'path'; readonly path: PathStatus }
  /** The path is silent, or the interface is gone. */
  | { readonly kind: 'lost'; readonly reason: string }
  | { readonly kind: 'gone'; readonly reason: string }
  | { readonly kind: 'established' | 'unanswered' | 'left' | 'serving' | 'stopped' }
  | { readonly kind: 'stats'; readonly stats: GuardPeerStats }
  /** SHA-256 of what was sent or received. */
  | { readonly kind: 'transferred'; readonly hash: string; readonly bytes: number }

const options: EndOptions = JSON.parse(process.argv[2] ?? '{}')
const { controlling, undoLogPath } = options
const transferPort = 7001

function say(report: EndReport): void {
  console.log(JSON.stringify(report))
}

function log(message: string, fields: object = {}): void {
  console.error(options.name, message, JSON.stringify(fields))
}

const logger = { debug: log, info: log, warn: log, error: log }
const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))
const incoming = new Listeners<PunchMessage>()
const machine = await thisMachine({ interfaceName: 'pg0', mtu: 1392, undoLogPath, logger })
const { clock, random, host } = machine

class Tunnel implements AsyncDisposable {
  readonly #opened: Opened
  readonly #puncher: IcePuncher
  readonly #peer: Awaited<ReturnType<typeof openPeer>>['peer']
  #path: Path | undefined

  private constructor(opened: Opened, { puncher, peer }: Awaited<ReturnType<typeof openPeer>>) {
    this.#opened = opened
    this.#puncher = puncher
    this.#peer = peer
  }

  static async open(): Promise<Tunnel> {
    const opened = new Opened()
    return new Tunnel(opened, await openPeer(opened))
  }

  async punch(): Promise<void> {
    const exchange = {
      send: (message: PunchMessage) => say({ kind: 'punch-message', message }),
      subscribe: (listener: (message: PunchMessage) => void) => incoming.add(listener),
    }
    const path = await this.#puncher.open({ exchange, controlling, signal: AbortSignal.timeout(20_000) })
    const before = this.#path
    this.#path = path
    this.#peer.use(path, { initiate: controlling })
    await before?.[Symbol.asyncDispose]()
    say({ kind: 'path', path: path.status() })
    void path.lost.then((reason) => say({ kind: 'lost', reason }))
  }

  leave(): void {
    this.#peer.use(undefined)
    say({ kind: 'left' })
  }

  /** Times as the wall shows them, so that another program's can stand beside them. */
  reportStats(): void {
    const offset = clock.wallTime() - clock.now()
    const stats = this.#peer.stats()
    const { lastHandshakeAt } = stats
    say({
      kind: 'stats',
      stats: { ...stats, lastHandshakeAt: lastHandshakeAt === undefined ? undefined : lastHandshakeAt + offset },
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#path?.[Symbol.asyncDispose]()
    await this.#opened[Symbol.asyncDispose]()
  }
}

async function openPeer(opened: Opened) {
  const publicKey = tunnelPublicKey(importKeyPair(bytesOf(options.peerPrivateKey)).publicKey)
  if (publicKey === undefined) throw new Error('a key has 32 bytes')
  const { guard, underlayFor, ...device } = opened.add(
    await machine.openGuard(options.guard, {
      socket: await bindUdpSocket(options.port),
      addresses: [options.address],
      privateKey: new SecretKey(bytesOf(options.privateKey)),
      lastTimestamp: undefined,
    }),
  )
  void device.lost.then((reason) => say({ kind: 'gone', reason }))
  const underlay = await underlayFor(publicKey)
  const puncher = opened.add(new IcePuncher({ underlay, host, stunServers: [], clock, random, logger }))
  const allowedIps = [`${options.peerAddress}/32`]
  const presharedKey = new SecretKey(bytesOf(options.presharedKey))
  const peer = await guard.addPeer({ publicKey, presharedKey, allowedIps })
  peer.subscribe(({ kind }) => say({ kind }))
  await device.interface.setRoutes('peer', { interfaceName: peer.interfaceName, cidrs: allowedIps })
  say({ kind: 'ready', status: guard.status() })
  return { puncher, peer }
}

function serve(): void {
  const server = createServer((socket) => {
    server.close()
    const hash = createHash('sha256')
    let bytes = 0
    socket.on('data', (part) => {
      hash.update(part)
      bytes += part.length
    })
    socket.on('end', () => say({ kind: 'transferred', hash: hash.digest('hex'), bytes }))
  })
  server.listen({ host: options.address, port: transferPort }, () => say({ kind: 'serving' }))
}

function send(bytes: number): void {
  const content = randomBytes(bytes)
  const socket = connect({ host: options.peerAddress, port: transferPort })
  Readable.from([content]).pipe(socket)
  socket.on('error', (error) => log('the transfer failed', { error: error.message }))
  socket.on('close', () =>
    say({ kind: 'transferred', hash: createHash('sha256').update(content).digest('hex'), bytes }),
  )
}

let tunnel = await Tunnel.open()
for await (const line of createInterface({ input: process.stdin })) {
  const order: EndOrder = JSON.parse(line)
  if (order.kind === 'stop') break
  switch (order.kind) {
    case 'punch':
      runInBackground(tunnel.punch(), (error) => log('no path', { error: String(error) }))
      break
    case 'punch-message':
      incoming.emit(order.message)
      break
    case 'stats':
      tunnel.reportStats()
      break
    case 'leave':
      tunnel.leave()
      break
    case 'serve':
      serve()
      break
    case 'send':
      send(order.bytes)
      break
    case 'reopen':
      await tunnel[Symbol.asyncDispose]()
      tunnel = await Tunnel.open()
      break
    default:
      assertNever(order)
  }
}
await tunnel[Symbol.asyncDispose]()
say({ kind: 'stopped' })
process.exit(0)

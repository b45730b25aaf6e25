/**
 * One UDP socket over IPv4 on node:dgram. Left out: connected sockets, multicast, GSO and GRO (a data plane that wants
 * them takes the descriptor). Both binding and sending make their system call before they return: addresses are
 * given, so nothing waits for a resolver.
 */

import { createSocket, type Socket } from 'node:dgram'
import type { LookupOneOptions } from 'node:dns'
import type { Endpoint } from '../api/endpoint.ts'
import { PunchGuardError } from '../api/errors.ts'
import type { DatagramSocket } from '../api/network.ts'
import { descriptorOf } from './descriptor.ts'
import { c, errno, errnoName, type SystemCalls, systemCalls } from './ffi.ts'
import { UdpDescriptor } from './udp-descriptor.ts'

/** Plain counters. `dropped`: datagrams that were not sent, by the system's error code, `full` or `endpoint`. */
export interface UdpStats {
  readonly received: number
  readonly sent: number
  readonly dropped: Readonly<Record<string, number>>
}

/**
 * Room for a burst while JavaScript is busy, and for what TCP has on the way while a worker waits for its processor: at
 * 5 Gbit/s, 2 MiB lost one packet of forty. macOS takes no more than 7.1 MiB.
 */
const receiveBufferSize = 7 * 1024 * 1024
/** Bytes that may wait for a slow interface; more would only be late. */
const sendQueueLimit = 512 * 1024
/** Datagrams read past node:dgram in one turn of the event loop. */
const drainLimit = 128

export class UdpSocket implements DatagramSocket {
  readonly port: number
  readonly #socket: Socket
  readonly #dropped: Record<string, number> = {}
  #receiver: (bytes: Uint8Array, from: Endpoint) => void = () => {}
  #received = 0
  #sent = 0
  #closed: Promise<void> | undefined
  #direct: UdpDescriptor | undefined
  #drained = false
  /** Datagrams that node:dgram holds: later ones must not overtake them. */
  #queued = 0

  /** Of a bound socket, which it takes over. */
  constructor(socket: Socket) {
    this.#socket = socket
    this.port = socket.address().port
    socket.on('message', (bytes, from) => {
      this.#received++
      this.#receiver(bytes, from)
      this.#takeRest()
    })
    socket.on('error', (error) => this.#drop(errorCode(error)))
  }

  /** For a worker that reads and writes the socket itself. */
  get descriptor(): number | undefined {
    return descriptorOf(this.#socket)
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    if (this.#closed !== undefined) return
    if (!(to.port >= 1 && to.port <= 65_535)) {
      this.#drop('endpoint')
      return
    }
    if (this.#direct === undefined || this.#queued > 0) {
      this.#queue(bytes, to)
      return
    }
    const failed = this.#direct.send(bytes, to)
    if (failed === 0) this.#sent++
    else if (failed === errno.EAGAIN) this.#queue(bytes, to)
    else this.#drop(errnoName(failed))
  }

  get sendWhole(): ((bytes: Uint8Array, to: Endpoint) => void) | undefined {
    return this.#direct === undefined ? undefined : this.#sendWhole
  }

  receive(receiver: (bytes: Uint8Array, from: Endpoint) => void): void {
    this.#receiver = receiver
  }

  /** From now on sends, and receives what waits behind a datagram, without libuv. */
  speakDirectly(system: SystemCalls): void {
    const { descriptor } = this
    if (descriptor !== undefined) this.#direct = new UdpDescriptor(system, descriptor)
  }

  stats(): UdpStats {
    return { received: this.#received, sent: this.#sent, dropped: { ...this.#dropped } }
  }

  [Symbol.asyncDispose](): Promise<void> {
    // Its number may go to another file at once.
    this.#direct = undefined
    this.#closed ??= new Promise((resolve) => this.#socket.close(() => resolve()))
    return this.#closed
  }

  /** Once a turn: a socket that is always full must not keep timers and other sockets waiting. */
  #takeRest(): void {
    if (this.#direct === undefined || this.#drained) return
    for (let count = 0; count < drainLimit && this.#closed === undefined; count++) {
      const next = this.#direct.next()
      if (next === undefined) break
      if (!this.#drained) setImmediate(this.#onTurn)
      this.#drained = true
      this.#received++
      this.#receiver(next.bytes, next.from)
    }
  }

  /** Never waits: a probe that comes late would be counted as lost. */
  readonly #sendWhole = (bytes: Uint8Array, to: Endpoint): void => {
    if (this.#direct === undefined) return
    const failed = to.port >= 1 && to.port <= 65_535 ? this.#direct.sendWhole(bytes, to) : errno.EINVAL
    if (failed === 0) this.#sent++
    else this.#drop(errnoName(failed))
  }

  readonly #onTurn = (): void => {
    this.#drained = false
  }

  #queue(bytes: Uint8Array, to: Endpoint): void {
    if (this.#socket.getSendQueueSize() > sendQueueLimit) {
      this.#drop('full')
      return
    }
    this.#queued++
    // A copy: when the socket is busy the system takes the bytes later.
    this.#socket.send(Buffer.from(bytes), to.port, to.address, this.#onSent)
  }

  readonly #onSent = (error: Error | null): void => {
    this.#queued--
    if (error === null) this.#sent++
    else this.#drop(errorCode(error))
  }

  #drop(reason: string): void {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1
  }
}

/**
 * Binds on all addresses; port 0 lets the system choose.
 * @throws PunchGuardError ADDRESS_IN_USE, PERMISSION_DENIED
 */
export async function bindUdpSocket(port: number): Promise<UdpSocket> {
  const socket = createSocket({ type: 'udp4', lookup: addressesOnly })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.once('listening', resolve)
      socket.bind({ port, address: '0.0.0.0', exclusive: true })
    })
  } catch (error) {
    socket.close()
    throw bindFailed(port, error)
  }
  socket.removeAllListeners('error')
  const bound = new UdpSocket(socket)
  await prepare(socket, bound)
  return bound
}

/** Datagrams go to addresses, never to names. */
function addressesOnly(
  host: string,
  _options: LookupOneOptions,
  callback: (error: NodeJS.ErrnoException | null, address: string, family: number) => void,
): void {
  callback(null, host, 4)
}

/** A larger receive buffer, beyond what an unprivileged process gets where we may, and reading without libuv. */
async function prepare(socket: Socket, bound: UdpSocket): Promise<void> {
  try {
    socket.setRecvBufferSize(receiveBufferSize)
    if (process.platform !== 'linux') return
    const system = await systemCalls()
    const { descriptor } = bound
    if (descriptor === undefined) return
    const size = system.allocate(4)
    size.view.setInt32(0, receiveBufferSize, true)
    system.setsockopt(descriptor, c.SOL_SOCKET, c.SO_RCVBUFFORCE, size.address, 4)
    bound.speakDirectly(system)
  } catch {
    // node:dgram alone works too; it only loses more of a burst.
  }
}

function bindFailed(port: number, cause: unknown): unknown {
  const code = errorCode(cause)
  if (code === 'EADDRINUSE') {
    return new PunchGuardError('ADDRESS_IN_USE', `UDP port ${port} is in use`, {
      hint: 'choose another port, or port 0 for any free one; is another punchguard running?',
      cause,
    })
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new PunchGuardError('PERMISSION_DENIED', `UDP port ${port} may not be bound`, {
      hint: 'choose a port above 1023, or run as root',
      cause,
    })
  }
  return cause
}

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}

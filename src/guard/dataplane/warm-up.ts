/**
 * What a worker does before it is ready: thousands of packets through its own code, between faked system calls. V8
 * interprets a function that it has not seen often, ten times slower than what it compiles it to later; without this the
 * first packets of a tunnel, its first pings among them, would pay for that.
 */

import { c, errno } from '../../net/ffi.ts'
import { DatagramRing } from './datagram-ring.ts'
import { Receiver } from './receive.ts'
import { createDropRow, createPeerRow, received, sent } from './shared-activity.ts'
import { Transmitter } from './transmit.ts'
import { Turnstile } from './turnstile.ts'
import { createContext, messageHeader, pointerAt, type WorkerCalls, type WorkerContext } from './worker-context.ts'
import type { PeerCommand, WorkerEvent } from './worker-messages.ts'

export interface WarmUpOptions {
  readonly turns: number
  /** But not longer than this, ms: on a busy machine the first packets are slow anyway. */
  readonly time: number
}

const peer = 1
// Numbers beyond 31 bits and objects from a message, as the real ones are: V8 compiles for what it has seen.
const index = 0xfedc_ba98
const endpoint = { address: 0xc000_02fe, port: 9 }
const packetsPerTurn = 4
const payloadSize = 64
const ipv4Tcp = 20 + 20
/** Nothing of the kernels (layout.as.ts) or the workers is there. */
const scratchAt = 0x1f000

/** For either half of the work. Its packets stay in the packet memory, which holds no key yet, and are forgotten. */
export function warmUp(role: 'transmit' | 'receive', context: WorkerContext, options: WarmUpOptions): void {
  const { system, now } = context
  const played = role === 'transmit' ? new PlayedTun(context) : new PlayedSocket(context)
  const { read, recvmmsg, sendmmsg, writev, errno } = system
  // Also the real calls, on no descriptor: code for one kind of function alone is thrown away at the first other, and so
  // is code for one key alone.
  const systems = [
    played.calls,
    played.calls,
    { ...played.calls, sendmmsg, writev, errno },
    { ...played.calls, read, recvmmsg, errno },
  ]
  const control = new Int32Array(new SharedArrayBuffer(context.control.byteLength))
  const drops = createDropRow()
  const rows = systems.map(() => createPeerRow())
  const machines = systems.map((calls, at) => {
    const post = at === 0 ? (): void => {} : (event: WorkerEvent): void => void event
    return machineOf(role, createContext({ ...context, system: calls, tun: -1, post, control, drops }), rows[at])
  })
  const end = now() + options.time
  for (let turn = 0; turn < options.turns && now() < end; turn++) {
    const at = turn % 16 < 12 ? turn & 1 : 2 + (turn & 1)
    // As if the main thread had looked, and packets had come the other way.
    control.fill(0)
    for (const field of role === 'transmit' ? [received.lastAt] : [sent.lastAt, sent.firstDataAt])
      if (rows[at] !== undefined) rows[at][field] = now()
    played.refill()
    machines[at]?.turn()
  }
  for (const machine of machines) machine.clear()
}

function machineOf(
  role: 'transmit' | 'receive',
  context: WorkerContext,
  row = createPeerRow(),
): Transmitter | Receiver {
  const machine =
    role === 'transmit'
      ? new Transmitter(context, {
          socket: -1,
          turnstile: new Turnstile(Turnstile.memory(), context.control),
          leads: true,
        })
      : new Receiver(context, { socket: -1, ring: new DatagramRing(DatagramRing.memory()), mayMergeUdp: true })
  const session = {
    peer,
    localIndex: index,
    remoteIndex: index,
    sendKey: new Uint8Array(32),
    receiveKey: new Uint8Array(32),
    counter: new Float64Array(new SharedArrayBuffer(8)),
    receivedBelow: 0,
    created: context.now(),
    rekeyAfterMessages: Number.MAX_SAFE_INTEGER,
    rejectAfterMessages: Number.MAX_SAFE_INTEGER,
  }
  const commands: readonly PeerCommand[] = [
    { kind: 'add-peer', peer, allowedIps: [{ bytes: new Uint8Array(4), length: 0 }], row },
    { kind: 'set-endpoint', peer, endpoint, revision: 0 },
    { kind: 'install-keypair', ...session },
    { kind: 'use-keypair', peer, localIndex: index, confirm: false },
  ]
  for (const command of commands) machine.apply(structuredClone(command))
  return machine
}

/** A TUN with single packets and large ones by turns, above a socket that takes everything. */
class PlayedTun {
  readonly calls: WorkerCalls
  #left = 0
  #turn = 0
  #isLarge = false

  constructor({ system, memory }: WorkerContext) {
    this.calls = {
      ...system,
      setsockopt: () => 0,
      errno: () => errno.EAGAIN,
      sendmmsg: (_fd, _messages, count) => count,
      read: (_fd, address) => {
        if (this.#left === 0) return -1
        this.#left--
        const at = address - memory.base
        memory.bytes.fill(0, at, at + offloadHeaderSize)
        const payload = this.#isLarge ? packetsPerTurn * payloadSize : payloadSize
        writeTcp(memory.bytes, at + offloadHeaderSize, { payload, sequence: 1 })
        // IPv6 belongs to nobody here.
        if (this.#turn % 16 === 0) memory.bytes[at + offloadHeaderSize] = 0x60
        // VIRTIO_NET_HDR_F_NEEDS_CSUM, the kind and size of the segments, and where the checksum goes.
        memory.bytes[at] = 1
        memory.bytes[at + 1] = this.#isLarge ? 1 : 0
        memory.view.setUint16(at + 4, this.#isLarge ? payloadSize : 0, true)
        memory.view.setUint16(at + 6, 20, true)
        memory.view.setUint16(at + 8, 16, true)
        return offloadHeaderSize + ipv4Tcp + payload
      },
    }
  }

  refill(): void {
    this.#turn++
    this.#isLarge = this.#turn % 2 === 0
    this.#left = this.#isLarge ? 1 : packetsPerTurn
  }
}

const offloadHeaderSize = 10

/** A socket with messages of several datagrams and of one by turns, below a TUN that takes everything. */
class PlayedSocket {
  readonly calls: WorkerCalls
  #waits = false
  #isLarge = false
  #counter = 0

  constructor(context: WorkerContext) {
    const { system, memory, backend } = context
    const { bytes, view, kernels } = memory
    const keyAt = scratchAt
    bytes.fill(0, keyAt, keyAt + 32)
    const sealing = backend.createKey(keyAt, 'seal')
    this.calls = {
      ...system,
      setsockopt: () => 0,
      errno: () => errno.EAGAIN,
      writev: (_fd, _vectors, count) => count,
      recvmmsg: (_fd, messages) => {
        if (!this.#waits) return -1
        this.#waits = false
        const header = messages - memory.base
        const buffer = pointerAt(view, pointerAt(view, header + messageHeader.vectors) - memory.base) - memory.base
        const count = this.#isLarge ? packetsPerTurn : 1
        const padded = (ipv4Tcp + payloadSize + 15) & ~15
        const size = padded + 32
        for (let at = 0; at < count; at++) {
          const source = scratchAt + 128
          writeTcp(bytes, source, { payload: payloadSize, sequence: 1 + at * payloadSize })
          const target = buffer + at * size + 16
          kernels.beginMessage(target, source, this.#counter)
          sealing.seal(target, source, padded)
          kernels.endMessage(target, index, this.#counter++)
          // A handshake message goes to the main thread.
          if (this.#counter % 64 === 0) bytes[buffer + at * size] = 1
        }
        const name = pointerAt(view, header + messageHeader.name) - memory.base
        view.setUint16(name + 2, endpoint.port)
        view.setUint32(name + 4, endpoint.address)
        const control = pointerAt(view, header + messageHeader.control) - memory.base
        view.setUint32(header + messageHeader.controlLength, this.#isLarge ? 20 : 0, true)
        view.setUint32(control + 8, c.SOL_UDP, true)
        view.setUint32(control + 12, c.UDP_GRO, true)
        view.setUint32(control + 16, size, true)
        view.setUint32(header + messageHeader.received, size * count, true)
        return 1
      },
    }
  }

  refill(): void {
    this.#waits = true
    this.#isLarge = !this.#isLarge
  }
}

/** IPv4 and TCP without options, to itself; nobody looks at the checksums. */
function writeTcp(
  bytes: Uint8Array,
  at: number,
  { payload, sequence }: { readonly payload: number; readonly sequence: number },
): void {
  bytes.fill(0, at, at + ipv4Tcp)
  const length = ipv4Tcp + payload
  bytes[at] = 0x45
  bytes[at + 2] = length >> 8
  bytes[at + 3] = length & 255
  bytes[at + 9] = 6
  bytes.fill(0xc0, at + 12, at + 20)
  bytes[at + 26] = sequence >> 8
  bytes[at + 27] = sequence & 255
  bytes[at + 32] = 0x50
  bytes[at + 33] = 0x10
}

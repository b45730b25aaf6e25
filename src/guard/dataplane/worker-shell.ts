/**
 * The thread of a worker of the data plane: it never returns to its event loop, but waits in poll(2) for the socket, for the
 * TUN when reading that is its duty, and for the eventfd by which the main thread says that there are commands. It closes
 * the descriptors it was lent.
 */

import { isMainThread, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { c, keepHeapSmall, type NativeFunctions, ownFunctions, type SystemCalls, systemCalls } from '../../net/ffi.ts'
import { assertNever } from '../../util/assert-never.ts'
import { systemClock } from '../../util/clock.ts'
import { type AeadFactory, type CryptoBackend, chooseBackend } from './aead/aead.ts'
import { createEvpBackend, createRawBackend, createStateBackend } from './aead/openssl.ts'
import { createWasmBackend } from './aead/wasm.ts'
import { DatagramRing } from './datagram-ring.ts'
import { placeLow } from './low-memory.ts'
import { createPacketMemory, type PacketMemory } from './packet-memory.ts'
import { Receiver } from './receive.ts'
import { Transmitter } from './transmit.ts'
import { TunDuty } from './tun-duty.ts'
import { Turnstile } from './turnstile.ts'
import { warmUp } from './warm-up.ts'
import { createContext, type Turn, type WorkerContext } from './worker-context.ts'
import { control, type PeerCommand, type WorkerCommand, type WorkerEvent, type WorkerSetup } from './worker-messages.ts'

// The last page before the receiver's buffers.
const pollAt = 0x3f000
const scratchAt = 0x3f100
const pollEntry = 8
/** What is polled, in this order. */
const entries = { wake: 0, socket: 1, tun: 2 } as const
/** The pause while the interface is down, ms. */
const downPause = 50
/** How often the MTU is looked at while there is traffic, ms. */
const mtuInterval = 1_000
/** Over what time the load of this thread is taken, ms. */
const loadInterval = 50
const getMtu = 0x8921
/** Until V8 has compiled what matters, as measured: some 80 ms. */
const warmUpEffort = { turns: 4000, time: 200 }

class WorkerLoop {
  readonly #setup: WorkerSetup
  readonly #system: SystemCalls
  readonly #context: WorkerContext
  readonly #duty: TunDuty
  /** What came before the socket did. */
  readonly #early: PeerCommand[] = []
  #receiver: Receiver | undefined
  #transmitter: Transmitter | undefined
  #socket = -1
  #tun = -1
  #taken = 0
  #isStopped = false
  #mtuAt = 0
  #loadAt = 0
  #threadTime = 0
  #isGone = false
  /** Whether it is worth asking; the kernel may have answered what came from the socket. */
  #socketReady = true
  #tunReady = true

  constructor(setup: WorkerSetup, system: SystemCalls, context: WorkerContext) {
    this.#setup = setup
    this.#system = system
    this.#context = context
    this.#duty = new TunDuty(setup.duty, setup.role)
    const { view } = context.memory
    for (const entry of Object.values(entries)) view.setInt16(pollAt + entry * pollEntry + 4, c.POLLIN, true)
    view.setInt32(pollAt, setup.wakes[setup.role], true)
  }

  run(): void {
    for (;;) {
      this.#takeCommands()
      if (this.#isStopped) return
      this.#lookAround()
      const received = this.#socketReady ? (this.#receiver?.turn() ?? 'idle') : 'idle'
      const sent = this.#readsTun && this.#tunReady ? (this.#transmitter?.turn() ?? 'idle') : 'idle'
      if (sent === 'gone') {
        this.#isGone = true
        this.#report({ kind: 'lost', reason: 'the interface is gone' })
      }
      this.#wait(received, sent)
    }
  }

  /** Afterwards the main thread may read both descriptors again. */
  end(): void {
    this.#receiver?.clear()
    this.#transmitter?.clear()
    if (this.#socket !== -1) this.#system.close(this.#socket)
    if (this.#tun !== -1) this.#system.close(this.#tun)
    Atomics.store(this.#setup.control, control.stopped, 1)
    Atomics.notify(this.#setup.control, control.stopped)
  }

  #takeCommands(): void {
    if (Atomics.load(this.#setup.control, control.stop) !== 0) this.#isStopped = true
    const posted = Atomics.load(this.#setup.control, control.posted)
    if (posted === this.#taken || parentPort === null) return
    for (; this.#taken !== posted; this.#taken = (this.#taken + 1) | 0) {
      const received = receiveMessageOnPort(parentPort)
      if (received === undefined) break
      this.#obey(received.message)
    }
  }

  #obey(command: WorkerCommand): void {
    switch (command.kind) {
      case 'start':
        this.#start(command)
        break
      case 'stop':
        this.#isStopped = true
        break
      case 'fail':
        throw new Error('asked to fail')
      case 'give-tun':
        if (this.#duty.isOurs) this.#duty.give()
        this.#wakeOther()
        break
      default:
        if (this.#transmitter === undefined) this.#early.push(command)
        else {
          this.#receiver?.apply(command)
          this.#transmitter.apply(command)
        }
    }
  }

  #start({ socket, tun, mayMergeUdp }: Extract<WorkerCommand, { kind: 'start' }>): void {
    this.#socket = socket
    this.#tun = tun
    const { role, ring, turnstile, control: own } = this.#setup
    const receives = role === 'receive'
    const context = createContext({ ...this.#context, tun })
    if (receives) this.#receiver = new Receiver(context, { socket, ring: new DatagramRing(ring), mayMergeUdp })
    this.#transmitter = new Transmitter(context, {
      socket,
      turnstile: new Turnstile(turnstile, own),
      leads: receives,
    })
    const offloads = [...(this.#receiver?.offloads ?? []), ...this.#transmitter.offloads]
    this.#report({ kind: 'started', offloads })
    for (const command of this.#early.splice(0)) this.#obey(command)
  }

  get #readsTun(): boolean {
    return this.#duty.isOurs && !this.#isGone
  }

  /** Until there is something to do; the main thread can always end it. */
  #wait(received: Turn, sent: Turn): void {
    if (received === 'busy' || sent === 'busy') {
      this.#socketReady = true
      this.#tunReady = true
      return
    }
    const { view, base } = this.#context.memory
    const isPaused = received === 'down' || sent === 'down'
    const socket = this.#receiver === undefined || received === 'down' ? -1 : this.#socket
    view.setInt32(pollAt + entries.socket * pollEntry, socket, true)
    view.setInt32(pollAt + entries.tun * pollEntry, this.#readsTun && sent !== 'down' ? this.#tun : -1, true)
    this.#system.poll(base + pollAt, 3, isPaused ? downPause : this.#duty.isWatched ? loadInterval : -1)
    if (this.#happened(entries.wake)) this.#system.read(this.#setup.wakes[this.#setup.role], base + scratchAt, 8)
    this.#socketReady = this.#happened(entries.socket) || isPaused
    this.#tunReady = this.#happened(entries.tun) || this.#socketReady
  }

  /** `poll` leaves what happened, and nothing when its time is over. */
  #happened(entry: number): boolean {
    return this.#context.memory.view.getInt16(pollAt + entry * pollEntry + 6, true) !== 0
  }

  /** What changes slowly. */
  #lookAround(): void {
    if (this.#transmitter === undefined) return
    const now = this.#context.now()
    if (now - this.#loadAt >= loadInterval) this.#weigh(now)
    if (now - this.#mtuAt >= mtuInterval) this.#lookAtMtu(now)
  }

  #weigh(now: number): void {
    const { view, base } = this.#context.memory
    if (this.#system.clock_gettime(c.CLOCK_THREAD_CPUTIME_ID, base + scratchAt) !== 0) return
    const time = view.getUint32(scratchAt, true) * 1000 + view.getUint32(scratchAt + 8, true) / 1e6
    const load = (time - this.#threadTime) / (now - this.#loadAt)
    this.#threadTime = time
    this.#loadAt = now
    if (this.#duty.weigh(load)) this.#wakeOther()
  }

  #wakeOther(): void {
    const { view, base } = this.#context.memory
    const { role, wakes } = this.#setup
    view.setBigUint64(scratchAt, 1n, true)
    this.#system.write(role === 'receive' ? wakes.transmit : wakes.receive, base + scratchAt, 8)
  }

  /** It may be changed from outside; padding must not go past it. */
  #lookAtMtu(now: number): void {
    this.#mtuAt = now
    const { bytes, view, base } = this.#context.memory
    bytes.fill(0, scratchAt, scratchAt + 40)
    bytes.set(new TextEncoder().encode(this.#setup.interfaceName), scratchAt)
    if (this.#system.ioctl(this.#socket, getMtu, base + scratchAt) === 0)
      this.#transmitter?.setMtu(view.getInt32(scratchAt + 16, true))
  }

  #report(event: WorkerEvent): void {
    parentPort?.postMessage(event)
  }
}

function factoryOf(name: CryptoBackend, openssl: NativeFunctions): AeadFactory {
  switch (name) {
    case 'openssl-state':
      return (memory) => createStateBackend(memory, openssl)
    case 'openssl-raw':
      return (memory) => createRawBackend(memory, openssl)
    case 'openssl-evp':
      return (memory) => createEvpBackend(memory, openssl)
    case 'wasm':
      return createWasmBackend
    default:
      return assertNever(name)
  }
}

/** Monotonic, of the system: the same in every thread. */
function monotonic(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}

async function main(setup: WorkerSetup): Promise<void> {
  const system = await systemCalls()
  let release = (): void => {}
  const memory = createPacketMemory((bytes) => {
    const placed = placeLow(system, bytes)
    release = placed.release
    return placed.base
  })
  try {
    await work(setup, system, memory)
  } finally {
    release()
  }
}

async function work(setup: WorkerSetup, system: SystemCalls, memory: PacketMemory): Promise<void> {
  const openssl = await ownFunctions()
  const { backend, refused } = chooseBackend(
    memory,
    setup.backends.map((name) => factoryOf(name, openssl)),
  )
  // `systemClock` begins anew in every thread.
  const offset = setup.clockOffset + monotonic() - systemClock.now()
  const post = (event: WorkerEvent): void => parentPort?.postMessage(event)
  const now = (): number => systemClock.now() + offset
  const { mtu, control: shared, drops } = setup
  const context = createContext({ system, memory, backend, tun: -1, mtu, now, post, control: shared, drops })
  if (setup.role === 'receive') warmUp('receive', context, warmUpEffort)
  warmUp('transmit', context, warmUpEffort)
  await keepHeapSmall()
  post({ kind: 'ready', backend: backend.name, refused })
  const loop = new WorkerLoop(setup, system, context)
  try {
    loop.run()
  } finally {
    loop.end()
  }
}

if (!isMainThread) await main(workerData)

/**
 * The thread of a worker of the data plane: it never returns to its event loop, but waits in poll(2) for its descriptor and
 * for the eventfd by which the main thread says that there are commands. It closes the descriptors it was lent.
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
import { warmUp } from './warm-up.ts'
import { createContext, type Turn, type WorkerContext } from './worker-context.ts'
import { control, type PeerCommand, type WorkerCommand, type WorkerEvent, type WorkerSetup } from './worker-messages.ts'

// The last page before the buffers of either worker.
const pollAt = 0x3f000
const scratchAt = 0x3f100
const pollEntry = 8
/** The pause while the interface is down, ms. */
const downPause = 50
/** How often the MTU is looked at while there is traffic, ms. */
const mtuInterval = 1_000
const getMtu = 0x8921
/** Until V8 has compiled what matters, as measured: some 80 ms. */
const warmUpEffort = { turns: 4000, time: 200 }

class WorkerLoop {
  readonly #setup: WorkerSetup
  readonly #system: SystemCalls
  readonly #context: WorkerContext
  /** What came before the socket did. */
  readonly #early: PeerCommand[] = []
  #half: Transmitter | Receiver | undefined
  #socket = -1
  #tun = -1
  #taken = 0
  #isStopped = false
  #mtuAt = 0
  #isDown = false

  constructor(setup: WorkerSetup, system: SystemCalls, context: WorkerContext) {
    this.#setup = setup
    this.#system = system
    this.#context = context
    // Two struct pollfd: the eventfd, and the descriptor that this worker reads.
    const { view } = context.memory
    view.setInt32(pollAt, setup.wake, true)
    view.setInt16(pollAt + 4, c.POLLIN, true)
    view.setInt16(pollAt + pollEntry + 4, c.POLLIN, true)
  }

  run(): void {
    for (;;) {
      this.#takeCommands()
      if (this.#isStopped) return
      this.#lookAtMtu()
      const turn = this.#half?.turn() ?? 'idle'
      if (turn === 'gone') this.#report({ kind: 'lost', reason: 'the interface is gone' })
      this.#wait(turn)
    }
  }

  /** Afterwards the main thread may read both descriptors again. */
  end(): void {
    this.#half?.clear()
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
      default:
        if (this.#half === undefined) this.#early.push(command)
        else this.#half.apply(command)
    }
  }

  #start({ socket, tun, mayMergeUdp }: Extract<WorkerCommand, { kind: 'start' }>): void {
    this.#socket = socket
    this.#tun = tun
    const { role, ring } = this.#setup
    const context = createContext({ ...this.#context, tun })
    this.#half =
      role === 'transmit'
        ? new Transmitter(context, socket)
        : new Receiver(context, { socket, ring: new DatagramRing(ring), mayMergeUdp })
    this.#report({ kind: 'started', offloads: this.#half.offloads })
    for (const command of this.#early.splice(0)) this.#half.apply(command)
  }

  /** Until there is something to do; the main thread can always end it. */
  #wait(turn: Turn): void {
    switch (turn) {
      case 'busy':
        break
      case 'idle':
        this.#poll(true, -1)
        break
      case 'down':
        this.#poll(false, downPause)
        break
      case 'gone':
        this.#isDown = true
        this.#poll(false, -1)
        break
      default:
        assertNever(turn)
    }
  }

  #poll(own: boolean, timeout: number): void {
    const { view, base } = this.#context.memory
    const descriptor = this.#setup.role === 'transmit' ? this.#tun : this.#socket
    view.setInt32(pollAt + pollEntry, own && !this.#isDown ? descriptor : -1, true)
    view.setInt16(pollAt + 6, 0, true)
    if (this.#system.poll(base + pollAt, 2, timeout) <= 0) return
    if (view.getInt16(pollAt + 6, true) !== 0) this.#system.read(this.#setup.wake, base + scratchAt, 8)
  }

  /** It may be changed from outside; padding must not go past it. */
  #lookAtMtu(): void {
    if (!(this.#half instanceof Transmitter)) return
    const { now } = this.#half
    if (now - this.#mtuAt < mtuInterval) return
    this.#mtuAt = now
    const { bytes, view, base } = this.#context.memory
    bytes.fill(0, scratchAt, scratchAt + 40)
    bytes.set(new TextEncoder().encode(this.#setup.interfaceName), scratchAt)
    if (this.#system.ioctl(this.#socket, getMtu, base + scratchAt) === 0)
      this.#half.setMtu(view.getInt32(scratchAt + 16, true))
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
  warmUp(setup.role, context, warmUpEffort)
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

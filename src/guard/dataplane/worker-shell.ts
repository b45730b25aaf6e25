/**
 * The thread of a worker of the data plane. It chooses the cipher, warms itself up, and turns its loop (worker-loop.ts)
 * until the main thread ends that; it never returns to its event loop.
 */

import { isMainThread, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { keepHeapSmall, type NativeFunctions, ownFunctions, type SystemCalls, systemCalls } from '../../net/ffi.ts'
import { assertNever } from '../../util/assert-never.ts'
import { systemClock } from '../../util/clock.ts'
import { type AeadFactory, type CryptoBackend, chooseBackend } from './aead/aead.ts'
import { createEvpBackend, createRawBackend, createStateBackend } from './aead/openssl.ts'
import { createWasmBackend } from './aead/wasm.ts'
import { placeLow } from './low-memory.ts'
import { createPacketMemory, type PacketMemory } from './packet-memory.ts'
import { lengthenSlice, ownThread } from './thread-shell.ts'
import { warmUp } from './warm-up.ts'
import { createContext } from './worker-context.ts'
import { WorkerLoop } from './worker-loop.ts'
import type { WorkerCommand, WorkerEvent, WorkerSetup } from './worker-messages.ts'

/** Until V8 has compiled what matters, as measured: some 140 ms. */
const warmUpEffort = { turns: 4000, time: 300 }

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
  const functions = await ownFunctions()
  const { backend, refused } = chooseBackend(
    memory,
    setup.backends.map((name) => factoryOf(name, functions)),
  )
  // `systemClock` begins anew in every thread.
  const offset = setup.clockOffset + monotonic() - systemClock.now()
  const post = (event: WorkerEvent): void => parentPort?.postMessage(event)
  const now = (): number => systemClock.now() + offset
  const { mtu, control: shared, drops } = setup
  const context = createContext({ system, memory, backend, tun: -1, mtu, now, post, control: shared, drops })
  warmUp(setup.role, context, warmUpEffort)
  await keepHeapSmall()
  lengthenSlice(system, functions)
  post({ kind: 'ready', backend: backend.name, refused, thread: ownThread() })
  const loop = new WorkerLoop(setup, context, nextCommand)
  try {
    // The loop within is compiled already; this one would be interpreted for long.
    let goesOn = true
    while (goesOn) goesOn = loop.run(1e6)
  } finally {
    loop.end()
  }
}

function nextCommand(): WorkerCommand | undefined {
  return parentPort === null ? undefined : receiveMessageOnPort(parentPort)?.message
}

if (!isMainThread) await main(workerData)

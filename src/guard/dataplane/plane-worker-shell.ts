/** One worker of a data plane as the main thread sees it: the thread, what it was lent, and how it is woken and ended. */

import { Worker } from 'node:worker_threads'
import { errorMessage } from '../../api/errors.ts'
import type { NativeMemory, SystemCalls } from '../../net/ffi.ts'
import { ThreadWatch } from './thread-shell.ts'
import { control, type WorkerCommand, type WorkerEvent, type WorkerSetup } from './worker-messages.ts'

export interface WorkerListener {
  readonly hear: (event: WorkerEvent) => void
  /** It ended, asked to or not; `failed` may come before. What it was lent is closed after this call. */
  readonly ended: () => void
  readonly failed: (reason: string) => void
}

/** A worker's garbage is short-lived, and of its 6 MiB little is its own; without limits V8 takes far more than it needs. */
const heapLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 }
/** A worker that runs ends within microseconds; past this something holds it up, ms. */
const stopPatience = 500

export class PlaneWorker {
  readonly #system: SystemCalls
  readonly #setup: WorkerSetup
  readonly #thread: Worker
  /** What is written to an eventfd. */
  readonly #one: NativeMemory
  #watch: ThreadWatch | undefined
  /** The worker closes them itself unless it dies. */
  #lent: readonly number[] = []

  /** The eventfd of its role in `setup` is closed when the thread has ended. */
  constructor(system: SystemCalls, setup: WorkerSetup, listener: WorkerListener) {
    this.#system = system
    this.#setup = setup
    this.#one = system.allocate(8)
    this.#one.view.setBigUint64(0, 1n, true)
    this.#thread = new Worker(new URL('./worker-shell.js', import.meta.url), {
      workerData: setup,
      name: setup.role,
      resourceLimits: heapLimits,
    })
    this.#thread.on('message', listener.hear)
    this.#thread.on('error', (error) => listener.failed(`the ${setup.role} worker failed: ${errorMessage(error)}`))
    this.#thread.on('exit', () => {
      listener.ended()
      this.#close()
    })
  }

  get isReady(): boolean {
    return this.#watch !== undefined
  }

  get role(): WorkerSetup['role'] {
    return this.#setup.role
  }

  get drops(): Float64Array {
    return this.#setup.drops
  }

  /** Its thread has this number, or 0. */
  ready(thread: number): void {
    this.#watch = new ThreadWatch(thread)
  }

  post(command: WorkerCommand): void {
    if (command.kind === 'start') this.#lent = [command.tun, command.socket]
    this.#thread.postMessage(command)
    Atomics.add(this.#setup.control, control.posted, 1)
    this.#wake()
  }

  /** It may tell of changes again. */
  allowReports(): void {
    Atomics.store(this.#setup.control, control.reported, 0)
  }

  /** It need not tell of changes, but of urgent ones. */
  holdReports(): void {
    Atomics.compareExchange(this.#setup.control, control.reported, 0, 1)
  }

  /** Its thread gets what it needs of the machine; ms, and whether most of the traffic goes both ways. */
  weigh(now: number, isAnswered: boolean): void {
    this.#watch?.weigh(now, isAnswered)
  }

  /** There is no traffic any more. */
  rest(): void {
    this.#watch?.rest()
  }

  stop(): void {
    Atomics.store(this.#setup.control, control.stop, 1)
    // A command without a message: so the worker looks at one number a turn.
    Atomics.add(this.#setup.control, control.posted, 1)
    this.#wake()
  }

  /** Afterwards it uses no descriptor any more. */
  waitUntilStopped(): void {
    Atomics.wait(this.#setup.control, control.stopped, 0, stopPatience)
  }

  #wake(): void {
    this.#system.write(this.#setup.wakes[this.role], this.#one.address, 8)
  }

  #close(): void {
    this.#watch?.[Symbol.dispose]()
    if (Atomics.load(this.#setup.control, control.stopped) === 0) for (const fd of this.#lent) this.#system.close(fd)
    this.#system.close(this.#setup.wakes[this.role])
  }
}

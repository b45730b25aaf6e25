/**
 * The poll loop where there is no epoll: poll(2) on a thread of the pool, and a pipe that ends the wait. Otherwise as
 * poll-loop.ts: level-triggered, on the main thread while there is something to do, running while something is registered.
 */

import { describeErrno, type NativeMemory } from './ffi.ts'
import { type MacosCalls, macos, macosCalls } from './macos-calls.ts'
import type { PollLoop } from './poll-loop.ts'

export type PollCalls = Pick<
  MacosCalls,
  'allocate' | 'errno' | 'fcntl' | 'pipe' | 'poll' | 'pollOnPool' | 'read' | 'write'
>

interface Registered {
  readonly fd: number
  readonly onReady: () => void
}

/** Our choice: a process has one tunnel interface. */
const maximumDescriptors = 64
/** struct pollfd: 32 bits of descriptor, 16 of events, 16 of what happened. */
const entrySize = 8
const entryEvents = 4
const entryResult = 6
/** Bytes of wake-ups taken out of the pipe at once. */
const drainSize = 64

let shared: Promise<PollLoop> | undefined

/** The one loop of this process. */
export function sharedPipePollLoop(): Promise<PollLoop> {
  shared ??= macosCalls().then((system) => new PipePollLoop(system))
  return shared
}

export class PipePollLoop implements PollLoop {
  readonly #system: PollCalls
  readonly #entries: NativeMemory
  readonly #scratch: NativeMemory
  readonly #wakeReader: number
  readonly #wakeWriter: number
  readonly #registered: Set<Registered> = new Set()
  /** Those of the last poll, in its order, behind the pipe. */
  #asked: readonly Registered[] = []
  #running = false
  #waiting = false

  constructor(system: PollCalls) {
    this.#system = system
    this.#entries = system.allocate((1 + maximumDescriptors) * entrySize)
    this.#scratch = system.allocate(drainSize)
    if (system.pipe(this.#scratch.address) === -1) throw new Error(`pipe failed: ${describeErrno(system.errno())}`)
    this.#wakeReader = this.#scratch.view.getInt32(0, true)
    this.#wakeWriter = this.#scratch.view.getInt32(4, true)
    for (const fd of [this.#wakeReader, this.#wakeWriter]) {
      system.fcntl(fd, macos.F_SETFD, macos.FD_CLOEXEC)
      system.fcntl(fd, macos.F_SETFL, macos.O_NONBLOCK)
    }
    // A process that ends waits for the thread pool: without this it would hang in our wait for ever.
    process.on('exit', () => this.#endWait())
  }

  add(fd: number, onReady: () => void): Disposable {
    if (this.#registered.size >= maximumDescriptors) throw new Error('too many descriptors for one poll loop')
    const entry: Registered = { fd, onReady }
    this.#registered.add(entry)
    this.#endWait()
    if (!this.#running) {
      this.#running = true
      setImmediate(() => this.#turn())
    }
    return {
      [Symbol.dispose]: () => {
        if (this.#registered.delete(entry)) this.#endWait()
      },
    }
  }

  #endWait(): void {
    if (this.#waiting) this.#system.write(this.#wakeWriter, this.#scratch.address, 1)
  }

  /** One turn: what is ready now, else a wait on the pool. */
  #turn(): void {
    if (this.#registered.size === 0) {
      this.#running = false
      return
    }
    const { address } = this.#entries
    const count = this.#fill()
    const ready = this.#system.poll(address, count, 0)
    if (ready > 0) {
      this.#dispatch(ready)
      return
    }
    this.#waiting = true
    this.#system.pollOnPool(address, count, -1, (ready) => {
      this.#waiting = false
      this.#dispatch(ready)
    })
  }

  /** Not while a wait runs: the memory is the system's then. */
  #fill(): number {
    this.#asked = [...this.#registered]
    const fds = [this.#wakeReader, ...this.#asked.map(({ fd }) => fd)]
    fds.forEach((fd, at) => {
      this.#entries.view.setInt32(at * entrySize, fd, true)
      this.#entries.view.setInt16(at * entrySize + entryEvents, macos.POLLIN, true)
      this.#entries.view.setInt16(at * entrySize + entryResult, 0, true)
    })
    return fds.length
  }

  #dispatch(ready: number): void {
    try {
      if (ready <= 0) return
      const happened = (at: number): boolean => this.#entries.view.getInt16(at * entrySize + entryResult, true) !== 0
      if (happened(0)) this.#system.read(this.#wakeReader, this.#scratch.address, drainSize)
      for (const [at, entry] of this.#asked.entries())
        if (happened(at + 1) && this.#registered.has(entry)) entry.onReady()
    } finally {
      setImmediate(() => this.#turn())
    }
  }
}

/**
 * Readiness of any number of descriptors with one waiting thread: a level-triggered epoll(7) whose wait runs on the
 * thread pool, and an eventfd that ends the wait. The loop runs while something is registered, and keeps the process
 * alive as a socket would. Under load it stays on the main thread: it asks without waiting, once per turn of the
 * event loop, and goes back to the pool when nothing is ready.
 */

import { c, describeErrno, type NativeMemory, type SystemCalls, systemCalls } from './ffi.ts'

export interface PollLoop {
  /**
   * Calls `onReady` whenever the descriptor can be read or is broken, until disposed; dispose before closing the
   * descriptor. It reads what there is, a bounded amount a call: what it leaves is reported again after other events.
   */
  add(fd: number, onReady: () => void): Disposable
}

const maximumEvents = 64
// struct epoll_event is packed on x86 only: 32 bits of events, then the 64 bits we gave.
const packed = process.arch === 'x64' || process.arch === 'ia32'
const eventSize = packed ? 12 : 16
const eventData = packed ? 4 : 8
const wakeId = 0

let shared: Promise<PollLoop> | undefined

/** The one loop of this thread. */
export function sharedPollLoop(): Promise<PollLoop> {
  shared ??= systemCalls().then((system) => new EpollLoop(system))
  return shared
}

export class EpollLoop implements PollLoop {
  readonly #system: SystemCalls
  readonly #epoll: number
  readonly #wake: number
  readonly #events: NativeMemory
  /** The event given to epoll_ctl, and the 8 bytes of the eventfd after it. */
  readonly #scratch: NativeMemory
  readonly #registered: Map<number, () => void> = new Map()
  #nextId = wakeId + 1
  #running = false
  #waiting = false

  constructor(system: SystemCalls) {
    this.#system = system
    this.#events = system.allocate(maximumEvents * eventSize)
    this.#scratch = system.allocate(32)
    this.#epoll = this.#check('epoll_create1', system.epoll_create1(c.O_CLOEXEC))
    this.#wake = this.#check('eventfd', system.eventfd(0, c.O_CLOEXEC | c.O_NONBLOCK))
    this.#watch(this.#wake, wakeId)
    // A process that ends waits for the thread pool: without this it would hang in our wait for ever.
    process.on('exit', () => this.#endWait())
  }

  add(fd: number, onReady: () => void): Disposable {
    const id = this.#nextId++
    this.#watch(fd, id)
    this.#registered.set(id, onReady)
    if (!this.#running) {
      this.#running = true
      this.#wait()
    }
    return {
      [Symbol.dispose]: () => {
        if (!this.#registered.delete(id)) return
        this.#system.epoll_ctl(this.#epoll, c.EPOLL_CTL_DEL, fd, this.#scratch.address)
        if (this.#registered.size === 0) this.#endWait()
      },
    }
  }

  #watch(fd: number, id: number): void {
    const { view, address } = this.#scratch
    view.setUint32(0, c.EPOLLIN, true)
    view.setBigUint64(eventData, BigInt(id), true)
    this.#check('epoll_ctl', this.#system.epoll_ctl(this.#epoll, c.EPOLL_CTL_ADD, fd, address))
  }

  #endWait(): void {
    if (!this.#waiting) return
    this.#scratch.view.setBigUint64(16, 1n, true)
    this.#system.write(this.#wake, this.#scratch.address + 16, 8)
  }

  /** One turn: what is ready now, else a wait on the pool. */
  #turn(): void {
    if (this.#registered.size === 0) {
      this.#running = false
      return
    }
    const ready = this.#system.epoll_wait(this.#epoll, this.#events.address, maximumEvents, 0)
    if (ready > 0) this.#dispatch(ready)
    else this.#wait()
  }

  #wait(): void {
    this.#waiting = true
    this.#system.epollWaitOnPool(this.#epoll, this.#events.address, maximumEvents, -1, (ready) => {
      this.#waiting = false
      this.#dispatch(ready)
    })
  }

  #dispatch(ready: number): void {
    try {
      // Ids are read before the first receiver runs: it may register or dispose others.
      const ids: number[] = []
      for (let at = 0; at < ready; at++) ids.push(this.#events.view.getUint32(at * eventSize + eventData, true))
      for (const id of ids) {
        if (id === wakeId) this.#system.read(this.#wake, this.#scratch.address + 16, 8)
        else this.#registered.get(id)?.()
      }
    } finally {
      setImmediate(() => this.#turn())
    }
  }

  #check(call: string, result: number): number {
    if (result === -1) throw new Error(`${call} failed: ${describeErrno(this.#system.errno())}`)
    return result
  }
}

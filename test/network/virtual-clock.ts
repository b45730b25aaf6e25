/**
 * A clock that stands still until a test moves it. Between two timers every promise job is run to its end, so code
 * written with `await` takes no virtual time. Work outside this thread (files, sockets, worker threads) is not waited for.
 */

import { promiseHooks } from 'node:v8'
import { TimeQueue } from '../../lab/model/time-queue.ts'
import type { Clock } from '../../src/util/clock.ts'

interface Timer {
  wake: (() => void) | undefined
}

/** Set by the engine when a promise was made or settled: jobs may be waiting. */
let promisesMoved = true
let watchers = 0
let unwatch: (() => void) | undefined

/**
 * Timers fall on a grid, upwards, so that sums and differences of times have no rounding errors: a machine is not woken
 * a rounding error too early, ms.
 */
const resolution = 1 / 1024

/** More timers in a second of virtual time than any test needs: a deadline that never moves on. */
const timersPerSecond = 200_000

/** Timers run without looking for jobs other than promises' (queueMicrotask, process.nextTick). */
const timersPerTurn = 64

export class VirtualClock implements Clock {
  #now = 0
  #wallOffset: number
  readonly #timers: TimeQueue<Timer> = new TimeQueue()
  #cancelled = 0
  #running = false
  #fired = 0

  /** `wallTime`: what the wall clock shows at the start, ms. */
  constructor(options: { readonly wallTime?: number } = {}) {
    this.#wallOffset = options.wallTime ?? 1_800_000_000_000
  }

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return this.#now + this.#wallOffset
  }

  /** Somebody sets the wall clock; monotonic time is not touched. */
  jumpWallTime(milliseconds: number): void {
    this.#wallOffset += milliseconds
  }

  after(delay: number, wake: () => void): Disposable {
    const timer: Timer = { wake }
    const steps = Math.max(0, Math.ceil(delay / resolution))
    this.#timers.push(this.#now + steps * resolution, timer)
    return {
      [Symbol.dispose]: () => {
        if (timer.wake === undefined) return
        timer.wake = undefined
        this.#cancelled++
        if (this.#cancelled < 1000 || this.#cancelled * 2 < this.#timers.size) return
        this.#timers.keep((kept) => kept.wake !== undefined)
        this.#cancelled = 0
      },
    }
  }

  /** Timers waiting, and timers run so far. */
  stats(): { readonly waiting: number; readonly fired: number } {
    return { waiting: this.#timers.size - this.#cancelled, fired: this.#fired }
  }

  /** Runs everything that falls due in the next so many ms; afterwards that time has passed. */
  async advance(milliseconds: number): Promise<void> {
    await this.#run(onGrid(this.#now + milliseconds), () => false)
  }

  /**
   * Runs timers until the condition holds, looking at it after every one, or until `limit` ms have passed.
   * Returns whether it holds.
   */
  async runUntil(condition: () => boolean, limit: number): Promise<boolean> {
    return await this.#run(onGrid(this.#now + limit), condition)
  }

  /** Runs timers until the promise settles and passes on its outcome; fails when it has not after `limit` ms. */
  async settle<Value>(promise: Promise<Value>, limit: number): Promise<Value> {
    let settled = false
    const onSettled = (): void => {
      settled = true
    }
    promise.then(onSettled, onSettled)
    if (!(await this.runUntil(() => settled, limit))) throw new Error(`Not settled after ${limit} ms of virtual time`)
    return await promise
  }

  async #run(end: number, condition: () => boolean): Promise<boolean> {
    if (this.#running) throw new Error('The clock is running already')
    this.#running = true
    watchPromises()
    try {
      await turn()
      let sinceTurn = 0
      let second = { from: this.#now, timers: 0 }
      while (!condition()) {
        const at = this.#timers.deadline
        if (at === undefined || at > end) {
          this.#now = Math.max(this.#now, end)
          return false
        }
        const timer = this.#timers.pop(at)
        const wake = timer?.wake
        if (timer === undefined || wake === undefined) {
          this.#cancelled = Math.max(0, this.#cancelled - 1)
          continue
        }
        timer.wake = undefined
        this.#now = at
        if (at >= second.from + 1000) second = { from: at, timers: 0 }
        if (++second.timers > timersPerSecond)
          throw new Error(`Too many timers at ${at} ms: one is set to now again and again`)
        this.#fired++
        wake()
        if (promisesMoved || ++sinceTurn >= timersPerTurn) {
          await turn()
          sinceTurn = 0
        }
      }
      return true
    } finally {
      this.#running = false
      unwatchPromises()
    }
  }
}

function onGrid(time: number): number {
  return Math.ceil(time / resolution) * resolution
}

/** Lets every waiting job run. One of them may have started others by way of setImmediate: those wait for the next turn. */
async function turn(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve))
  promisesMoved = false
}

function watchPromises(): void {
  watchers++
  if (unwatch !== undefined) return
  const moved = (): void => {
    promisesMoved = true
  }
  const stops = [promiseHooks.onInit(moved), promiseHooks.onSettled(moved)]
  unwatch = () => {
    for (const stop of stops) if (typeof stop === 'function') stop()
  }
}

function unwatchPromises(): void {
  watchers--
  if (watchers > 0) return
  unwatch?.()
  unwatch = undefined
}

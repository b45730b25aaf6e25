/**
 * A worker's thread as Linux schedules it: which one it is, how long its turns are, how long it waits for a core, and how
 * nice it is. All of this is about speed only: where the system has none of it, or forbids it, nothing changes.
 */

import { closeSync, openSync, readlinkSync, readSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'
import type { NativeFunctions, SystemCalls } from '../../net/ffi.ts'
import { Precedence, type ThreadTimes } from './precedence.ts'

/** sched_setattr(2), which the C library has no function for. */
const callNumbers: Readonly<Record<string, number>> = { x64: 314, arm64: 274 }
/** struct sched_attr: | 0 | its size |  | 4 | policy |  | 8 | flags, 64 bits |  | 16 | niceness |  | 24 | slice, ns, 64 bits | */
const attributes = { size: 48, flags: 8, nice: 16, slice: 24 } as const
const SCHED_FLAG_KEEP_POLICY = 8n
/**
 * How long a thread runs before others have a turn, as Linux itself has it with eight cores; with two cores it is half of
 * that. A worker that comes more seldom, for longer, leaves more of a flood to the program that receives it.
 */
const slice = 3_000_000n
/** How much less nice a thread is that goes before others. */
const advantage = 10

/** The calling thread's, or 0 where it has none. */
export function ownThread(): number {
  try {
    // "process/task/thread".
    return Number(readlinkSync('/proc/thread-self').split('/').at(-1)) || 0
  } catch {
    return 0
  }
}

/** Of the calling thread; from Linux 6.12 on. */
export function lengthenSlice(system: SystemCalls, functions: NativeFunctions): void {
  const number = callNumbers[process.arch]
  if (number === undefined) return
  const { view, address } = system.allocate(attributes.size)
  view.setUint32(0, attributes.size, true)
  view.setBigUint64(attributes.flags, SCHED_FLAG_KEEP_POLICY, true)
  view.setInt32(attributes.nice, getPriority(), true)
  view.setBigUint64(attributes.slice, slice, true)
  functions('syscall', 'long', ['long', 'int', 'intptr', 'uint'])(number, 0, address, 0)
}

/** Lets a thread go before others while it should (precedence.ts). Used by another thread of the same process. */
export class ThreadWatch implements Disposable {
  readonly #thread: number
  readonly #precedence: Precedence = new Precedence()
  readonly #text: Buffer = Buffer.alloc(96)
  /** /proc/self/task/…/schedstat. */
  #file: number | undefined
  /** Unless it goes before others. */
  #nice = 0

  constructor(thread: number) {
    this.#thread = thread
    try {
      this.#nice = getPriority(thread)
      this.#file = openSync(`/proc/self/task/${thread}/schedstat`, 'r')
    } catch {
      // A system without one of them.
    }
  }

  /** To be asked all the time while there is traffic, at `now`, ms, with whether most of it is answered. */
  weigh(now: number, isAnswered: boolean): void {
    if (this.#precedence.isEarly(now)) return
    const times = this.#times()
    if (times !== undefined && this.#precedence.weigh(now, times, isAnswered)) this.#set()
  }

  /** There is no traffic any more. */
  rest(): void {
    if (this.#precedence.rest()) this.#set()
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }

  /** "ran waited turns", ns. */
  #times(): ThreadTimes | undefined {
    if (this.#file === undefined) return undefined
    try {
      const length = readSync(this.#file, this.#text, 0, this.#text.length, 0)
      const [ran = 0, waited = 0] = this.#text.toString('latin1', 0, length).split(' ').map(Number)
      return { ran: ran / 1e6, waited: waited / 1e6 }
    } catch {
      // The thread has ended.
      this[Symbol.dispose]()
      return undefined
    }
  }

  #set(): void {
    // The number of a thread that has ended may be another's.
    if (this.#file === undefined) return
    const nice = this.#nice - (this.#precedence.isRaised ? advantage : 0)
    try {
      setPriority(this.#thread, Math.max(nice, constants.priority.PRIORITY_HIGHEST))
    } catch {
      // Without CAP_SYS_NICE.
      this[Symbol.dispose]()
    }
  }
}

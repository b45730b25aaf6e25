/** Moments after a start: quick ones first, then a steady interval. */

export interface ScheduleOptions {
  /** Offsets from the start, ms, growing. */
  readonly rounds: readonly number[]
  /** After the last offset, ms; absent: nothing more. */
  readonly steady?: number
}

export class Schedule {
  readonly #options: ScheduleOptions
  #next: number
  #since: number
  #done = 0

  constructor(options: ScheduleOptions) {
    this.#options = options
    this.#since = Number.POSITIVE_INFINITY
    this.#next = Number.POSITIVE_INFINITY
  }

  /** Begins again with the first round. */
  start(now: number): void {
    this.#since = now
    this.#done = 0
    this.#next = now + (this.#options.rounds[0] ?? 0)
  }

  stop(): void {
    this.#next = Number.POSITIVE_INFINITY
  }

  get deadline(): number {
    return this.#next
  }

  get running(): boolean {
    return this.#next !== Number.POSITIVE_INFINITY
  }

  /** Ms since the start, infinite before. */
  age(now: number): number {
    return this.#since === Number.POSITIVE_INFINITY ? Number.POSITIVE_INFINITY : now - this.#since
  }

  /** True once for every round that is due; rounds missed by a late call are skipped. */
  due(now: number): boolean {
    if (this.#next > now) return false
    const { rounds, steady } = this.#options
    while (this.#done < rounds.length && this.#since + (rounds[this.#done] ?? 0) <= now) this.#done += 1
    const offset = rounds[this.#done]
    if (offset !== undefined) this.#next = this.#since + offset
    else this.#next = steady === undefined ? Number.POSITIVE_INFINITY : now + steady
    return true
  }
}

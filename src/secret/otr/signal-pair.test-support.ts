/** A clock that a test moves by hand, and two ends of a signal channel on it. */

import type { SignalChannel, SignalEvent } from '../../api/roles.ts'
import type { Clock } from '../../util/clock.ts'
import { Listeners } from '../../util/listeners.ts'

interface Timer {
  readonly at: number
  readonly wake: () => void
}

export class HandClock implements Clock {
  #now = 0
  #timers: Timer[] = []

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return this.#now
  }

  after(delay: number, wake: () => void): Disposable {
    const timer = { at: this.#now + delay, wake }
    this.#timers.push(timer)
    return {
      [Symbol.dispose]: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }

  get waiting(): number {
    return this.#timers.length
  }

  /** Runs every timer of the next so many ms, in order. */
  advance(milliseconds: number): void {
    const end = this.#now + milliseconds
    for (;;) {
      const next = this.#timers.reduce<Timer | undefined>(
        (first, timer) => (timer.at <= end && (first === undefined || timer.at < first.at) ? timer : first),
        undefined,
      )
      if (next === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== next)
      this.#now = Math.max(this.#now, next.at)
      next.wake()
    }
    this.#now = end
  }
}

export class SignalEnd implements SignalChannel {
  readonly maximumTextBytes: number = 1372
  readonly #listeners: Listeners<SignalEvent> = new Listeners()
  readonly #deliver: (text: string) => void
  online = false
  /** Set to refuse what is to be sent, as a full queue does. */
  full = false
  sentCount = 0

  constructor(deliver: (text: string) => void) {
    this.#deliver = deliver
  }

  send(text: string): boolean {
    if (!this.online || this.full) return false
    this.sentCount += 1
    this.#deliver(text)
    return true
  }

  subscribe(listener: (event: SignalEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  nudge(): void {}

  emit(event: SignalEvent): void {
    if (event.kind !== 'text') this.online = event.kind === 'online'
    this.#listeners.emit(event)
  }

  get subscribers(): number {
    return this.#listeners.size
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** Two ends, `delay` ms apart; without one a text arrives inside the very call that sends it. */
export function signalPair(clock: Clock, delay?: number): readonly [SignalEnd, SignalEnd] {
  const carry = (text: string, to: () => SignalEnd): void => {
    const arrive = (): void => {
      if (to().online) to().emit({ kind: 'text', text })
    }
    if (delay === undefined) arrive()
    else clock.after(delay, arrive)
  }
  const one: SignalEnd = new SignalEnd((text) => carry(text, () => two))
  const two: SignalEnd = new SignalEnd((text) => carry(text, () => one))
  return [one, two]
}

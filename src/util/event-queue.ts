/** Events that arrive one by one, taken one by one by an `async` story. Bounded: a flood loses its newest events. */

const maximumEvents = 256

export class EventQueue<Event> {
  readonly #events: Event[] = []
  #wake: (() => void) | undefined

  push(event: Event): void {
    if (this.#events.length < maximumEvents) this.#events.push(event)
    this.#wake?.()
  }

  /** Takes everything that waits. */
  drain(): readonly Event[] {
    return this.#events.splice(0)
  }

  /** The next event; rejects with the signal's reason. One caller at a time. */
  async next(signal: AbortSignal): Promise<Event> {
    for (;;) {
      if (signal.aborted) throw signal.reason
      const event = this.#events.shift()
      if (event !== undefined) return event
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#wake = undefined
          signal.removeEventListener('abort', wake)
          resolve()
        }
        this.#wake = wake
        signal.addEventListener('abort', wake, { once: true })
      })
    }
  }
}

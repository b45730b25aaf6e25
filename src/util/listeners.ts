/** The subscribers of one kind of event. Called in order, synchronously; one that throws is a bug and stops the rest. */

export class Listeners<Event> {
  readonly #listeners: Set<(event: Event) => void> = new Set()

  /** Adds a listener until the returned handle is disposed. */
  add(listener: (event: Event) => void): Disposable {
    const own = (event: Event): void => listener(event)
    this.#listeners.add(own)
    return { [Symbol.dispose]: () => void this.#listeners.delete(own) }
  }

  emit(event: Event): void {
    for (const listener of [...this.#listeners]) listener(event)
  }

  get size(): number {
    return this.#listeners.size
  }
}

/** Counting by reason. */

export class Counters {
  readonly #counts: Map<string, number> = new Map()

  add(reason: string): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1)
  }

  /** A copy, as a plain object. */
  toObject(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts)
  }
}

/** Counts what a machine dropped, by reason. */

export class Drops<Reason extends string> {
  readonly #counts: Map<Reason, number> = new Map()

  count(reason: Reason): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1)
  }

  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts)
  }
}

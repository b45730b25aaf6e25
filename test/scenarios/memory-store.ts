/** State that survives a device's restart within a test. Goes through JSON, as the real one does. */

import type { StateStore } from '../../src/api/state-store.ts'

export class MemoryStore implements StateStore {
  readonly #values: Map<string, string> = new Map()
  /** Writes so far. */
  writes = 0

  async read(name: string): Promise<unknown> {
    const text = this.#values.get(name)
    return text === undefined ? undefined : JSON.parse(text)
  }

  async write(name: string, value: unknown): Promise<void> {
    this.writes++
    this.#values.set(name, JSON.stringify(value))
  }

  async remove(name: string): Promise<void> {
    this.#values.delete(name)
  }
}

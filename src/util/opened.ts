/** What was opened one after the other, closed in reverse: the part of AsyncDisposableStack that we need on Node 20. */

export class Opened implements AsyncDisposable {
  readonly #resources: AsyncDisposable[] = []

  /** Will be closed with the rest. */
  add<T extends AsyncDisposable>(resource: T): T {
    this.#resources.push(resource)
    return resource
  }

  /** Everything is closed, also after a failure; then the first failure is thrown. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = []
    for (let last = this.#resources.pop(); last !== undefined; last = this.#resources.pop()) {
      try {
        await last[Symbol.asyncDispose]()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}

/** Runs `open`; when it throws, what it added so far is closed again. */
export async function openTogether<T>(open: (opened: Opened) => Promise<T>): Promise<T> {
  const opened = new Opened()
  try {
    return await open(opened)
  } catch (error) {
    await opened[Symbol.asyncDispose]().catch(() => {})
    throw error
  }
}

/** Runs tasks one after the other, in the order they were given, whether the one before succeeded or not. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve()

  run<T>(task: () => Promise<T>): Promise<T> {
    const next = this.#last.then(task, task)
    this.#last = next.catch(() => {})
    return next
  }
}

/** Things that are due at a time: a binary heap, first in first out among equal times. */

interface Entry<Item> {
  readonly at: number
  readonly order: number
  readonly item: Item
}

export class TimeQueue<Item> {
  #heap: Entry<Item>[] = []
  #order = 0

  get size(): number {
    return this.#heap.length
  }

  /** When the first item is due. */
  get deadline(): number | undefined {
    return this.#heap[0]?.at
  }

  push(at: number, item: Item): void {
    const heap = this.#heap
    const entry = { at, order: this.#order++, item }
    let hole = heap.length
    heap.push(entry)
    while (hole > 0) {
      const above = (hole - 1) >> 1
      const parent = heap[above]
      if (parent === undefined || !isBefore(entry, parent)) break
      heap[hole] = parent
      hole = above
    }
    heap[hole] = entry
  }

  /** The first item that is due at `now` or was before. */
  pop(now: number): Item | undefined {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined || first.at > now) return undefined
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first.item
    let hole = 0
    for (;;) {
      let below = 2 * hole + 1
      let child = heap[below]
      if (child === undefined) break
      const right = heap[below + 1]
      if (right !== undefined && isBefore(right, child)) {
        child = right
        below++
      }
      if (!isBefore(child, last)) break
      heap[hole] = child
      hole = below
    }
    heap[hole] = last
    return first.item
  }

  /** Drops the items that are no longer wanted. */
  keep(wanted: (item: Item) => boolean): void {
    const left = this.#heap.filter((entry) => wanted(entry.item))
    // A sorted array is a heap.
    left.sort((a, b) => a.at - b.at || a.order - b.order)
    this.#heap = left
  }
}

function isBefore<Item>(a: Entry<Item>, b: Entry<Item>): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** Equal pieces of packet memory, for keys, replay windows and socket addresses. A piece is zero when it is given out. */

export class Slots {
  readonly #bytes: Uint8Array
  readonly #size: number
  readonly #end: number
  readonly #free: number[] = []
  #next: number

  constructor(bytes: Uint8Array, range: { readonly from: number; readonly end: number; readonly size: number }) {
    this.#bytes = bytes
    this.#next = range.from
    this.#end = range.end
    this.#size = range.size
  }

  /** The offset of one, `undefined` when all are taken. */
  take(): number | undefined {
    const freed = this.#free.pop()
    if (freed !== undefined) return freed
    if (this.#next + this.#size > this.#end) return undefined
    const at = this.#next
    this.#next += this.#size
    return at
  }

  /** Wiped. */
  release(at: number): void {
    this.#bytes.fill(0, at, at + this.#size)
    this.#free.push(at)
  }
}

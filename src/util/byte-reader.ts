/** Bounds-checked reading of variable wire formats, big-endian. Every read returns `undefined` past the end. */

export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** How many bytes are left. */
  get remaining(): number {
    return this.#bytes.length - this.#at
  }

  /** The offset of the next byte. */
  get offset(): number {
    return this.#at
  }

  uint8(): number | undefined {
    return this.remaining < 1 ? undefined : this.#view.getUint8(this.#take(1))
  }

  uint16(): number | undefined {
    return this.remaining < 2 ? undefined : this.#view.getUint16(this.#take(2))
  }

  uint32(): number | undefined {
    return this.remaining < 4 ? undefined : this.#view.getUint32(this.#take(4))
  }

  uint64(): bigint | undefined {
    return this.remaining < 8 ? undefined : this.#view.getBigUint64(this.#take(8))
  }

  /** A view of the next `length` bytes, not a copy. */
  bytes(length: number): Uint8Array | undefined {
    if (length < 0 || this.remaining < length) return undefined
    const from = this.#take(length)
    return this.#bytes.subarray(from, from + length)
  }

  /** A view of everything left. */
  rest(): Uint8Array {
    return this.#bytes.subarray(this.#take(this.remaining))
  }

  #take(length: number): number {
    const at = this.#at
    this.#at += length
    return at
  }
}

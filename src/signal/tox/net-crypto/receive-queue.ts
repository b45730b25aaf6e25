/**
 * The receiving half of net_crypto's lossless packets: brings them into the order of their numbers, drops copies, and
 * knows which are missing. Tox protocol specification, "net_crypto".
 */

/** From the specification: numbers that lie further ahead are refused. */
const windowSize = 32_768
/** Our choice: what waits behind a hole is bounded in bytes; a packet over it is dropped and will be asked for again. */
const maximumBytes = 262_144
/** Our choice: so many missing numbers are looked for at a time. */
const maximumMissing = 512

export type Offered = 'taken' | 'duplicate' | 'outside' | 'full'

export class ReceiveQueue {
  readonly #waiting: Map<number, Uint8Array> = new Map()
  #bytes = 0
  #start = 0
  #end = 0

  /** The next number wanted: all before it were delivered (recv_start). */
  get start(): number {
    return this.#start
  }

  /** Bytes that wait behind a hole. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether a lossless packet may have this number: an old one, or one not too far ahead. */
  isInWindow(number: number): boolean {
    const ahead = (number - this.#start) >>> 0
    return ahead >= 0x8000_0000 || ahead < windowSize
  }

  /** A lossless packet with its number; keeps `packet`. What became deliverable is then in `take`. */
  offer(number: number, packet: Uint8Array): Offered {
    const ahead = (number - this.#start) >>> 0
    if (ahead >= 0x8000_0000 || this.#waiting.has(number)) return 'duplicate'
    if (ahead >= windowSize) return 'outside'
    this.#extend((number + 1) >>> 0)
    if (ahead > 0 && this.#bytes + packet.length > maximumBytes) return 'full'
    this.#waiting.set(number, packet)
    this.#bytes += packet.length
    return 'taken'
  }

  /** The peer's next number is `end`: all packets before it exist. False when that cannot be. */
  observe(end: number): boolean {
    const ahead = (end - this.#start) >>> 0
    if (ahead >= 0x8000_0000) return true
    if (ahead > windowSize) return false
    this.#extend(end)
    return true
  }

  /** The packets that are next in order; they are no longer kept. */
  take(): Uint8Array[] {
    const ready: Uint8Array[] = []
    for (;;) {
      const packet = this.#waiting.get(this.#start)
      if (packet === undefined) return ready
      this.#waiting.delete(this.#start)
      this.#bytes -= packet.length
      this.#start = (this.#start + 1) >>> 0
      ready.push(packet)
    }
  }

  get hasMissing(): boolean {
    return this.#start !== this.#end
  }

  /** The numbers known to exist that have not arrived, in rising order, the first few hundred. */
  missing(): number[] {
    const missing: number[] = []
    for (let number = this.#start; number !== this.#end && missing.length < maximumMissing; ) {
      if (!this.#waiting.has(number)) missing.push(number)
      number = (number + 1) >>> 0
    }
    return missing
  }

  #extend(end: number): void {
    if ((end - this.#start) >>> 0 > (this.#end - this.#start) >>> 0) this.#end = end
  }
}

/**
 * One direction of a line: serialization at a rate, a queue that drops at its end, delay, jitter, loss, reordering and
 * duplication, from a seeded generator; and the largest packet it takes in one piece. It only says when a packet arrives; who holds the packet until then is
 * internet.ts.
 */

import type { Generator } from './generator.ts'

export interface LinkSettings {
  /** Time on the line, ms. */
  readonly delay: number
  /** Up to so much more, uniform, ms. Does not reorder. */
  readonly jitter: number
  /** Probability that a packet is lost. */
  readonly loss: number
  /** Bits per second; `Infinity` takes no time. */
  readonly rate: number
  /** What would wait longer than this for its turn on the line is dropped, ms. */
  readonly queue: number
  /** Probability that a packet is held back and overtaken by those sent in the next `delay + 10` ms or so. */
  readonly reorder: number
  /** Probability that a packet arrives twice. */
  readonly duplicate: number
  /** Largest packet that goes on the line in one piece, bytes. No ICMP tells the sender. */
  readonly mtu: number
  /** Whether larger ones are cut, unless they may not be (DF). A network that drops fragments: no. */
  readonly cuts: boolean
}

export const perfectLink: LinkSettings = {
  delay: 0,
  jitter: 0,
  loss: 0,
  rate: Number.POSITIVE_INFINITY,
  queue: 200,
  reorder: 0,
  duplicate: 0,
  mtu: Number.POSITIVE_INFINITY,
  cuts: true,
}

export class Link {
  #settings: LinkSettings
  readonly #generator: Generator
  /** When the line has sent what it took so far. */
  #busyUntil = 0
  #lastArrival = 0

  constructor(settings: Partial<LinkSettings>, generator: Generator) {
    this.#settings = { ...perfectLink, ...settings }
    this.#generator = generator
  }

  get settings(): LinkSettings {
    return this.#settings
  }

  /** Packets already on the line keep their arrival. */
  change(settings: Partial<LinkSettings>): void {
    this.#settings = { ...this.#settings, ...settings }
  }

  /** When a packet of `size` bytes given to the line now arrives; `undefined` when it is lost. */
  transmit(size: number, now: number): number | undefined {
    const { delay, jitter, loss, rate, queue, reorder } = this.#settings
    let sent = now
    if (rate !== Number.POSITIVE_INFINITY) {
      const start = Math.max(now, this.#busyUntil)
      if (start - now > queue) return undefined
      sent = start + (size * 8000) / rate
      this.#busyUntil = sent
    }
    if (loss > 0 && this.#generator.unit() < loss) return undefined
    const arrival = jitter > 0 ? sent + delay + this.#generator.unit() * jitter : sent + delay
    if (reorder > 0 && this.#generator.unit() < reorder) return arrival + this.#generator.unit() * (delay + 10)
    this.#lastArrival = Math.max(arrival, this.#lastArrival)
    return this.#lastArrival
  }

  /** The sizes of the pieces in which a packet of `size` bytes goes on the line (RFC 791 §3.2); none when it may not. */
  pieces(size: number, isWhole: boolean): readonly number[] {
    const { mtu, cuts } = this.#settings
    if (size <= mtu) return [size]
    return isWhole || !cuts ? [] : fragmentSizes(size, mtu)
  }

  /** Whether the packet just given to the line is to be given to it once more. */
  duplicates(): boolean {
    return this.#settings.duplicate > 0 && this.#generator.unit() < this.#settings.duplicate
  }
}

/** Every piece has a header of its own and, but for the last, a multiple of 8 bytes. */
function fragmentSizes(size: number, mtu: number): readonly number[] {
  const most = mtu - header - ((mtu - header) % 8)
  const sizes: number[] = []
  for (let left = size - header; left > 0; left -= most) sizes.push(Math.min(left, most) + header)
  return sizes
}

const header = 20

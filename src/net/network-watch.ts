/**
 * Notices that the machine's way into the network changed: its addresses, its default routes, or that it slept.
 * Pure but for the clock and the two functions given; a hint from the system (net/netlink.ts) makes it look at once.
 */

import type { Clock } from '../util/clock.ts'

export interface NetworkWatchOptions {
  readonly clock: Clock
  /** All that matters about the network now, as text to compare. */
  readonly snapshot: () => string
  readonly changed: () => void
}

/** Between two looks without a hint, ms. */
const interval = 2000
/** A look that comes this much too late, ms, by wall or monotonic time, means that the machine slept. */
const sleepTolerance = 3000
/** Changes come in groups (address gone, route gone, address new): one look after the last hint, ms. */
const settle = 150

export class NetworkWatch implements Disposable {
  readonly #clock: Clock
  readonly #snapshot: () => string
  readonly #changed: () => void
  #last: string
  #lookedAt: { readonly monotonic: number; readonly wall: number }
  #timer: Disposable

  constructor(options: NetworkWatchOptions) {
    this.#clock = options.clock
    this.#snapshot = options.snapshot
    this.#changed = options.changed
    this.#last = options.snapshot()
    this.#lookedAt = this.#time()
    this.#timer = this.#clock.after(interval, () => this.#look())
  }

  /** The system says that something about its interfaces changed. */
  hint(): void {
    this.#timer[Symbol.dispose]()
    this.#timer = this.#clock.after(settle, () => this.#look())
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }

  #look(): void {
    const before = this.#lookedAt
    const now = this.#time()
    const latest = interval + settle + sleepTolerance
    const slept = now.monotonic - before.monotonic > latest || now.wall - before.wall > latest
    const snapshot = this.#snapshot()
    const different = snapshot !== this.#last
    this.#last = snapshot
    this.#lookedAt = now
    this.#timer = this.#clock.after(interval, () => this.#look())
    if (slept || different) this.#changed()
  }

  #time(): { readonly monotonic: number; readonly wall: number } {
    return { monotonic: this.#clock.now(), wall: this.#clock.wallTime() }
  }
}

/**
 * Interface and gateway of every IPv4 default route in the text of /proc/net/route, without the interfaces named.
 * Its columns: Iface, Destination, Gateway, Flags, RefCnt, Use, Metric, Mask, …; numbers in hex.
 */
export function defaultRoutes(table: string, ignoreInterfaces: readonly string[]): readonly string[] {
  const routes: string[] = []
  for (const line of table.split('\n').slice(1)) {
    const [name, destination, gateway, , , , , mask] = line.split('\t')
    if (name === undefined || ignoreInterfaces.includes(name)) continue
    if (destination === '00000000' && mask === '00000000') routes.push(`${name} ${gateway}`)
  }
  return routes.sort()
}

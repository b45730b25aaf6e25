/** Whether the traffic is answered: most of what was carried since the last time is of peers that both sent and received. */

import type { PeerActivity } from './data-plane.ts'

export class TrafficBalance {
  /** What each peer's row had carried when it was last looked at, bytes. */
  readonly #carried: WeakMap<Float64Array, number> = new WeakMap()
  #since = Number.NaN
  /** Bytes of peers that are answered, less those of the others. */
  #balance = 0

  /** A peer that has carried something. */
  add(row: Float64Array, { sentBytes, receivedBytes, lastDataSentAt, lastDataReceivedAt }: PeerActivity): void {
    const carried = sentBytes + receivedBytes
    const more = carried - (this.#carried.get(row) ?? 0)
    this.#carried.set(row, carried)
    const isAnswered = this.#isNew(lastDataSentAt) && this.#isNew(lastDataReceivedAt)
    this.#balance += isAnswered ? more : -more
  }

  /** Of all that was added since the last call; `now` is ms. */
  take(now: number): boolean {
    const isAnswered = this.#balance > 0
    this.#since = now
    this.#balance = 0
    return isAnswered
  }

  #isNew(at: number | undefined): boolean {
    return at !== undefined && at >= this.#since
  }
}

/**
 * What the counts of an OpenVPN process say: how much went each way over all processes of a peer, and whether somebody
 * still answers. A count comes every second, and OpenVPN's own pings are in it.
 */

export interface TrafficStats {
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Monotonic ms, `undefined` when never. */
  readonly lastReceivedAt: number | undefined
}

/** So many counts in a row in which we sent and nothing came: one alone may be a ping of ours. */
const silentCounts = 2

export class Traffic {
  /** Of processes that have ended. */
  #before: { readonly received: number; readonly sent: number } = { received: 0, sent: 0 }
  #received = 0
  #sent = 0
  #lastReceivedAt: number | undefined
  #silent = 0

  /** A new process counts from zero. */
  restart(): void {
    this.#before = { received: this.#before.received + this.#received, sent: this.#before.sent + this.#sent }
    this.#received = 0
    this.#sent = 0
    this.#silent = 0
  }

  /** What the process has counted since it began. True when we sent, again, and nothing came back. */
  count(received: number, sent: number, now: number): boolean {
    const came = received > this.#received
    const went = sent > this.#sent
    this.#received = Math.max(received, this.#received)
    this.#sent = Math.max(sent, this.#sent)
    if (came) {
      this.#lastReceivedAt = now
      this.#silent = 0
    } else if (went) this.#silent++
    return !came && went && this.#silent >= silentCounts
  }

  stats(): TrafficStats {
    return {
      receivedBytes: this.#before.received + this.#received,
      sentBytes: this.#before.sent + this.#sent,
      lastReceivedAt: this.#lastReceivedAt,
    }
  }
}

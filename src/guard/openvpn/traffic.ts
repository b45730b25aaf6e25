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

/** Bytes. No more is sent in a second by a process that has nothing to say but its pings. */
const pings = 100
/** So many counts in a row with nothing but pings are one too many. */
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
    const went = Math.max(0, sent - this.#sent)
    this.#received = Math.max(received, this.#received)
    this.#sent = Math.max(sent, this.#sent)
    if (came) {
      this.#lastReceivedAt = now
      this.#silent = 0
    } else if (went > 0) this.#silent += went > pings ? silentCounts : 1
    return !came && went > 0 && this.#silent >= silentCounts
  }

  stats(): TrafficStats {
    return {
      receivedBytes: this.#before.received + this.#received,
      sentBytes: this.#before.sent + this.#sent,
      lastReceivedAt: this.#lastReceivedAt,
    }
  }
}

/** When a request over UDP is sent again and when it is given up (RFC 8489 §6.2.1). Numbers only, no bytes. */

export interface RetransmissionOptions {
  /** Time to the first retransmission, ms; it doubles with each. */
  readonly rto: number
  /** How often the request is sent in all. */
  readonly rc?: number
  /** How many times `rto` after the last send the transaction fails. */
  readonly rm?: number
}

// From the specification, §6.2.1

const defaultRc = 7
const defaultRm = 16

export class Retransmission {
  readonly #rto: number
  readonly #rc: number
  readonly #rm: number
  #sends = 1
  #deadline: number

  /** The first send happens at `now`. */
  constructor(now: number, options: RetransmissionOptions) {
    this.#rto = options.rto
    this.#rc = options.rc ?? defaultRc
    this.#rm = options.rm ?? defaultRm
    this.#deadline = now + this.#nextWait()
  }

  /** When `tick` has something to say. */
  get deadline(): number {
    return this.#deadline
  }

  get sends(): number {
    return this.#sends
  }

  /** What is due at `now`. After `fail` there is nothing more to wait for. */
  tick(now: number): 'wait' | 'send' | 'fail' {
    if (now < this.#deadline) return 'wait'
    if (this.#sends === this.#rc) return 'fail'
    this.#sends++
    this.#deadline = now + this.#nextWait()
    return 'send'
  }

  #nextWait(): number {
    return this.#sends < this.#rc ? this.#rto * 2 ** (this.#sends - 1) : this.#rto * this.#rm
  }
}

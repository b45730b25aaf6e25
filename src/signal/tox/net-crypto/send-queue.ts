/**
 * The sending half of net_crypto's lossless packets: numbers them, keeps them until the peer has them, and says which
 * to send (again). Tox protocol specification, "net_crypto", recv_start and packet requests.
 * Instead of the specification's congestion control there is a cap on what is under way: these are short texts.
 */

import type { RoundTrip } from './round-trip.ts'

/** c-toxcore's own first budget; it takes bursts of 64 without complaint. */
const maximumUnderWay = 64
/** The peer buffers what lies behind a hole: never run further ahead of the hole than this. */
const maximumAhead = 128
const maximumWaiting = 1_024
/** Our choice: even a dead path is tried this often, ms. */
const maximumTimeout = 3_000
/** Our choice: a packet sent this long ago is sent again when it is asked for, however long the round trip, ms. */
const longestPatience = 300
/** The oldest packets, which are sent again when no acknowledgement comes: the first answer names the others. */
const resentPerTimeout = 4

interface UnderWay {
  readonly number: number
  readonly packet: Uint8Array
  firstSentAt: number
  sentAt: number
  /** How often it was sent; 0 = must be sent now. */
  sends: number
  wanted: boolean
}

export interface NumberedPacket {
  readonly number: number
  readonly packet: Uint8Array
}

export class SendQueue {
  readonly #roundTrip: RoundTrip
  readonly #waiting: Uint8Array[] = []
  /** In the order of their numbers, the first is the oldest. */
  readonly #underWay: Map<number, UnderWay> = new Map()
  #start = 0
  #end = 0
  /** Doubles with every timeout without an answer. */
  #patience = 1

  constructor(roundTrip: RoundTrip) {
    this.#roundTrip = roundTrip
  }

  /** Takes a packet (id and data); false when the queue is full. */
  enqueue(packet: Uint8Array): boolean {
    if (this.#waiting.length >= maximumWaiting) return false
    this.#waiting.push(packet)
    return true
  }

  /** The number the next new packet will get. */
  get end(): number {
    return this.#end
  }

  /** Packets that the peer has not acknowledged, sent or not. */
  get length(): number {
    return this.#waiting.length + this.#underWay.size
  }

  /** Whether a recv_start of the peer can be true: all packets before it were sent. */
  isPossible(receiveStart: number): boolean {
    return distance(this.#start, receiveStart) <= distance(this.#start, this.#end)
  }

  /**
   * The peer has everything before `receiveStart`, which must be possible. Gives the time at which the newest of the
   * packets that are acknowledged by this was first sent.
   */
  acknowledge(receiveStart: number, now: number): number | undefined {
    if (receiveStart === this.#start) return undefined
    let newest: number | undefined
    for (const entry of this.#underWay.values()) {
      if (!isBefore(entry.number, receiveStart)) break
      this.#underWay.delete(entry.number)
      if (entry.sends === 1) this.#roundTrip.add(now - entry.firstSentAt)
      newest = entry.firstSentAt
    }
    this.#start = receiveStart
    this.#patience = 1
    return newest
  }

  /**
   * The peer misses exactly `missing` (in rising order) up to the last of them: what lies between was received. A
   * named packet that was sent less than a round trip ago is still on its way.
   */
  request(missing: readonly number[], now: number): void {
    const last = missing.at(-1)
    if (last === undefined || !isBefore(last, this.#end) || isBefore(last, this.#start)) return
    const named = new Set(missing)
    const patience = Math.min(this.#roundTrip.shortest, longestPatience)
    for (const entry of this.#underWay.values()) {
      if (isBefore(last, entry.number)) break
      if (!named.has(entry.number)) this.#underWay.delete(entry.number)
      else if (now - entry.sentAt >= patience) entry.wanted = true
    }
  }

  /** The path was bad: what has been under way for at least `age` ms is taken as lost. */
  resend(now: number, age: number): void {
    for (const entry of this.#underWay.values()) if (now >= entry.sentAt + age) entry.wanted = true
    this.#patience = 1
  }

  /** What is to be sent now: packets asked for, packets whose acknowledgement is overdue, new ones. */
  take(now: number): NumberedPacket[] {
    const due: UnderWay[] = []
    const timeout = this.#timeout
    let overdue = false
    let position = 0
    for (const entry of this.#underWay.values()) {
      const late = position < resentPerTimeout && now >= entry.sentAt + timeout
      if (late || entry.wanted) due.push(entry)
      overdue ||= late
      position += 1
    }
    if (overdue) this.#patience = Math.min(this.#patience * 2, 8)
    while (this.#waiting.length > 0 && this.#underWay.size < maximumUnderWay) {
      if (distance(this.#start, this.#end) >= maximumAhead) break
      const packet = this.#waiting.shift()
      if (packet === undefined) break
      const entry = { number: this.#end, packet, firstSentAt: now, sentAt: now, sends: 0, wanted: false }
      this.#underWay.set(entry.number, entry)
      this.#end = (this.#end + 1) >>> 0
      due.push(entry)
    }
    for (const entry of due) {
      entry.sentAt = now
      entry.sends += 1
      entry.wanted = false
    }
    return due
  }

  /** When `take` has something to do next (monotonic ms), unless the peer says something before. */
  get deadline(): number | undefined {
    const timeout = this.#timeout
    let deadline: number | undefined
    let position = 0
    for (const entry of this.#underWay.values()) {
      if (entry.wanted) return entry.sentAt
      const at = entry.sentAt + timeout
      if (position < resentPerTimeout && (deadline === undefined || at < deadline)) deadline = at
      position += 1
    }
    return deadline
  }

  get #timeout(): number {
    return Math.min(this.#roundTrip.timeout * this.#patience, maximumTimeout)
  }
}

/** How far `to` is ahead of `from` among 32-bit numbers. */
function distance(from: number, to: number): number {
  return (to - from) >>> 0
}

function isBefore(a: number, b: number): boolean {
  return a !== b && distance(a, b) < 0x8000_0000
}

/**
 * The peer's punch messages, kept until an attempt of ours takes them. Both ends restart ICE at times of their own
 * choosing; what one attempt must never do is take the candidates of an earlier restart, or miss those that arrived
 * before it began. So: an attempt works with one generation of the peer's, the newest that no attempt had before; a
 * still newer one means that the peer began again, and so must we (RFC 8445 §9: a restart changes both ends).
 */

import type { PunchExchange, PunchMessage } from '../api/roles.ts'
import { Listeners } from '../util/listeners.ts'

/** A generation of the peer's has at most so many messages; more are dropped. */
const maximumMessages = 64

export class PunchMailbox {
  /** The newest generation that an attempt has taken. */
  #taken = 0
  /** Whether the running attempt has a generation of the peer's to work with. */
  #attemptIsServed = false
  /** The newest generation seen, and its messages. */
  #newest = 0
  #messages: PunchMessage[] = []
  readonly #listeners: Listeners<PunchMessage> = new Listeners()
  #dropped = 0

  /** Whether the peer has begun a generation that no attempt of ours has taken. */
  get waiting(): boolean {
    return this.#newest > this.#taken
  }

  /** Messages that belonged to an older generation or were too many. */
  get dropped(): number {
    return this.#dropped
  }

  /** A new conversation: the peer counts from the start. */
  reset(): void {
    this.#taken = 0
    this.#newest = 0
    this.#attemptIsServed = false
    this.#messages = []
  }

  /** Takes a message in; true when it begins a generation that the running attempt cannot use. */
  receive(message: PunchMessage): boolean {
    if (message.generation < this.#newest || message.generation < 1) {
      this.#dropped++
      return false
    }
    if (message.generation > this.#newest) {
      // A candidate may overtake nothing: texts arrive in order, so a generation begins with its description.
      if (message.kind !== 'description') {
        this.#dropped++
        return false
      }
      this.#newest = message.generation
      this.#messages = [message]
      if (this.#attemptIsServed || this.#listeners.size === 0) return true
      this.#take()
      return false
    }
    if (this.#messages.length >= maximumMessages) {
      this.#dropped++
      return false
    }
    // Said again: the peer still waits for an answer.
    if (message.kind === 'description' && this.waiting) return true
    this.#messages.push(message)
    if (this.#attemptIsServed && !this.waiting) this.#listeners.emit(message)
    return false
  }

  /** What one attempt sees: the waiting generation from its beginning, or the next one that begins. */
  exchange(send: (message: PunchMessage) => void): PunchExchange {
    return {
      send,
      subscribe: (listener) => {
        const subscription = this.#listeners.add(listener)
        this.#attemptIsServed = false
        if (this.waiting) this.#take()
        return subscription
      },
    }
  }

  #take(): void {
    this.#taken = this.#newest
    this.#attemptIsServed = true
    for (const message of [...this.#messages]) this.#listeners.emit(message)
  }
}

/**
 * Whether a worker's thread goes before others. One that is always at work and has to wait for a core for much of the
 * time does: everybody behind it waits as well. Not with traffic that nobody answers: a flood does not slow down, and
 * a thread that goes before the program that receives it only carries more of what that program then loses.
 */

/** How long a thread ran, and waited for a core, since it began: ms. */
export interface ThreadTimes {
  readonly ran: number
  readonly waited: number
}

/** Shares of the time. A thread that runs less is seldom what others wait for, even if it waits for long itself. */
const much = 0.25
const always = 0.8
const mostly = 0.5
/** What share of the time that a thread wants is waiting. */
const held = 1 / 5
/** So many looks in a row. */
const looksToRise = 3
const looksToFall = 10
/** Less time says little, ms. */
const shortest = 50

export class Precedence {
  #isRaised = false
  #streak = 0
  #at = Number.NEGATIVE_INFINITY
  #times: ThreadTimes = { ran: 0, waited: 0 }

  get isRaised(): boolean {
    return this.#isRaised
  }

  /** Too little time has passed since the last look. */
  isEarly(now: number): boolean {
    return now - this.#at < shortest
  }

  /**
   * A look at the thread at `now`, ms, several times a second while there is traffic, most of which is answered or is not.
   * `true`: it goes before others from now on, or does not any more.
   */
  weigh(now: number, times: ThreadTimes, isAnswered: boolean): boolean {
    const elapsed = now - this.#at
    const ran = (times.ran - this.#times.ran) / elapsed
    const wanted = ran + (times.waited - this.#times.waited) / elapsed
    this.#at = now
    this.#times = times
    const isHeldUp = ran >= much && wanted >= always && ran <= (1 - held) * wanted
    const isDue = this.#isRaised ? !isAnswered || wanted < mostly : isAnswered && isHeldUp
    this.#streak = isDue ? this.#streak + 1 : 0
    if (this.#streak < (this.#isRaised ? looksToFall : looksToRise)) return false
    this.#isRaised = !this.#isRaised
    this.#streak = 0
    return true
  }

  /** There is no traffic. `true`: it does not go before others any more. */
  rest(): boolean {
    const wasRaised = this.#isRaised
    this.#isRaised = false
    this.#streak = 0
    return wasRaised
  }
}

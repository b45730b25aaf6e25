/**
 * The latest events of a device, numbered, so that a client that lost its connection gets what it missed. Ids are
 * `RUN-NUMBER`: an id of an earlier daemon is not mistaken for one of this.
 */

import type { DeviceEvent } from '../api/device.ts'
import { Listeners } from '../util/listeners.ts'

export interface NumberedEvent {
  readonly id: string
  readonly event: DeviceEvent
}

/** Our choice: hours of an ordinary device. */
const maximumEvents = 512

export class EventLog {
  readonly #run: string
  readonly #events: NumberedEvent[] = []
  readonly #listeners: Listeners<NumberedEvent> = new Listeners()
  #last = 0

  /** `run` tells this daemon's life from earlier ones; letters and digits. */
  constructor(run: string) {
    this.#run = run
  }

  append(event: DeviceEvent): void {
    const numbered = { id: `${this.#run}-${++this.#last}`, event }
    this.#events.push(numbered)
    if (this.#events.length > maximumEvents) this.#events.shift()
    this.#listeners.emit(numbered)
  }

  /**
   * What came after the event with this id, oldest first. `missed` when some of it is no longer kept, or the id is of
   * another run: then everything kept is given.
   */
  after(id: string): { readonly missed: boolean; readonly events: readonly NumberedEvent[] } {
    const match = /^(\w+)-(\d+)$/.exec(id)
    const first = this.#last - this.#events.length + 1
    const next = Number(match?.[2]) + 1
    if (match?.[1] !== this.#run || !(next >= first && next <= this.#last + 1))
      return { missed: true, events: [...this.#events] }
    return { missed: false, events: this.#events.slice(next - first) }
  }

  subscribe(listener: (event: NumberedEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }
}

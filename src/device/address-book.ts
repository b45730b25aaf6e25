/** The addresses in the tunnel as they are now, ours and the peers', and what is kept of them between two runs. */

import * as v from 'valibot'
import type { StateStore } from '../api/state-store.ts'
import type { Card } from '../pairing/card.ts'
import {
  type AddressPlan,
  type AddressView,
  type Announcement,
  announcementFor,
  planAddresses,
} from './address-plan.ts'
import type { Addressing } from './parts.ts'
import type { Peer } from './peer.ts'

const storedAddresses = v.object({ version: v.literal(1), ipv4: v.pipe(v.string(), v.ipv4()) })

export class AddressBook {
  readonly #card: Card
  readonly #addressing: Addressing
  readonly #store: StateStore
  /** Our derived IPv4 address. */
  #current: string | undefined
  #view: AddressView
  #plan: AddressPlan

  private constructor(
    parts: { readonly card: Card; readonly addressing: Addressing; readonly store: StateStore },
    current: string | undefined,
  ) {
    this.#card = parts.card
    this.#addressing = parts.addressing
    this.#store = parts.store
    this.#current = current
    this.#view = this.#viewOf([], [])
    this.#plan = planAddresses(this.#view, current)
  }

  static async open(parts: {
    readonly card: Card
    readonly addressing: Addressing
    readonly store: StateStore
  }): Promise<AddressBook> {
    // A damaged file costs an address, no more.
    const stored = v.safeParse(storedAddresses, await parts.store.read('addresses').catch(() => undefined))
    return new AddressBook(parts, stored.success ? stored.output.ipv4 : undefined)
  }

  get own(): readonly string[] {
    return this.#plan.own
  }

  get warnings(): readonly string[] {
    return this.#plan.warnings
  }

  /** What a peer may use inside. */
  of(peer: string): readonly string[] {
    return this.#plan.peers.get(peer) ?? []
  }

  announcementFor(peer: string): Announcement {
    return announcementFor(peer, this.#view, this.#plan)
  }

  /** Looks at the machine and at what the peers have said, and plans anew. */
  async review(peers: Iterable<Peer>): Promise<void> {
    this.#view = this.#viewOf(await this.#addressing.liveNetworks(), [...peers])
    this.#plan = planAddresses(this.#view, this.#current)
    const ipv4 = this.#view.configured.length > 0 ? undefined : this.#plan.own.find((address) => !address.includes(':'))
    if (ipv4 === undefined || ipv4 === this.#current) return
    this.#current = ipv4
    await this.#store.write('addresses', { version: 1, ipv4 })
  }

  #viewOf(live: readonly string[], peers: readonly Peer[]): AddressView {
    return {
      tunnelKey: this.#card.tunnelKey,
      configured: this.#addressing.configured,
      live,
      peers: peers.map(({ name, tunnelKey, announced }) => ({ name, tunnelKey, announced })),
    }
  }
}

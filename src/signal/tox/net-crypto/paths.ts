/**
 * Where one peer may be reached: the address its packets come from, and addresses somebody named. Our own: c-toxcore
 * keeps one address and drops what comes from elsewhere, so that a changed NAT binding costs it the session.
 */

import { type Endpoint, sameEndpoint } from '../../../api/endpoint.ts'

const maximumCandidates = 8

export class Paths {
  #current: Endpoint | undefined
  /** The newest first; without the current one. */
  #candidates: readonly Endpoint[] = []

  /** Where the newest authentic packet came from. */
  get current(): Endpoint | undefined {
    return this.#current
  }

  /** The current address and all others, the most promising first. */
  get all(): readonly Endpoint[] {
    return this.#current === undefined ? this.#candidates : [this.#current, ...this.#candidates]
  }

  has(endpoint: Endpoint): boolean {
    return this.all.some((known) => sameEndpoint(known, endpoint))
  }

  /** Somebody named this address. False when it was known. */
  add(endpoint: Endpoint): boolean {
    const known = this.has(endpoint)
    if (this.#current !== undefined && sameEndpoint(this.#current, endpoint)) return false
    const others = this.#candidates.filter((candidate) => !sameEndpoint(candidate, endpoint))
    this.#candidates = [endpoint, ...others].slice(0, maximumCandidates)
    return !known
  }

  /** An authentic packet came from here. True when that is a move from another address. */
  prove(endpoint: Endpoint): boolean {
    const before = this.#current
    if (before !== undefined && sameEndpoint(before, endpoint)) return false
    const others = this.#candidates.filter((candidate) => !sameEndpoint(candidate, endpoint))
    this.#candidates = (before === undefined ? others : [before, ...others]).slice(0, maximumCandidates)
    this.#current = { address: endpoint.address, port: endpoint.port }
    return before !== undefined
  }
}

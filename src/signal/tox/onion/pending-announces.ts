/** Announce requests that wait for their answer, by sendback. */

import { toHex } from '../../../util/bytes.ts'
import type { NodeContact } from '../packed-node.ts'
import type { OnionPath, PathPool } from './path-pool.ts'

export interface PendingAnnounce {
  /** `self`, or the friend's name. */
  readonly owner: string
  readonly contact: NodeContact
  readonly pool: PathPool
  readonly path: OnionPath
  readonly sentAt: number
  /** Whether the request carried a ticket of this very path, so that a good answer means that we are stored by it. */
  readonly confirming: boolean
  /** Whether the path was blamed already. */
  blamed: boolean
}

const capacity = 256
const answerable = 10_000

/** A request not answered after this counts against its path, though its answer is still taken. */
const slowAfter = 1500

export class PendingAnnounces {
  readonly #requests: Map<string, PendingAnnounce> = new Map()

  get size(): number {
    return this.#requests.size
  }

  add(sendback: Uint8Array, request: PendingAnnounce): void {
    this.#requests.set(toHex(sendback), request)
    if (this.#requests.size <= capacity) return
    const oldest = this.#requests.keys().next()
    if (!oldest.done) this.#requests.delete(oldest.value)
  }

  find(sendback: Uint8Array, now: number): PendingAnnounce | undefined {
    const request = this.#requests.get(toHex(sendback))
    return request !== undefined && now - request.sentAt < answerable ? request : undefined
  }

  remove(sendback: Uint8Array): void {
    this.#requests.delete(toHex(sendback))
  }

  /** The requests that have just become slow; forgets those that can no longer be answered. */
  takeSlow(now: number): readonly PendingAnnounce[] {
    const slow: PendingAnnounce[] = []
    for (const [sendback, request] of this.#requests) {
      const age = now - request.sentAt
      if (age < slowAfter) break
      if (!request.blamed) slow.push(request)
      request.blamed = true
      if (age >= answerable) this.#requests.delete(sendback)
    }
    return slow
  }

  get deadline(): number {
    for (const request of this.#requests.values()) {
      if (!request.blamed) return request.sentAt + slowAfter
    }
    const oldest = this.#requests.values().next()
    return oldest.done ? Number.POSITIVE_INFINITY : oldest.value.sentAt + answerable
  }
}

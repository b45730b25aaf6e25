/** Requests of ours that wait for their answer: an answer counts once, from the key and the address that was asked. */

import { type Endpoint, sameEndpoint } from '../../../api/endpoint.ts'
import { toHex } from '../../../util/bytes.ts'

/** As in c-toxcore. */
const capacity = 512

const validFor = { ping: 5000, nodes: 60_000 } as const

export interface PendingRequest {
  readonly kind: 'ping' | 'nodes'
  /** The asked node's key in hex. */
  readonly name: string
  readonly endpoint: Endpoint
  readonly sentAt: number
  /** The key in hex that was asked for; of the node itself for a ping. */
  readonly wanted: string
}

export class PendingRequests {
  readonly #requests: Map<string, PendingRequest> = new Map()

  get size(): number {
    return this.#requests.size
  }

  /** Remembers a request under its 8-byte id; the oldest is forgotten when there are too many. */
  add(id: Uint8Array, request: PendingRequest): void {
    this.#requests.set(toHex(id), request)
    if (this.#requests.size <= capacity) return
    const oldest = this.#requests.keys().next()
    if (!oldest.done) this.#requests.delete(oldest.value)
  }

  /** The request an answer belongs to, removed; `undefined` when the answer is not wanted. */
  take(
    id: Uint8Array,
    answer: {
      readonly kind: 'ping' | 'nodes'
      readonly name: string
      readonly endpoint: Endpoint
      readonly now: number
    },
  ): PendingRequest | undefined {
    const request = this.#requests.get(toHex(id))
    if (request === undefined || request.kind !== answer.kind || request.name !== answer.name) return undefined
    if (!sameEndpoint(request.endpoint, answer.endpoint)) return undefined
    if (answer.now - request.sentAt >= validFor[request.kind]) return undefined
    this.#requests.delete(toHex(id))
    return request
  }

  /** Forgets what can no longer be answered. */
  prune(now: number): void {
    for (const [id, request] of this.#requests) {
      if (now - request.sentAt >= validFor[request.kind]) this.#requests.delete(id)
    }
  }
}

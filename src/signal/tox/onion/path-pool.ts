/**
 * Onion paths (Tox specification, "Onion", path building): three nodes, with two temporary key pairs so that only the
 * first learns who we are. Six slots; a path is replaced when its requests stay unanswered, or after 20 minutes.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import { concatBytes, equalBytes } from '../../../util/bytes.ts'
import { type Random, randomBelow } from '../../../util/random.ts'
import { createKeyPair, nonceBytes, seal, sharedKey } from '../crypto.ts'
import type { NodeContact } from '../packed-node.ts'
import { encodeOnionRequest, encodeOnionStep } from '../packets/onion-layers.ts'
import type { PeerBox } from '../peer-box.ts'
import { type HopPool, rate, unknownQuality } from './hop-pool.ts'

interface Layer {
  readonly publicKey: Uint8Array
  readonly sharedKey: Uint8Array
}

export interface OnionPath {
  readonly hops: readonly [NodeContact, NodeContact, NodeContact]
  readonly second: Layer
  readonly third: Layer
  readonly createdAt: number
  /** Whether anything ever came back. */
  proven: boolean
  quality: number
}

const slotCount = 6
const lifetime = 1_200_000

/** A path below this is replaced: two failures of a new one, six of a good one. */
const deadBelow = 0.2

export interface PathPoolOptions {
  readonly hops: HopPool
  /** Boxes of the DHT key pair, for the first layer. */
  readonly box: PeerBox
  readonly dhtKey: Uint8Array
  readonly random: Random
}

export class PathPool {
  readonly #options: PathPoolOptions
  readonly #slots: (OnionPath | undefined)[] = new Array<OnionPath | undefined>(slotCount).fill(undefined)

  constructor(options: PathPoolOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#slots.filter((path) => path !== undefined).length
  }

  /** Whether a path is still one of the pool and usable. */
  alive(path: OnionPath, now: number): boolean {
    return this.#slots.includes(path) && this.#usable(path, now)
  }

  get proven(): boolean {
    return this.#slots.some((path) => path?.proven === true)
  }

  /** A path for a request to `destination`: of two at random the better one, made new when its slot is free. */
  choose(destination: NodeContact, now: number, not?: OnionPath): OnionPath | undefined {
    const first = this.#at(randomBelow(this.#options.random, slotCount), now)
    const second = this.#at(randomBelow(this.#options.random, slotCount), now)
    if (first === undefined || second === undefined) return first ?? second
    return score(first, destination, not) >= score(second, destination, not) ? first : second
  }

  /**
   * Notes whether a request over this path was answered; its hops are rated with it. `doubtful`: it was not, but the node
   * asked may be the one that is gone.
   */
  note(path: OnionPath, outcome: 'answered' | 'unanswered' | 'doubtful', now: number): void {
    const { hops } = this.#options
    hops.noteOutcome(outcome === 'answered')
    if (outcome === 'answered') path.proven = true
    if (outcome === 'doubtful' && path.proven) {
      path.quality *= 0.85
      return
    }
    const worked = outcome === 'answered'
    path.quality = path.proven ? rate(path.quality, worked) : path.quality * 0.6
    for (const hop of new Set(path.hops)) hops.note(hop, worked, now)
  }

  /** The datagram that carries `data` over the path to `destination`. It goes to the path's first hop. */
  wrap(path: OnionPath, destination: Endpoint, data: Uint8Array): Uint8Array | undefined {
    const [first, second, third] = path.hops
    const nonce = this.#options.random.bytes(nonceBytes)
    const forThird = seal(path.third.sharedKey, nonce, encodeOnionStep({ next: destination, rest: data }))
    const rest = concatBytes(path.third.publicKey, forThird)
    const forSecond = seal(path.second.sharedKey, nonce, encodeOnionStep({ next: third.endpoint, rest }))
    const step = encodeOnionStep({ next: second.endpoint, rest: concatBytes(path.second.publicKey, forSecond) })
    const boxed = this.#options.box.seal(first.publicKey, nonce, step)
    if (boxed === undefined) return undefined
    return encodeOnionRequest({
      layer: 0,
      nonce,
      sender: this.#options.dhtKey,
      boxed,
      returnPath: new Uint8Array(),
    })
  }

  #at(slot: number, now: number): OnionPath | undefined {
    const path = this.#slots[slot]
    if (path !== undefined && this.#usable(path, now)) return path
    this.#slots[slot] = this.#build(now)
    return this.#slots[slot]
  }

  #build(now: number): OnionPath | undefined {
    const hops = this.#options.hops.choosePath(now)
    if (hops === undefined) return undefined
    const [, second, third] = hops
    const secondLayer = this.#layer(second)
    const thirdLayer = this.#layer(third)
    if (secondLayer === undefined || thirdLayer === undefined) return undefined
    return {
      hops,
      second: secondLayer,
      third: thirdLayer,
      createdAt: now,
      proven: false,
      quality: unknownQuality,
    }
  }

  #usable(path: OnionPath, now: number): boolean {
    if (path.quality < deadBelow || now - path.createdAt >= lifetime) return false
    return !path.hops.some((hop) => this.#options.hops.silent(hop, now))
  }

  #layer(hop: NodeContact): Layer | undefined {
    const pair = createKeyPair(this.#options.random)
    const key = sharedKey(hop.publicKey, pair.secretKey)
    pair.secretKey.wipe()
    return key === undefined ? undefined : { publicKey: pair.publicKey, sharedKey: key }
  }
}

/** Prefers working paths, and those on which the destination is not itself the last hop. */
function score(path: OnionPath, destination: NodeContact, not: OnionPath | undefined): number {
  const toItself = equalBytes(path.hops[2].publicKey, destination.publicKey) ? 0.3 : 0
  return path.quality - toItself - (path === not ? 1 : 0)
}

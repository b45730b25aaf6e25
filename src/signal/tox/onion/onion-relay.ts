/**
 * The onion hop (Tox specification, "Onion"): opens one layer of requests and sends them on, sends answers back. Keeps
 * nothing per packet: the way back travels with it, sealed under a key that is changed every two hours.
 */

import type { Endpoint } from '../../../api/endpoint.ts'
import { concatBytes } from '../../../util/bytes.ts'
import type { Random } from '../../../util/random.ts'
import { nonceBytes, open, seal, sharedKeyBytes } from '../crypto.ts'
import { Drops } from '../drops.ts'
import { isLocal } from '../local-address.ts'
import { decodeOnionAddress, encodeOnionAddress, isIpv4, onionAddressBytes } from '../packed-node.ts'
import {
  decodeOnionRequest,
  decodeOnionResponse,
  decodeOnionStep,
  encodeOnionResponse,
  type OnionRequest,
  type OnionResponse,
} from '../packets/onion-layers.ts'
import type { PeerBox } from '../peer-box.ts'
import { TokenBucket } from '../token-bucket.ts'

export interface OnionRelayEffect {
  readonly kind: 'send'
  readonly bytes: Uint8Array
  readonly to: Endpoint
}

export interface OnionRelayOptions {
  /** Boxes of the DHT key pair. */
  readonly box: PeerBox
  readonly random: Random
}

type DropReason = 'malformed' | 'undecryptable' | 'rate limit' | 'address not served' | 'not an onion payload'

/** As in c-toxcore. The key before stays valid for as long, so that no path dies of the change alone. */
const keyLifetime = 7_200_000

/** Our choice: packets carried for others a second. */
const packetsPerSecond = 300

/** What may leave the third hop, and what may return to the sender: nothing else is carried for strangers. */
const requestPayloads: readonly number[] = [0x83, 0x85, 0x87]
const responsePayloads: readonly number[] = [0x84, 0x86, 0x88]

export class OnionRelay {
  readonly #box: PeerBox
  readonly #random: Random
  readonly #rate: TokenBucket = new TokenBucket({ rate: packetsPerSecond })
  readonly #drops: Drops<DropReason> = new Drops()
  #keys: { readonly current: Uint8Array; readonly previous: Uint8Array; readonly since: number } | undefined
  #forwarded = 0

  constructor(options: OnionRelayOptions) {
    this.#box = options.box
    this.#random = options.random
  }

  /** Whether datagrams with this first byte are for `receive`: 0x80..0x82, 0x8c..0x8e. */
  static handles(kind: number): boolean {
    return (kind >= 0x80 && kind <= 0x82) || (kind >= 0x8c && kind <= 0x8e)
  }

  /** Takes one datagram whose first byte `handles`. Never throws; what is not valid is dropped and counted. */
  receive(bytes: Uint8Array, from: Endpoint, now: number): readonly OnionRelayEffect[] {
    const result = this.#step(bytes, from, now)
    if (typeof result === 'string') {
      this.#drops.count(result)
      return []
    }
    this.#forwarded += 1
    return [result]
  }

  stats(): { readonly forwarded: number; readonly dropped: Readonly<Record<string, number>> } {
    return { forwarded: this.#forwarded, dropped: this.#drops.counts() }
  }

  #step(bytes: Uint8Array, from: Endpoint, now: number): OnionRelayEffect | DropReason {
    const request = decodeOnionRequest(bytes)
    if (request !== undefined) return this.#forward(request, from, now)
    const response = decodeOnionResponse(bytes)
    if (response !== undefined) return this.#return(response, now)
    return 'malformed'
  }

  #forward(request: OnionRequest, from: Endpoint, now: number): OnionRelayEffect | DropReason {
    if (!this.#rate.take(now)) return 'rate limit'
    const plain = this.#box.open(request.sender, request, now)
    if (plain === undefined) return 'undecryptable'
    const step = decodeOnionStep(plain)
    if (step === undefined) return 'malformed'
    if (!isIpv4(step.next) || (isLocal(step.next) && !isLocal(from))) return 'address not served'
    if (request.layer === 2 && !requestPayloads.includes(step.rest[0] ?? 0)) return 'not an onion payload'
    const nonce = this.#random.bytes(nonceBytes)
    const wayBack = concatBytes(encodeOnionAddress(from), request.returnPath)
    const returnPath = concatBytes(nonce, seal(this.#currentKeys(now).current, nonce, wayBack))
    const next = request.layer === 2 ? [] : [Uint8Array.of(0x81 + request.layer), request.nonce]
    // The opened layer was longer than the return path it makes room for: no packet grows.
    return { kind: 'send', bytes: concatBytes(...next, step.rest, returnPath), to: step.next }
  }

  #return(response: OnionResponse, now: number): OnionRelayEffect | DropReason {
    if (!this.#rate.take(now)) return 'rate limit'
    if (!responsePayloads.includes(response.reply[0] ?? 0)) return 'not an onion payload'
    const { current, previous } = this.#currentKeys(now)
    const nonce = response.returnPath.subarray(0, nonceBytes)
    const boxed = response.returnPath.subarray(nonceBytes)
    const wayBack = open(current, nonce, boxed) ?? open(previous, nonce, boxed)
    if (wayBack === undefined) return 'undecryptable'
    const to = decodeOnionAddress(wayBack.subarray(0, onionAddressBytes))
    if (to === undefined) return 'malformed'
    const { reply, hops } = response
    if (hops === 1) return { kind: 'send', bytes: reply.slice(), to }
    const returnPath = wayBack.subarray(onionAddressBytes)
    return { kind: 'send', bytes: encodeOnionResponse({ hops: hops === 3 ? 2 : 1, returnPath, reply }), to }
  }

  #currentKeys(now: number): { readonly current: Uint8Array; readonly previous: Uint8Array } {
    const keys = this.#keys
    if (keys !== undefined && now - keys.since < keyLifetime) return keys
    const current = this.#random.bytes(sharedKeyBytes)
    this.#keys = { current, previous: keys?.current ?? this.#random.bytes(sharedKeyBytes), since: now }
    return this.#keys
  }
}

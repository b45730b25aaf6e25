/**
 * What two friends say to each other on a confirmed crypto connection. Tox protocol specification, "friend_connection"
 * and "Messenger": ONLINE, alive, text messages, custom packets. Leaves out names, status, typing, files, calls,
 * conferences and shared relays; packets of these kinds are taken and not looked at.
 */

import { assertNever } from '../../util/assert-never.ts'
import { concatBytes, fromUtf8, toUtf8 } from '../../util/bytes.ts'

export const aliveId = 16
const onlineId = 24
const offlineId = 25
const messageId = 64
const firstCustomLosslessId = 160
const lastCustomLosslessId = 191
const firstCustomLossyId = 200
const lastCustomLossyId = 254

/** From the specification, ms. */
const aliveInterval = 8_000
const aliveTimeout = 32_000

/** Longest text or custom data in bytes: a packet less its id. */
export const maximumMessageBytes = 1_372

type FriendState =
  | { readonly kind: 'offline' }
  /** The session is confirmed; the friend has not said ONLINE. */
  | { readonly kind: 'meeting'; readonly heardAt: number; readonly aliveAt: number }
  | { readonly kind: 'online'; readonly heardAt: number; readonly aliveAt: number }

export type FriendConnectionEffect =
  /** A lossless packet for the crypto connection. */
  | { readonly kind: 'packet'; readonly packet: Uint8Array }
  | { readonly kind: 'online' }
  | { readonly kind: 'offline'; readonly reason: string }
  | { readonly kind: 'message'; readonly text: string }
  /** Id (160..191 lossless, 200..254 lossy) and data. */
  | { readonly kind: 'custom'; readonly packet: Uint8Array }
  /** The crypto connection must end. */
  | { readonly kind: 'kill'; readonly reason: string }

export class FriendConnection {
  #state: FriendState = { kind: 'offline' }
  #dropped = 0

  get online(): boolean {
    return this.#state.kind === 'online'
  }

  /** Packets that said nothing at their time, or no valid text. */
  get dropped(): number {
    return this.#dropped
  }

  /** The crypto connection is confirmed. */
  confirmed(now: number): FriendConnectionEffect[] {
    this.#state = { kind: 'meeting', heardAt: now, aliveAt: now + aliveInterval }
    return [{ kind: 'packet', packet: Uint8Array.of(onlineId) }]
  }

  /** The crypto connection ended. */
  closed(reason: string): FriendConnectionEffect[] {
    const wasOnline = this.online
    this.#state = { kind: 'offline' }
    return wasOnline ? [{ kind: 'offline', reason }] : []
  }

  /** A packet of the crypto connection, lossless ones in their order. */
  receive(packet: Uint8Array, now: number): FriendConnectionEffect[] {
    const state = this.#state
    if (state.kind === 'offline') return this.#drop()
    this.#state = { ...state, heardAt: now }
    const id = packet[0] ?? 0
    if (id === onlineId) return this.#takeOnline(now)
    if (id === offlineId) return this.closed('it removed this device')
    if (id === messageId) return this.#takeMessage(packet)
    const custom =
      (id >= firstCustomLosslessId && id <= lastCustomLosslessId) ||
      (id >= firstCustomLossyId && id <= lastCustomLossyId)
    if (!custom) return []
    return this.online ? [{ kind: 'custom', packet }] : this.#drop()
  }

  tick(now: number): FriendConnectionEffect[] {
    const state = this.#state
    switch (state.kind) {
      case 'offline':
        return []
      case 'meeting':
      case 'online':
        if (now >= state.heardAt + aliveTimeout) return [{ kind: 'kill', reason: 'nothing was heard for 32 s' }]
        if (now < state.aliveAt) return []
        this.#state = { ...state, aliveAt: now + aliveInterval }
        return [{ kind: 'packet', packet: alivePacket() }]
      default:
        return assertNever(state)
    }
  }

  /** When `tick` is next needed, ms. */
  get deadline(): number | undefined {
    const state = this.#state
    return state.kind === 'offline' ? undefined : Math.min(state.aliveAt, state.heardAt + aliveTimeout)
  }

  #takeOnline(now: number): FriendConnectionEffect[] {
    if (this.#state.kind !== 'meeting') return []
    this.#state = { ...this.#state, kind: 'online', heardAt: now }
    return [{ kind: 'online' }]
  }

  #takeMessage(packet: Uint8Array): FriendConnectionEffect[] {
    const text = fromUtf8(packet.subarray(1))
    if (text === undefined || text === '' || !this.online) return this.#drop()
    return [{ kind: 'message', text }]
  }

  #drop(): FriendConnectionEffect[] {
    this.#dropped += 1
    return []
  }
}

/** alive: id 16 and nothing else. Lossless, so it also asks for an acknowledgement. */
export function alivePacket(): Uint8Array {
  return Uint8Array.of(aliveId)
}

/** OFFLINE: we remove the friend. */
export function offlinePacket(): Uint8Array {
  return Uint8Array.of(offlineId)
}

/** A text message (id 64); `undefined` when it is not 1..1372 bytes of UTF-8. */
export function messagePacket(text: string): Uint8Array | undefined {
  const bytes = toUtf8(text)
  if (bytes.length === 0 || bytes.length > maximumMessageBytes) return undefined
  return concatBytes(Uint8Array.of(messageId), bytes)
}

/** A custom lossless packet; `undefined` when the id is not 160..191 or there are more than 1372 bytes of data. */
export function customPacket(id: number, data: Uint8Array): Uint8Array | undefined {
  if (id < firstCustomLosslessId || id > lastCustomLosslessId || data.length > maximumMessageBytes) return undefined
  return concatBytes(Uint8Array.of(id), data)
}

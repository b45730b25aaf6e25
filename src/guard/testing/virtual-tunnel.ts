/**
 * For tests: guards in virtual time, on a network that loses, delays, reorders and repeats datagrams by a seed. Everything
 * between the TUN device and the socket is the real code.
 */

import { type Endpoint, formatEndpoint } from '../../api/endpoint.ts'
import { SecretKey, type TunnelPublicKey, tunnelPublicKey } from '../../api/keys.ts'
import type { GuardEvent, GuardPeer, GuardPeerOptions, GuardStatus, Path, PathStatus } from '../../api/roles.ts'
import type { Clock } from '../../util/clock.ts'
import { Listeners } from '../../util/listeners.ts'
import { type Random, randomUint32 } from '../../util/random.ts'
import type { DataPlane, DataPlaneCommand, DataPlaneEvent } from '../dataplane/data-plane.ts'
import { PlainDataPlane, type PlainDataPlaneOptions } from '../dataplane/plain.ts'
import { EmbeddedGuard, type EmbeddedGuardOptions } from '../embedded.ts'
import { importKeyPair } from '../wireguard/crypto.ts'

/** A repeatable source of bytes: xoshiro128**. */
export function seededRandom(seed: number): Random {
  const state = Uint32Array.of(seed ^ 0x9e3779b9, seed + 0x243f6a88, ~seed, 0xb7e15162)
  const next = (): number => {
    const [a = 0, b = 0, c = 0, d = 0] = state
    const product = Math.imul(b, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0
    state[2] = c ^ a
    state[3] = d ^ b
    state[1] = b ^ (c ^ a)
    state[0] = a ^ (d ^ b)
    state[2] = c ^ a ^ (b << 9)
    const last = d ^ b
    state[3] = (last << 11) | (last >>> 21)
    return result
  }
  return { bytes: (length) => Uint8Array.from({ length }, () => next() >>> 24) }
}

interface Timer {
  readonly at: number
  readonly order: number
  readonly wake: () => void
}

/** Time that passes only when a test lets it. */
export class VirtualClock implements Clock {
  #now = 1_000
  #wallOffset = 1_800_000_000_000
  #timers: Timer[] = []
  #order = 0

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return this.#now + this.#wallOffset
  }

  /** Sets the wall clock back or forth; monotonic time does not notice. */
  jumpWallTime(by: number): void {
    this.#wallOffset += by
  }

  after(delay: number, wake: () => void): Disposable {
    const timer = { at: this.#now + Math.max(0, delay), order: this.#order++, wake }
    this.#timers.push(timer)
    return {
      [Symbol.dispose]: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }

  get timerCount(): number {
    return this.#timers.length
  }

  /** Lets `duration` ms pass. */
  pass(duration: number): void {
    const end = this.#now + duration
    for (;;) {
      let first: Timer | undefined
      for (const timer of this.#timers) {
        if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
          first = timer
      }
      if (first === undefined || first.at > end) break
      this.#timers.splice(this.#timers.indexOf(first), 1)
      this.#now = Math.max(this.#now, first.at)
      first.wake()
    }
    this.#now = end
  }
}

export interface NetworkOptions {
  readonly clock: VirtualClock
  readonly random: Random
  /** ms one way, at least and at most: a range reorders. */
  readonly delay?: readonly [number, number]
  /** 0..1 */
  readonly loss?: number
  readonly duplicates?: number
}

type Receiver = (bytes: Uint8Array, from: Endpoint) => void

export class VirtualNetwork {
  readonly #options: NetworkOptions
  readonly #receivers: Map<string, Receiver> = new Map()
  /** Every datagram that was sent, also the lost ones; for tests that look or send again. */
  readonly sent: { readonly bytes: Uint8Array; readonly from: Endpoint; readonly to: Endpoint }[] = []
  /** Keeps back what it returns true for. */
  filter: (bytes: Uint8Array, from: Endpoint, to: Endpoint) => boolean = () => false
  /** Whether `sent` is filled. */
  isRecording = true

  constructor(options: NetworkOptions) {
    this.#options = options
  }

  listen(at: Endpoint, receiver: Receiver): Disposable {
    this.#receivers.set(formatEndpoint(at), receiver)
    return { [Symbol.dispose]: () => void this.#receivers.delete(formatEndpoint(at)) }
  }

  send(bytes: Uint8Array, route: { readonly from: Endpoint; readonly to: Endpoint }): void {
    const { from, to } = route
    const copy = Uint8Array.from(bytes)
    if (this.isRecording) this.sent.push({ bytes: copy, from, to })
    if (this.filter(copy, from, to)) return
    const { clock, delay = [10, 10], loss = 0, duplicates = 0 } = this.#options
    const copies = this.#chance(loss) ? 0 : this.#chance(duplicates) ? 2 : 1
    for (let count = 0; count < copies; count++) {
      const after = delay[0] + this.#fraction() * (delay[1] - delay[0])
      clock.after(after, () => this.#receivers.get(formatEndpoint(to))?.(copy, from))
    }
  }

  #chance(probability: number): boolean {
    return probability > 0 && this.#fraction() < probability
  }

  #fraction(): number {
    return randomUint32(this.#options.random) / 2 ** 32
  }
}

/** A data plane as far away as a busy worker: what control says and what it hears arrives later, in order. */
class LateDataPlane implements DataPlane {
  readonly #plane: DataPlane
  readonly #delay: number
  readonly #clock: Clock

  constructor(plane: DataPlane, delay: number, clock: Clock) {
    this.#plane = plane
    this.#delay = delay
    this.#clock = clock
  }

  get status(): GuardStatus {
    return this.#plane.status
  }

  apply(command: DataPlaneCommand): void {
    this.#clock.after(this.#delay, () => this.#plane.apply(command))
  }

  listen(listener: (event: DataPlaneEvent) => void): void {
    this.#plane.listen((event) => {
      const kept = event.kind === 'report' ? event : { ...event, bytes: Uint8Array.from(event.bytes) }
      this.#clock.after(this.#delay, () => listener(kept))
    })
  }

  dropped(): Readonly<Record<string, number>> {
    return this.#plane.dropped()
  }

  [Symbol.dispose](): void {
    this.#plane[Symbol.dispose]()
  }
}

/** One device: an embedded guard with a TUN and a socket of the virtual network. */
export class VirtualDevice {
  readonly guard: EmbeddedGuard
  readonly publicKey: TunnelPublicKey
  /** Packets that came out of the tunnel. */
  readonly packets: Uint8Array[] = []
  isTunClosed = false
  endpoint: Endpoint
  readonly #network: VirtualNetwork
  #socket: Disposable | undefined
  #fromSocket: Receiver = () => {}
  #fromTun: (packet: Uint8Array) => void = () => {}

  constructor(
    options: {
      readonly network: VirtualNetwork
      readonly endpoint: Endpoint
      readonly secret: Uint8Array
      /** ms by which every command to the data plane and every report from it is late. */
      readonly planeDelay?: number
    } & Pick<EmbeddedGuardOptions, 'clock' | 'random'> &
      Partial<EmbeddedGuardOptions>,
  ) {
    const { network, endpoint, secret, planeDelay = 0, ...rest } = options
    this.#network = network
    this.endpoint = endpoint
    const publicKey = tunnelPublicKey(importKeyPair(secret).publicKey)
    if (publicKey === undefined) throw new Error('No public key')
    this.publicKey = publicKey
    const outside: PlainDataPlaneOptions & Pick<EmbeddedGuardOptions, 'tun'> = {
      clock: rest.clock,
      underlay: {
        send: (bytes, to) => network.send(bytes, { from: this.endpoint, to }),
        route: (_kind, receiver) => {
          this.#fromSocket = receiver
          return {
            [Symbol.dispose]: () => {
              this.#fromSocket = () => {}
            },
          }
        },
      },
      tun: {
        name: 'virtual0',
        mtu: 1420,
        write: (packet) => void this.packets.push(Uint8Array.from(packet)),
        receive: (receiver) => {
          this.#fromTun = receiver
        },
        [Symbol.asyncDispose]: async () => {
          this.isTunClosed = true
        },
      },
    }
    const late =
      planeDelay === 0 ? {} : { dataPlane: new LateDataPlane(new PlainDataPlane(outside), planeDelay, rest.clock) }
    this.guard = new EmbeddedGuard({
      ...outside,
      ...late,
      privateKey: new SecretKey(Uint8Array.from(secret)),
      ...rest,
    })
    this.moveTo(endpoint)
  }

  /** The device's socket is now there, as after a change of network. */
  moveTo(endpoint: Endpoint): void {
    this.#socket?.[Symbol.dispose]()
    this.endpoint = endpoint
    this.#socket = this.#network.listen(endpoint, (bytes, from) => this.#fromSocket(bytes, from))
  }

  /** An inner packet enters the tunnel. */
  send(packet: Uint8Array): void {
    this.#fromTun(packet)
  }

  /** A datagram arrives, from wherever it says. */
  inject(bytes: Uint8Array, from: Endpoint): void {
    this.#fromSocket(bytes, from)
  }

  async addPeer(options: GuardPeerOptions): Promise<VirtualPeer> {
    return new VirtualPeer(await this.guard.addPeer(options))
  }
}

/** A peer of a device, with what it said so far. */
export class VirtualPeer {
  readonly peer: GuardPeer
  readonly events: GuardEvent['kind'][] = []

  constructor(peer: GuardPeer) {
    this.peer = peer
    peer.subscribe((event) => this.events.push(event.kind))
  }

  count(kind: GuardEvent['kind']): number {
    return this.events.filter((event) => event === kind).length
  }
}

/** A path to a fixed place, which a test can move. */
export class VirtualPath implements Path {
  readonly lost: Promise<string> = new Promise(() => {})
  readonly #moves: Listeners<Endpoint> = new Listeners()
  #remote: Endpoint

  constructor(remote: Endpoint) {
    this.#remote = remote
  }

  status(): PathStatus {
    return { kind: 'host', remote: this.#remote, mapped: undefined, roundTrip: undefined }
  }

  move(remote: Endpoint): void {
    this.#remote = remote
    this.#moves.emit(remote)
  }

  subscribe(listener: (remote: Endpoint) => void): Disposable {
    return this.#moves.add(listener)
  }

  check(): void {}

  acceptResume(): Disposable {
    return { [Symbol.dispose]: () => {} }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** An IPv4 packet with a payload of a length or of given bytes. */
export function ipv4Packet(options: {
  readonly from: string
  readonly to: string
  readonly payload: number | Uint8Array
}): Uint8Array {
  const payload = typeof options.payload === 'number' ? new Uint8Array(options.payload) : options.payload
  const packet = new Uint8Array(20 + payload.length)
  packet[0] = 0x45
  new DataView(packet.buffer).setUint16(2, packet.length)
  packet.set(options.from.split('.').map(Number), 12)
  packet.set(options.to.split('.').map(Number), 16)
  packet.set(payload, 20)
  return packet
}

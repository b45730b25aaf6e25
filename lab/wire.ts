/**
 * The lab's internet between TUN interfaces: each packet a host sends is read from its interface, carried by lab/model
 * and written, readdressed, into the interface of the host it reaches, cut where a line cut it. Fragments are put together
 * first. Anything but IPv4 UDP, TCP and echo is dropped.
 */

import type { Tun } from '../src/net/tun/tun.ts'
import type { Clock } from '../src/util/clock.ts'
import { DeadlineTimer } from '../src/util/deadline-timer.ts'
import { type Random, systemRandom } from '../src/util/random.ts'
import { type Host, type HostOptions, Internet, type InternetStats } from './model/internet.ts'
import { cutIpPacket, isFragment, mustStayWhole, Reassembly } from './model/ip-fragments.ts'
import { decodeIpPacket, type IpPacket, rewriteIpPacket } from './model/ip-packet.ts'

/** The bytes as the sender wrote them, and what they say. */
interface Carried {
  readonly bytes: Uint8Array
  readonly packet: IpPacket
}

/** Bytes of IP packets that a host sent and that reached it. */
export interface Traffic {
  readonly sent: number
  readonly received: number
}

interface Plug {
  readonly tun: Tun
  sent: number
  received: number
}

export class Wire implements Disposable {
  readonly internet: Internet<Carried>
  readonly #clock: Clock
  readonly #timer: DeadlineTimer
  readonly #plugs: Map<Host, Plug> = new Map()
  readonly #reassembly: Reassembly = new Reassembly()
  #unreadable = 0

  /** With a `random` of a seed, lines lose and delay the same packets in every run, by their number. */
  constructor(clock: Clock, random: Random = systemRandom) {
    this.#clock = clock
    this.#timer = new DeadlineTimer(clock, () => this.#deliver())
    this.internet = new Internet({
      random,
      copy: ({ bytes, packet }) => ({ bytes: bytes.slice(), packet }),
    })
  }

  /** Joins an interface to the internet as a host. */
  attach(tun: Tun, options: HostOptions): Host {
    const host = this.internet.addHost(options)
    const plug = { tun, sent: 0, received: 0 }
    this.#plugs.set(host, plug)
    tun.receive((bytes) => {
      plug.sent += bytes.length
      if (!isFragment(bytes)) this.#send(host, bytes.slice())
      else {
        const whole = this.#reassembly.add(bytes, this.#clock.now())
        if (whole !== undefined) this.#send(host, whole.bytes, whole.largestPiece)
      }
    })
    return host
  }

  detach(host: Host): void {
    this.internet.removeHost(host)
    this.#plugs.delete(host)
  }

  /** Since it was attached. */
  traffic(host: Host): Traffic {
    const { sent = 0, received = 0 } = this.#plugs.get(host) ?? {}
    return { sent, received }
  }

  /** `unreadable`: packets that are no whole IPv4 UDP, TCP or echo. */
  stats(): InternetStats & { readonly unreadable: number } {
    return { ...this.internet.stats(), unreadable: this.#unreadable }
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
    this.#plugs.clear()
  }

  /** `cutTo`: the sender has cut it itself, into pieces of so many bytes. */
  #send(host: Host, bytes: Uint8Array, cutTo?: number): void {
    const packet = decodeIpPacket(bytes)
    if (packet === undefined) {
      this.#unreadable++
      return
    }
    const { flow, ttl } = packet
    const whole = mustStayWhole(bytes)
    const carried = { flow, ttl, size: bytes.length, payload: { bytes, packet }, whole, cutTo }
    this.internet.send(host, carried, this.#clock.now())
    this.#deliver()
  }

  #deliver(): void {
    for (;;) {
      const delivery = this.internet.next(this.#clock.now())
      if (delivery === undefined) break
      const { bytes, packet } = delivery.packet.payload
      rewriteIpPacket(bytes, packet, delivery.packet)
      const plug = this.#plugs.get(delivery.host)
      if (plug === undefined) continue
      plug.received += bytes.length
      const { cutTo } = delivery.packet
      if (cutTo === undefined) plug.tun.write(bytes)
      else for (const piece of cutIpPacket(bytes, cutTo)) plug.tun.write(piece)
    }
    this.#timer.set(this.internet.deadline)
  }
}

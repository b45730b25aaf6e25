/**
 * A small internet as a pure queue of packets with deadlines: segments of addresses, hosts on them, and sites, each a
 * LAN behind a NAT (sites nest: a carrier's NAT is a site whose LAN has sites). Every member is joined to its segment by
 * a line of two links. TTL falls at every NAT and at the router of the public segment. A packet that a link cuts is
 * lost when one piece is; NATs see it whole, as routers with connection tracking do. No ICMP errors.
 */

import type { Random } from '../../src/util/random.ts'
import { Generator } from './generator.ts'
import { type Flow, formatIpv4 } from './ipv4.ts'
import { Link, type LinkSettings } from './link.ts'
import { Nat, type NatDrop, type NatOptions, type NatStats } from './nat.ts'
import { TimeQueue } from './time-queue.ts'

export interface Packet<Payload> {
  readonly flow: Flow
  readonly ttl: number
  /** Length with the IP header, bytes. */
  readonly size: number
  readonly payload: Payload
  /** It may not be cut (DF). */
  readonly whole?: boolean | undefined
  /** The narrowest link that cut it, bytes. */
  readonly cutTo?: number | undefined
}

export interface Delivery<Payload> {
  readonly host: Host
  readonly packet: Packet<Payload>
}

export type InternetDrop = NatDrop | 'lost' | 'no-route' | 'ttl' | 'foreign-source' | 'overflow' | 'too-large'

export interface InternetStats {
  readonly sent: number
  readonly delivered: number
  readonly dropped: Readonly<Partial<Record<InternetDrop, number>>>
}

interface Line {
  readonly up: Link
  readonly down: Link
}

interface Segment {
  readonly kind: 'segment'
  readonly members: Map<number, Host | Site>
  /** The way out; absent on the public segment. */
  readonly gateway: Site | undefined
}

/** An attached machine. Made by `Internet` only. */
export interface Host {
  readonly kind: 'host'
  readonly segment: Segment
  readonly line: Line
  readonly addresses: readonly number[]
}

/** A NAT with what is behind it. Made by `Internet` only. */
export interface Site {
  readonly kind: 'site'
  readonly outer: Segment
  readonly inner: Segment
  readonly line: Line
  readonly nat: Nat
}

type Place = Segment | Host | Site

interface Arrival<Payload> {
  readonly place: Place
  readonly packet: Packet<Payload>
}

export interface HostOptions {
  readonly addresses: readonly number[]
  /** Behind which NAT; none: on the public segment. */
  readonly site?: Site
  readonly link?: Partial<LinkSettings>
}

export interface SiteOptions extends Omit<NatOptions, 'random'> {
  /** Behind which other NAT; none: on the public segment. */
  readonly site?: Site
  readonly link?: Partial<LinkSettings>
}

/** Packets under way at most; beyond, new ones are dropped. */
const maximumUnderWay = 100_000

export class Internet<Payload> {
  readonly #public: Segment = { kind: 'segment', members: new Map(), gateway: undefined }
  readonly #queue: TimeQueue<Arrival<Payload>> = new TimeQueue()
  readonly #random: Random
  readonly #copy: (payload: Payload) => Payload
  #sent = 0
  #delivered = 0
  readonly #dropped: Map<InternetDrop, number> = new Map()

  /** `copy` is used for packets that a link duplicates. */
  constructor(options: { readonly random: Random; readonly copy: (payload: Payload) => Payload }) {
    this.#random = options.random
    this.#copy = options.copy
  }

  addHost(options: HostOptions): Host {
    const segment = options.site?.inner ?? this.#public
    const host: Host = { kind: 'host', segment, line: this.#line(options.link), addresses: options.addresses }
    for (const address of host.addresses) join(segment, address, host)
    return host
  }

  addSite(options: SiteOptions): Site {
    const outer = options.site?.inner ?? this.#public
    const nat = new Nat({ ...options, random: this.#random })
    const inner: { gateway: Site | undefined } & Omit<Segment, 'gateway'> = {
      kind: 'segment',
      members: new Map(),
      gateway: undefined,
    }
    const site: Site = { kind: 'site', outer, inner, line: this.#line(options.link), nat }
    inner.gateway = site
    join(outer, nat.publicAddress, site)
    return site
  }

  /** Unplugs a host; packets to it are lost from now on. */
  removeHost(host: Host): void {
    for (const address of host.addresses) host.segment.members.delete(address)
  }

  /** Moves a site to another address of its outer segment; all its mappings are gone. */
  rebind(site: Site, publicAddress: number): void {
    if (publicAddress !== site.nat.publicAddress) {
      join(site.outer, publicAddress, site)
      site.outer.members.delete(site.nat.publicAddress)
    }
    site.nat.rebind(publicAddress)
  }

  /** Sends a packet from a host; it is delivered by a later `next`. */
  send(host: Host, packet: Packet<Payload>, now: number): void {
    this.#sent++
    if (!host.addresses.includes(packet.flow.source)) {
      this.#drop('foreign-source')
      return
    }
    const arrived = this.#carry(host.line.up, { place: host.segment, packet }, now)
    if (arrived !== undefined) this.#queue.push(now, arrived)
  }

  /** When `next` has something to do. */
  get deadline(): number | undefined {
    return this.#queue.deadline
  }

  /** The next packet that has arrived by `now`; to be called until there is none. */
  next(now: number): Delivery<Payload> | undefined {
    for (;;) {
      const at = this.#queue.deadline
      const arrival = this.#queue.pop(now)
      if (arrival === undefined || at === undefined) return undefined
      const arrived = this.#walk(arrival, at)
      if (arrived?.place.kind === 'host') {
        this.#delivered++
        return { host: arrived.place, packet: arrived.packet }
      }
    }
  }

  stats(): InternetStats {
    return { sent: this.#sent, delivered: this.#delivered, dropped: Object.fromEntries(this.#dropped) }
  }

  /** Takes a packet as far as it gets without waiting: to a host, into the queue, or nowhere. */
  #walk(from: Arrival<Payload>, now: number): Arrival<Payload> | undefined {
    let arrival: Arrival<Payload> | undefined = from
    while (arrival !== undefined) {
      const { place, packet }: Arrival<Payload> = arrival
      switch (place.kind) {
        case 'segment':
          arrival = this.#route(place, packet, now)
          break
        case 'site':
          arrival = this.#enter(place, packet, now)
          break
        case 'host':
          return arrival
      }
    }
    return undefined
  }

  #route(segment: Segment, packet: Packet<Payload>, now: number): Arrival<Payload> | undefined {
    const member = segment.members.get(packet.flow.destination)
    if (segment.gateway === undefined) {
      const onward = this.#hop(packet)
      if (onward === undefined) return undefined
      if (member === undefined) return this.#drop('no-route')
      return this.#carry(member.line.down, { place: member, packet: onward }, now)
    }
    if (member !== undefined) return this.#carry(member.line.down, { place: member, packet }, now)
    return this.#leave(segment.gateway, packet, now)
  }

  #leave(site: Site, packet: Packet<Payload>, now: number): Arrival<Payload> | undefined {
    const onward = this.#hop(packet)
    if (onward === undefined) return undefined
    const translation = site.nat.translateOutbound(onward.flow, now)
    if (translation.kind === 'dropped') return this.#drop(translation.reason)
    const translated = withFlow(onward, translation.flow, onward.ttl)
    if (translation.kind === 'inside') return { place: site.inner, packet: translated }
    return this.#carry(site.line.up, { place: site.outer, packet: translated }, now)
  }

  #enter(site: Site, packet: Packet<Payload>, now: number): Arrival<Payload> | undefined {
    const onward = this.#hop(packet)
    if (onward === undefined) return undefined
    const translation = site.nat.translateInbound(onward.flow, now)
    if (translation.kind === 'dropped') return this.#drop(translation.reason)
    return { place: site.inner, packet: withFlow(onward, translation.flow, onward.ttl) }
  }

  #hop(packet: Packet<Payload>): Packet<Payload> | undefined {
    if (packet.ttl > 1) return withFlow(packet, packet.flow, packet.ttl - 1)
    return this.#drop('ttl')
  }

  /** Gives a packet to a link. What arrives at once is returned, what arrives later is queued. */
  #carry(link: Link, arrival: Arrival<Payload>, now: number): Arrival<Payload> | undefined {
    if (this.#queue.size >= maximumUnderWay) return this.#drop('overflow')
    const pieces = link.pieces(arrival.packet.size, arrival.packet.whole === true)
    if (pieces.length === 0) return this.#drop('too-large')
    const carried = pieces.length === 1 ? arrival : { place: arrival.place, packet: cut(arrival.packet, link) }
    if (link.duplicates()) {
      const again = transmitAll(link, pieces, now)
      const packet = { ...carried.packet, payload: this.#copy(carried.packet.payload) }
      if (again !== undefined) this.#queue.push(again, { ...carried, packet })
    }
    const at = transmitAll(link, pieces, now)
    if (at === undefined) return this.#drop('lost')
    if (at <= now) return carried
    this.#queue.push(at, carried)
    return undefined
  }

  #drop(reason: InternetDrop): undefined {
    this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + 1)
    return undefined
  }

  #line(settings: Partial<LinkSettings> = {}): Line {
    const seed = this.#random.bytes(8).join('.')
    return {
      up: new Link(settings, new Generator(`${seed} up`)),
      down: new Link(settings, new Generator(`${seed} down`)),
    }
  }
}

/** Spelled out because it runs several times a packet: spreading costs three times as much. */
function withFlow<Payload>(packet: Packet<Payload>, flow: Flow, ttl: number): Packet<Payload> {
  return { flow, ttl, size: packet.size, payload: packet.payload, whole: packet.whole, cutTo: packet.cutTo }
}

function cut<Payload>(packet: Packet<Payload>, link: Link): Packet<Payload> {
  return { ...packet, cutTo: Math.min(packet.cutTo ?? Number.POSITIVE_INFINITY, link.settings.mtu) }
}

/** When the last piece arrives; `undefined` when one is lost. */
function transmitAll(link: Link, pieces: readonly number[], now: number): number | undefined {
  let last: number | undefined = now
  for (const size of pieces) {
    const at = link.transmit(size, now)
    last = at === undefined || last === undefined ? undefined : Math.max(last, at)
  }
  return last
}

/** What the NAT of a site did so far. */
export function siteStats(site: Site): NatStats {
  return site.nat.stats()
}

/** Changes both directions of a member's line. */
export function changeLine(member: Host | Site, settings: Partial<LinkSettings>): void {
  member.line.up.change(settings)
  member.line.down.change(settings)
}

function join(segment: Segment, address: number, member: Host | Site): void {
  if (segment.members.has(address)) throw new Error(`${formatIpv4(address)} is taken`)
  segment.members.set(address, member)
}

/**
 * The internet of the tests: lab/model in virtual time behind the `HostNetwork` that a device sees of its operating
 * system. UDP over IPv4. The same seed gives the same run, packet by packet.
 */

import {
  changeLine,
  type Host,
  Internet,
  type InternetStats,
  type Packet,
  type Site,
  siteStats,
} from '../../lab/model/internet.ts'
import { formatIpv4, ipv4, parseIpv4 } from '../../lab/model/ipv4.ts'
import { type SiteKind, type SiteKindName, siteKinds } from '../../lab/model/kinds.ts'
import type { LinkSettings } from '../../lab/model/link.ts'
import type { NatStats } from '../../lab/model/nat.ts'
import type { Endpoint } from '../../src/api/endpoint.ts'
import { PunchGuardError } from '../../src/api/errors.ts'
import type { DatagramSocket, HostNetwork } from '../../src/api/network.ts'
import type { Clock } from '../../src/util/clock.ts'
import { Listeners } from '../../src/util/listeners.ts'
import { SeededRandom } from './seeded-random.ts'

type Datagram = Uint8Array
type Receiver = (bytes: Uint8Array, from: Endpoint) => void

export interface SimulatedSiteOptions {
  readonly kind: SiteKind | SiteKindName
  /** How many hosts, or their LAN addresses. */
  readonly hosts: number | readonly string[]
  /** Of the line to the segment outside, each direction. */
  readonly link?: Partial<LinkSettings>
  /** Chosen when not given. */
  readonly publicAddress?: string
  /** Of an idle mapping, ms; 30 000 when not given. */
  readonly lifetime?: number
  readonly hairpinning?: boolean
  readonly inboundRefresh?: boolean
  /** A carrier's NAT: the public address is then one of that site's LAN. */
  readonly behind?: SimulatedSite
}

const headerBytes = 28
const defaultTtl = 64
const firstEphemeralPort = 49_152

export class SimulatedInternet {
  readonly clock: Clock
  readonly #internet: Internet<Datagram>
  /** Set to the next deadline, exactly: the shells' DeadlineTimer rounds up to whole milliseconds. */
  #timer: { readonly at: number; readonly handle: Disposable } | undefined
  readonly #random: SeededRandom
  readonly #hosts: Map<Host, SimulatedHost> = new Map()
  readonly #names: Map<string, string> = new Map()
  readonly #tap: Listeners<TappedPacket> = new Listeners()
  #sites = 0
  #handling = false

  constructor(options: { readonly clock: Clock; readonly seed: number | string }) {
    this.clock = options.clock
    this.#random = new SeededRandom(options.seed)
    this.#internet = new Internet({ random: this.#random, copy: (datagram) => datagram.slice() })
  }

  /** A machine with a public address of its own. */
  publicHost(address: string, options: { readonly link?: Partial<LinkSettings> } = {}): SimulatedHost {
    return this.#addHost({ addresses: [ipv4(address)], ...options })
  }

  /** Hosts behind one NAT; for kind `public`, hosts with public addresses one after another. */
  site(options: SimulatedSiteOptions): SimulatedSite {
    const kind = typeof options.kind === 'string' ? siteKinds[options.kind] : options.kind
    const number = ++this.#sites
    const carrier = options.behind?.site
    const address = ipv4(options.publicAddress ?? (carrier === undefined ? `100.${number}.0.1` : `10.200.${number}.1`))
    const hostAddresses =
      typeof options.hosts !== 'number'
        ? options.hosts.map(ipv4)
        : Array.from({ length: options.hosts }, (_, index) =>
            kind.kind === 'none' ? address + index : ipv4(`192.168.${number & 255}.${10 + index}`),
          )
    const line = {
      ...(options.link !== undefined && { link: options.link }),
      ...(carrier !== undefined && { site: carrier }),
    }
    const site =
      kind.kind === 'none'
        ? undefined
        : this.#internet.addSite({ ...options, ...kind, ...line, publicAddress: address })
    const hosts = hostAddresses.map((own) =>
      this.#addHost(site === undefined ? { addresses: [own], ...line } : { addresses: [own], site }),
    )
    return new SimulatedSite({ internet: this.#internet, hosts, site })
  }

  /** Makes a host name resolve; without an address it no longer does. */
  name(host: string, address: string | undefined): void {
    if (address === undefined) this.#names.delete(host)
    else this.#names.set(host, address)
  }

  /** Sees every packet as it is delivered, with the addresses it has then. `bytes` must not be changed. */
  tap(listener: (packet: TappedPacket) => void): Disposable {
    return this.#tap.add(listener)
  }

  stats(): InternetStats {
    return this.#internet.stats()
  }

  #addHost(options: {
    readonly addresses: readonly number[]
    readonly site?: Site
    readonly link?: Partial<LinkSettings>
  }): SimulatedHost {
    const host = this.#internet.addHost(options)
    const simulated = new SimulatedHost({
      host,
      addresses: options.addresses.map(formatIpv4),
      ephemeralPort: firstEphemeralPort + this.#random.below(8192),
      resolve: (name) => (parseIpv4(name) !== undefined ? name : this.#names.get(name)),
      send: (packet) => {
        this.#internet.send(host, packet, this.clock.now())
        if (!this.#handling) this.#arm()
      },
    })
    this.#hosts.set(host, simulated)
    return simulated
  }

  #arm(): void {
    const at = this.#internet.deadline
    if (at === this.#timer?.at) return
    this.#timer?.handle[Symbol.dispose]()
    this.#timer = undefined
    if (at === undefined) return
    const handle = this.clock.after(at - this.clock.now(), () => {
      this.#timer = undefined
      this.#deliver()
    })
    this.#timer = { at, handle }
  }

  #deliver(): void {
    this.#handling = true
    try {
      for (;;) {
        const delivery = this.#internet.next(this.clock.now())
        if (delivery === undefined) return
        const { flow, payload } = delivery.packet
        if (this.#tap.size > 0)
          this.#tap.emit({
            from: endpoint(flow.source, flow.sourcePort),
            to: endpoint(flow.destination, flow.destinationPort),
            bytes: payload,
          })
        this.#hosts.get(delivery.host)?.deliver(flow.destinationPort, payload, flow.source, flow.sourcePort)
      }
    } finally {
      this.#handling = false
      this.#arm()
    }
  }
}

export interface TappedPacket {
  readonly from: Endpoint
  readonly to: Endpoint
  readonly bytes: Uint8Array
}

export class SimulatedSite {
  readonly hosts: readonly SimulatedHost[]
  /** The model's own object; `undefined` for kind `public`. */
  readonly site: Site | undefined
  readonly #internet: Internet<Datagram>

  constructor(options: {
    readonly internet: Internet<Datagram>
    readonly hosts: readonly SimulatedHost[]
    readonly site: Site | undefined
  }) {
    this.hosts = options.hosts
    this.site = options.site
    this.#internet = options.internet
  }

  get publicAddress(): string | undefined {
    return this.site === undefined ? undefined : formatIpv4(this.site.nat.publicAddress)
  }

  /** Forgets every mapping and, if given, moves to another public address. */
  rebind(publicAddress?: string): void {
    const site = this.#nat()
    this.#internet.rebind(site, publicAddress === undefined ? site.nat.publicAddress : ipv4(publicAddress))
  }

  /** Changes the line outside in both directions, as `{ loss: 1 }` for a cut. */
  setLink(settings: Partial<LinkSettings>): void {
    for (const member of this.site === undefined ? this.hosts.map((host) => host.host) : [this.site]) {
      changeLine(member, settings)
    }
  }

  stats(): NatStats {
    return siteStats(this.#nat())
  }

  #nat(): Site {
    if (this.site === undefined) throw new Error('This site has no NAT')
    return this.site
  }
}

interface SimulatedHostOptions {
  readonly host: Host
  readonly addresses: readonly string[]
  readonly ephemeralPort: number
  readonly resolve: (host: string) => string | undefined
  readonly send: (packet: Packet<Datagram>) => void
}

export class SimulatedHost implements HostNetwork {
  readonly #options: SimulatedHostOptions
  readonly #sockets: Map<number, SimulatedSocket> = new Map()
  readonly #watchers: Listeners<void> = new Listeners()
  readonly #source: number
  #nextPort: number
  #unheard = 0

  constructor(options: SimulatedHostOptions) {
    this.#options = options
    this.#source = ipv4(this.address)
    this.#nextPort = options.ephemeralPort
  }

  /** The first address. */
  get address(): string {
    const [address] = this.#options.addresses
    if (address === undefined) throw new Error('A host needs an address')
    return address
  }

  /** The model's own object. */
  get host(): Host {
    return this.#options.host
  }

  /** Datagrams that came to a port where nobody listened. */
  get unheard(): number {
    return this.#unheard
  }

  async bindUdp(options: { readonly port: number }): Promise<DatagramSocket> {
    const port = options.port === 0 ? this.#freePort() : options.port
    if (this.#sockets.has(port)) {
      throw new PunchGuardError('ADDRESS_IN_USE', `UDP port ${port} is in use`, { hint: 'choose another port' })
    }
    const socket = new SimulatedSocket({
      port,
      send: (bytes, to, whole) => this.#send({ port, whole }, bytes, to),
      close: () => void this.#sockets.delete(port),
    })
    this.#sockets.set(port, socket)
    return socket
  }

  localAddresses(): readonly string[] {
    return this.#options.addresses
  }

  async resolve(host: string): Promise<string | undefined> {
    return this.#options.resolve(host)
  }

  watch(listener: () => void): Disposable {
    return this.#watchers.add(listener)
  }

  /** The operating system reports a change of the network, or the machine wakes from sleep. */
  announceChange(): void {
    this.#watchers.emit()
  }

  /** As if the machine lost power: every socket is gone, without a word to its owner. */
  restart(): void {
    for (const socket of [...this.#sockets.values()]) socket.sever()
    this.#sockets.clear()
  }

  /** For `SimulatedInternet`. */
  deliver(port: number, bytes: Uint8Array, source: number, sourcePort: number): void {
    const receiver = this.#sockets.get(port)?.receiver
    if (receiver === undefined) {
      this.#unheard++
      return
    }
    receiver(bytes, endpoint(source, sourcePort))
    // The bytes were the receiver's during the call only: whoever kept them finds this.
    bytes.fill(0xdd)
  }

  #send(as: { readonly port: number; readonly whole: boolean }, bytes: Uint8Array, to: Endpoint): void {
    const { port: sourcePort, whole } = as
    const destination = numbers.get(to.address) ?? parseIpv4(to.address)
    if (destination === undefined) return
    const flow = { protocol: 'udp', source: this.#source, sourcePort, destination, destinationPort: to.port } as const
    this.#options.send({ flow, ttl: defaultTtl, size: bytes.length + headerBytes, payload: bytes.slice(), whole })
  }

  #freePort(): number {
    do this.#nextPort = this.#nextPort >= 65_535 ? firstEphemeralPort : this.#nextPort + 1
    while (this.#sockets.has(this.#nextPort))
    return this.#nextPort
  }
}

interface SocketOptions {
  readonly port: number
  readonly send: (bytes: Uint8Array, to: Endpoint, whole: boolean) => void
  readonly close: () => void
}

class SimulatedSocket implements DatagramSocket {
  readonly port: number
  #open: Pick<SocketOptions, 'send' | 'close'> | undefined
  #receiver: Receiver | undefined

  constructor(options: SocketOptions) {
    this.port = options.port
    this.#open = options
  }

  get receiver(): Receiver | undefined {
    return this.#receiver
  }

  send(bytes: Uint8Array, to: Endpoint): void {
    this.#open?.send(bytes, to, false)
  }

  sendWhole(bytes: Uint8Array, to: Endpoint): void {
    this.#open?.send(bytes, to, true)
  }

  receive(receiver: Receiver): void {
    if (this.#open !== undefined) this.#receiver = receiver
  }

  /** The socket is gone, its owner does not know. */
  sever(): void {
    this.#open = undefined
    this.#receiver = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#open?.close()
    this.sever()
  }
}

/** Texts of addresses seen so far, and back: formatting and parsing would cost more than the rest of a packet. */
const texts: Map<number, string> = new Map()
const numbers: Map<string, number> = new Map()

function endpoint(address: number, port: number): Endpoint {
  let text = texts.get(address)
  if (text === undefined) {
    text = formatIpv4(address)
    texts.set(address, text)
    numbers.set(text, address)
  }
  return { address: text, port }
}

/**
 * A network address and port translator in the words of RFC 4787 (UDP), applied alike to TCP (RFC 5382) and ICMP echo
 * (RFC 5508). One public address; a public port serves one mapping at a time (no port overloading, REQ-3); mappings and
 * permissions end by lifetime alone, TCP's too. Not modelled: port parity, address pools, application gateways, ICMP errors.
 */

import { type Random, randomBelow } from '../../src/util/random.ts'
import type { Flow, Protocol } from './ipv4.ts'

/** RFC 4787 §4.1 for mappings, §5 for filtering. */
export type Dependence = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'

/** RFC 4787 §4.2.1. `preserving` takes the next free port when the wanted one is taken. */
export type PortAllocation = 'preserving' | 'sequential' | 'random'

export interface NatBehaviour {
  readonly mapping: Dependence
  readonly filtering: Dependence
  readonly portAllocation: PortAllocation
}

export interface NatOptions extends NatBehaviour {
  readonly publicAddress: number
  /** Of an idle UDP mapping and of a permission to come in, ms. RFC 4787 §4.3 wants at least 120 000; 30 000 is common. */
  readonly lifetime?: number
  /** RFC 4787 §6: a packet from inside to a public port of ours goes in again, from the sender's public port. */
  readonly hairpinning?: boolean
  /** RFC 4787 §4.3: whether packets from outside keep a mapping alive too. Those from inside always do (REQ-6). */
  readonly inboundRefresh?: boolean
  /** New mappings are refused above this number. */
  readonly maximumMappings?: number
  readonly random: Random
}

export type NatDrop = 'no-mapping' | 'filtered' | 'not-ours' | 'no-hairpinning' | 'table-full' | 'not-translatable'

/** `outside`: send it upstream. `inside`: send it into the LAN. The flow is the translated one. */
export type Translation =
  | { readonly kind: 'outside'; readonly flow: Flow }
  | { readonly kind: 'inside'; readonly flow: Flow }
  | { readonly kind: 'dropped'; readonly reason: NatDrop }

export interface NatStats {
  readonly mappings: number
  readonly created: number
  readonly outbound: number
  readonly inbound: number
  readonly hairpinned: number
  readonly dropped: Readonly<Record<NatDrop, number>>
}

interface Mapping {
  readonly protocol: Protocol
  readonly address: number
  readonly port: number
  /** What of the destination the mapping belongs to (`remoteKey`). */
  readonly towards: number
  readonly publicPort: number
  expires: number
  /** Who may come in, by `remoteKey`, and until when. */
  readonly permissions: Map<number, number>
}

const lowestPort = 1024
const portCount = 65_536 - lowestPort
/** RFC 4787 §4.3 leaves the number open; enough for a device that probes a thousand ports. */
const maximumPermissions = 4096
/** RFC 5382 REQ-5: an established connection is kept at least 2 h 4 min. RFC 5508 REQ-1: an echo 60 s. */
const tcpLifetime = 7_440_000
const icmpLifetime = 60_000

const protocolNumber: Readonly<Record<Protocol, number>> = { icmp: 1, tcp: 6, udp: 17 }

export class Nat {
  readonly #behaviour: NatBehaviour
  readonly #lifetimes: Readonly<Record<Protocol, number>>
  readonly #hairpinning: boolean
  readonly #inboundRefresh: boolean
  readonly #maximumMappings: number
  readonly #random: Random
  #publicAddress: number
  /** By protocol, inside address and port; then by `towards`. */
  readonly #byInside: Map<number, Map<number, Mapping>> = new Map()
  /** By protocol and public port. */
  readonly #byOutside: Map<number, Mapping> = new Map()
  #nextPort: number
  #created = 0
  #outbound = 0
  #inbound = 0
  #hairpinned = 0
  readonly #dropped: Record<NatDrop, number> = {
    'no-mapping': 0,
    filtered: 0,
    'not-ours': 0,
    'no-hairpinning': 0,
    'table-full': 0,
    'not-translatable': 0,
  }

  constructor(options: NatOptions) {
    this.#behaviour = options
    this.#publicAddress = options.publicAddress
    this.#lifetimes = { udp: options.lifetime ?? 30_000, tcp: tcpLifetime, icmp: icmpLifetime }
    this.#hairpinning = options.hairpinning ?? false
    this.#inboundRefresh = options.inboundRefresh ?? false
    this.#maximumMappings = options.maximumMappings ?? 8192
    this.#random = options.random
    this.#nextPort = randomBelow(this.#random, portCount)
  }

  get publicAddress(): number {
    return this.#publicAddress
  }

  /** A packet from a host inside to anywhere that is not inside. */
  translateOutbound(flow: Flow, now: number): Translation {
    if (flow.sourcePort === 0) return this.#drop('not-translatable')
    const loops = flow.destination === this.#publicAddress
    if (loops && !this.#hairpinning) return this.#drop('no-hairpinning')
    const mapping = this.#mappingFor(flow, now)
    if (mapping === undefined) return this.#drop('table-full')
    const expires = now + this.#lifetimes[flow.protocol]
    mapping.expires = expires
    permit(mapping, remoteKey(this.#behaviour.filtering, flow.destination, flow.destinationPort), expires)
    const { protocol, destination, destinationPort } = flow
    const source = this.#publicAddress
    const translated = { protocol, source, sourcePort: mapping.publicPort, destination, destinationPort }
    if (!loops) {
      this.#outbound++
      return { kind: 'outside', flow: translated }
    }
    const back = this.translateInbound(translated, now)
    if (back.kind === 'inside') this.#hairpinned++
    return back
  }

  /** A packet from outside to our public address. */
  translateInbound(flow: Flow, now: number): Translation {
    if (flow.destination !== this.#publicAddress) return this.#drop('not-ours')
    const mapping = this.#byOutside.get(outsideKey(flow.protocol, flow.destinationPort))
    if (mapping === undefined || mapping.expires <= now) return this.#drop('no-mapping')
    const key = remoteKey(this.#behaviour.filtering, flow.source, flow.sourcePort)
    if ((mapping.permissions.get(key) ?? 0) <= now) return this.#drop('filtered')
    if (this.#inboundRefresh) {
      mapping.expires = now + this.#lifetimes[flow.protocol]
      mapping.permissions.set(key, mapping.expires)
    }
    this.#inbound++
    const { protocol, source, sourcePort } = flow
    const { address: destination, port: destinationPort } = mapping
    return { kind: 'inside', flow: { protocol, source, sourcePort, destination, destinationPort } }
  }

  /** Forgets every mapping, as after a restart of the box. */
  forget(): void {
    this.#byInside.clear()
    this.#byOutside.clear()
    this.#nextPort = randomBelow(this.#random, portCount)
  }

  /** The provider gave us another address; what was mapped is gone. */
  rebind(publicAddress: number): void {
    this.forget()
    this.#publicAddress = publicAddress
  }

  stats(): NatStats {
    return {
      mappings: this.#byOutside.size,
      created: this.#created,
      outbound: this.#outbound,
      inbound: this.#inbound,
      hairpinned: this.#hairpinned,
      dropped: { ...this.#dropped },
    }
  }

  #drop(reason: NatDrop): Translation {
    this.#dropped[reason]++
    return { kind: 'dropped', reason }
  }

  #mappingFor(flow: Flow, now: number): Mapping | undefined {
    const inside = insideKey(flow.protocol, flow.source, flow.sourcePort)
    const towards = remoteKey(this.#behaviour.mapping, flow.destination, flow.destinationPort)
    const present = this.#byInside.get(inside)?.get(towards)
    if (present !== undefined) {
      if (present.expires > now) return present
      this.#remove(present)
    }
    if (this.#byOutside.size >= this.#maximumMappings) {
      for (const mapping of [...this.#byOutside.values()]) if (mapping.expires <= now) this.#remove(mapping)
      if (this.#byOutside.size >= this.#maximumMappings) return undefined
    }
    const publicPort = this.#allocate(flow, now)
    if (publicPort === undefined) return undefined
    const { protocol, source: address, sourcePort: port } = flow
    const mapping = { protocol, address, port, towards, publicPort, expires: 0, permissions: new Map<number, number>() }
    this.#byOutside.set(outsideKey(protocol, publicPort), mapping)
    const siblings = this.#byInside.get(inside)
    if (siblings === undefined) this.#byInside.set(inside, new Map([[towards, mapping]]))
    else siblings.set(towards, mapping)
    this.#created++
    return mapping
  }

  /** A public port that is free or whose mapping has expired. */
  #allocate(flow: Flow, now: number): number | undefined {
    const first = this.#firstChoice(flow.sourcePort)
    for (let step = 0; step <= portCount; step++) {
      const port = step === 0 ? first : lowestPort + ((first - lowestPort + step + portCount) % portCount)
      const holder = this.#byOutside.get(outsideKey(flow.protocol, port))
      if (holder !== undefined && holder.expires > now) continue
      if (holder !== undefined) this.#remove(holder)
      if (this.#behaviour.portAllocation === 'sequential') this.#nextPort = port - lowestPort + 1
      return port
    }
    return undefined
  }

  #firstChoice(wanted: number): number {
    switch (this.#behaviour.portAllocation) {
      case 'preserving':
        return wanted
      case 'sequential':
        return lowestPort + (this.#nextPort % portCount)
      case 'random':
        return lowestPort + randomBelow(this.#random, portCount)
    }
  }

  #remove(mapping: Mapping): void {
    this.#byOutside.delete(outsideKey(mapping.protocol, mapping.publicPort))
    const inside = insideKey(mapping.protocol, mapping.address, mapping.port)
    const siblings = this.#byInside.get(inside)
    siblings?.delete(mapping.towards)
    if (siblings?.size === 0) this.#byInside.delete(inside)
  }
}

function permit(mapping: Mapping, key: number, expires: number): void {
  if (mapping.permissions.size >= maximumPermissions && !mapping.permissions.has(key)) {
    const [oldest] = mapping.permissions.keys()
    if (oldest !== undefined) mapping.permissions.delete(oldest)
  }
  mapping.permissions.set(key, expires)
}

/** As much of a remote endpoint as the behaviour looks at. */
function remoteKey(dependence: Dependence, address: number, port: number): number {
  switch (dependence) {
    case 'endpoint-independent':
      return 0
    case 'address-dependent':
      return address
    case 'address-and-port-dependent':
      return address * 65_536 + port
  }
}

function insideKey(protocol: Protocol, address: number, port: number): number {
  return (protocolNumber[protocol] * 2 ** 32 + address) * 65_536 + port
}

function outsideKey(protocol: Protocol, port: number): number {
  return protocolNumber[protocol] * 65_536 + port
}

/**
 * The lab as built: a namespace with the public servers, one for each device, and the wire between them. Taking it down
 * closes the interfaces; the namespaces go with the lab's own.
 */

import type { Tun } from '../src/net/tun/tun.ts'
import { systemClock } from '../src/util/clock.ts'
import { KernelRouter } from './kernel-router.ts'
import { changeLine, type Host, type Site } from './model/internet.ts'
import { ipv4 } from './model/ipv4.ts'
import type { SiteKind } from './model/kinds.ts'
import type { LinkSettings } from './model/link.ts'
import { Namespace, uplink } from './namespace.ts'
import { addresses, type SitePlan, siteA, siteB } from './topology.ts'
import { type Traffic, Wire } from './wire.ts'

export interface WorldOptions {
  readonly kinds: readonly [SiteKind, SiteKind]
  /** Whose NAT: the lab's own, or the kernel's. */
  readonly nat: 'model' | 'linux'
  readonly link: Partial<LinkSettings>
}

/** One device's place in the lab. */
export interface Place {
  readonly plan: SitePlan
  readonly namespace: Namespace
  /** The address others see. */
  readonly publicAddress: string
  /** The one it gets by the next move. */
  readonly nextPublicAddress: string
  /** The provider gives the site its other public address; what the NAT had mapped is gone. */
  move(): void
  setLink(settings: Partial<LinkSettings>): void
  /** What went over its line since it was built or moved. */
  traffic(): Traffic
  /** Gives its namespaces back. */
  remove(): void
}

export class World implements AsyncDisposable {
  readonly servers: Namespace
  readonly a: Place
  readonly b: Place
  readonly wire: Wire
  readonly #tuns: readonly Tun[]

  private constructor(parts: {
    readonly servers: Namespace
    readonly places: readonly [Place, Place]
    readonly wire: Wire
    readonly tuns: readonly Tun[]
  }) {
    this.servers = parts.servers
    this.a = parts.places[0]
    this.b = parts.places[1]
    this.wire = parts.wire
    this.#tuns = parts.tuns
  }

  static async build({ kinds, nat, link }: WorldOptions): Promise<World> {
    const wire = new Wire(systemClock)
    const servers = Namespace.make('servers')
    const all = [...addresses.stun, ...addresses.tox]
    const tun = await servers.plug(all.map((address) => `${address}/32`))
    wire.attach(tun, { addresses: all.map(ipv4) })
    const a = await buildPlace(wire, { plan: siteA, kind: kinds[0], nat, link })
    const b = await buildPlace(wire, { plan: siteB, kind: kinds[1], nat, link })
    return new World({ servers, places: [a.place, b.place], wire, tuns: [tun, a.tun, b.tun] })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.wire[Symbol.dispose]()
    for (const tun of this.#tuns) await tun[Symbol.asyncDispose]()
    this.a.remove()
    this.b.remove()
    this.servers.remove()
  }
}

/** Of an idle UDP mapping: the least that RFC 4787 REQ-5 asks for, ms. */
const mappingLifetime = 120_000

interface PlaceOptions {
  readonly plan: SitePlan
  readonly kind: SiteKind
  readonly nat: 'model' | 'linux'
  readonly link: Partial<LinkSettings>
}

async function buildPlace(wire: Wire, options: PlaceOptions): Promise<{ readonly place: Place; readonly tun: Tun }> {
  const namespace = Namespace.make(options.plan.name)
  const { plan, kind, nat, link } = options
  if (kind.kind === 'none' || nat === 'linux') {
    const outer = kind.kind === 'none' ? namespace : KernelRouter.make({ plan, kind, inside: namespace }).namespace
    const tun = await outer.plug([`${plan.publicAddresses[0]}/32`])
    return { place: new AddressedPlace(wire, { plan, namespace, outer, tun, link }), tun }
  }
  const tun = await namespace.plug([`${plan.lanAddress}/24`])
  const publicAddress = ipv4(plan.publicAddresses[0])
  const site = wire.internet.addSite({ ...kind, publicAddress, link, lifetime: mappingLifetime })
  const host = wire.attach(tun, { addresses: [ipv4(plan.lanAddress)], site })
  return { place: new NatPlace(wire, { plan, namespace, site, host }), tun }
}

class NatPlace implements Place {
  readonly plan: SitePlan
  readonly namespace: Namespace
  readonly #wire: Wire
  readonly #site: Site
  readonly #host: Host
  #moves = 0

  constructor(
    wire: Wire,
    parts: { readonly plan: SitePlan; readonly namespace: Namespace; readonly site: Site; readonly host: Host },
  ) {
    this.plan = parts.plan
    this.namespace = parts.namespace
    this.#wire = wire
    this.#site = parts.site
    this.#host = parts.host
  }

  get publicAddress(): string {
    return publicAddressAfter(this.#moves, this.plan)
  }

  get nextPublicAddress(): string {
    return publicAddressAfter(this.#moves + 1, this.plan)
  }

  move(): void {
    this.#moves++
    this.#wire.internet.rebind(this.#site, ipv4(this.publicAddress))
  }

  setLink(settings: Partial<LinkSettings>): void {
    changeLine(this.#site, settings)
  }

  traffic(): Traffic {
    return this.#wire.traffic(this.#host)
  }

  remove(): void {
    this.namespace.remove()
  }
}

/** A machine of ours has the public address, the device or its router: it is the machine that gets another one. */
class AddressedPlace implements Place {
  readonly plan: SitePlan
  readonly namespace: Namespace
  readonly #outer: Namespace
  readonly #wire: Wire
  readonly #tun: Tun
  #link: Partial<LinkSettings>
  #host: Host
  #moves = 0

  constructor(
    wire: Wire,
    parts: {
      readonly plan: SitePlan
      readonly namespace: Namespace
      /** Where the public address is. */
      readonly outer: Namespace
      readonly tun: Tun
      readonly link: Partial<LinkSettings>
    },
  ) {
    this.plan = parts.plan
    this.namespace = parts.namespace
    this.#outer = parts.outer
    this.#wire = wire
    this.#tun = parts.tun
    this.#link = parts.link
    this.#host = this.#attach()
  }

  get publicAddress(): string {
    return publicAddressAfter(this.#moves, this.plan)
  }

  get nextPublicAddress(): string {
    return publicAddressAfter(this.#moves + 1, this.plan)
  }

  move(): void {
    const before = this.publicAddress
    this.#moves++
    this.#wire.detach(this.#host)
    this.#host = this.#attach()
    this.#outer.configure([
      `addr add ${this.publicAddress}/32 dev ${uplink}`,
      `addr del ${before}/32 dev ${uplink}`,
      `route replace default dev ${uplink}`,
    ])
  }

  setLink(settings: Partial<LinkSettings>): void {
    this.#link = { ...this.#link, ...settings }
    changeLine(this.#host, settings)
  }

  traffic(): Traffic {
    return this.#wire.traffic(this.#host)
  }

  remove(): void {
    this.namespace.remove()
    if (this.#outer !== this.namespace) this.#outer.remove()
  }

  #attach(): Host {
    return this.#wire.attach(this.#tun, { addresses: [ipv4(this.publicAddress)], link: this.#link })
  }
}

function publicAddressAfter(moves: number, { publicAddresses }: SitePlan): string {
  return publicAddresses[moves % 2 === 0 ? 0 : 1]
}

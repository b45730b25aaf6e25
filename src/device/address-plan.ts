/**
 * Who has which address inside the tunnel. Nobody hands them out: every device derives its own from its key, and looks
 * whether it is free, here and where its peers are. When it is not, it takes another and says so. Two devices that want
 * the same one decide alike: a person's choice stays, else the device with the smaller key stays. Pure.
 */

import { hostPrefix, isIpv6, overlap } from '../api/ip-prefix.ts'
import type { TunnelPublicKey } from '../api/keys.ts'
import { ipv4Candidates, isTunnelAddress, SHARED_ADDRESS_SPACE, tunnelAddresses } from '../api/tunnel-addresses.ts'
import { compareBytes } from '../util/bytes.ts'

/** What a device says of its addresses (session hello). */
export interface Announcement {
  readonly addresses: readonly string[]
  /** A person chose them. */
  readonly fixedAddresses: boolean
  /** IPv4 prefixes that the receiver must not take. */
  readonly networks: readonly string[]
}

export interface PlannedPeer {
  readonly name: string
  readonly tunnelKey: TunnelPublicKey
  /** The last it has said, `undefined` before it has said anything. */
  readonly announced: Announcement | undefined
}

export interface AddressView {
  readonly tunnelKey: TunnelPublicKey
  /** A person's choice; empty: derived. */
  readonly configured: readonly string[]
  /** Prefixes that this machine has routes to. */
  readonly live: readonly string[]
  /** In the order of pinning: the first to claim an address has it. */
  readonly peers: readonly PlannedPeer[]
}

export interface AddressPlan {
  readonly own: readonly string[]
  /** By the peer's name. */
  readonly peers: ReadonlyMap<string, readonly string[]>
  /** For people: what is not as it should be, and what would help. */
  readonly warnings: readonly string[]
}

/** More say nothing about a device that a person uses. */
const mostAddresses = 4

/** As many as a hello carries. */
const mostNetworks = 32
/** Shorter ones claim no network of a peer's: such a route sends everything somewhere. */
const shortestPrefix = 8

/** `current`: our IPv4 address until now; it stays as long as it can. */
export function planAddresses(view: AddressView, current: string | undefined): AddressPlan {
  const own = view.configured.length > 0 ? view.configured : derived(view, current)
  const warnings: string[] = []
  if (own.every(isIpv6)) warnings.push('no IPv4 address is free, here and at every peer: only IPv6 passes inside')
  const taken = new Set(own)
  const peers = new Map<string, readonly string[]>()
  for (const peer of view.peers) {
    const accepted: string[] = []
    for (const address of claims(peer).slice(0, mostAddresses)) {
      const reason = refusal(address, { live: view.live, taken })
      if (reason === undefined) accepted.push(address)
      else if (peer.announced?.fixedAddresses === true || view.configured.includes(address)) {
        warnings.push(
          `${peer.name} wants the address ${address}, ${reason}: set addresses in config.toml on ${peer.name}`,
        )
      }
    }
    for (const address of accepted) taken.add(address)
    peers.set(peer.name, accepted)
  }
  return { own, peers, warnings }
}

/** What one peer is told: our addresses, and what it must not take. */
export function announcementFor(name: string, view: AddressView, plan: AddressPlan): Announcement {
  const ofOthers = [...plan.peers].flatMap(([other, addresses]) => (other === name ? [] : addresses))
  const networks = [...view.live.map(whole), ...ofOthers.map(hostPrefix)].filter(isClaimable)
  return { addresses: plan.own, fixedAddresses: view.configured.length > 0, networks: withoutInner(networks) }
}

function derived(view: AddressView, current: string | undefined): readonly string[] {
  const { ipv6 } = tunnelAddresses(view.tunnelKey)
  const told = view.peers.flatMap((peer) => peer.announced?.networks ?? [])
  const avoided = [...view.live.map(whole), ...told.filter((network) => lengthOf(network) >= shortestPrefix)]
  const isFree = (address: string): boolean => !avoided.some((network) => overlap(network, hostPrefix(address)))
  if (current !== undefined && isFree(current) && !view.peers.some((peer) => yieldsTo(peer, current, view))) {
    return [current, ipv6]
  }
  const claimed = new Set(view.peers.flatMap(claims))
  for (const ipv4 of ipv4Candidates(view.tunnelKey)) if (isFree(ipv4) && !claimed.has(ipv4)) return [ipv4, ipv6]
  return [ipv6]
}

function yieldsTo(peer: PlannedPeer, address: string, view: AddressView): boolean {
  if (!claims(peer).includes(address)) return false
  return peer.announced?.fixedAddresses === true || compareBytes(peer.tunnelKey, view.tunnelKey) < 0
}

function claims({ announced, tunnelKey }: PlannedPeer): readonly string[] {
  const { ipv4, ipv6 } = tunnelAddresses(tunnelKey)
  return announced === undefined ? [ipv4, ipv6] : announced.addresses
}

function refusal(
  address: string,
  { live, taken }: { readonly live: readonly string[]; readonly taken: ReadonlySet<string> },
): string | undefined {
  if (!isTunnelAddress(address)) return 'which is no private address'
  if (taken.has(address)) return 'which is taken'
  const network = live.find((other) => overlap(other, hostPrefix(address)))
  return network === undefined ? undefined : `which lies in ${network}, a network of this machine`
}

/** Who uses any of the shared address space hands it out: all of it is his. */
function whole(network: string): string {
  return overlap(network, SHARED_ADDRESS_SPACE) ? SHARED_ADDRESS_SPACE : network
}

/** Whether somebody could want an IPv4 address of it: networks of the Internet are nobody's business. */
function isClaimable(network: string): boolean {
  return claimable.some((range) => overlap(range, network))
}

const claimable = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', SHARED_ADDRESS_SPACE] as const

/** Sorted, each once, none within another. */
function withoutInner(networks: readonly string[]): readonly string[] {
  const kept: string[] = []
  for (const network of [...new Set(networks)].sort((a, b) => lengthOf(a) - lengthOf(b) || (a < b ? -1 : 1))) {
    if (!kept.some((outer) => overlap(outer, network))) kept.push(network)
  }
  return kept.slice(0, mostNetworks)
}

function lengthOf(network: string): number {
  return Number(network.split('/')[1])
}

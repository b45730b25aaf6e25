import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hostPrefix, isIpv6, overlap } from '../api/ip-prefix.ts'
import { type TunnelPublicKey, tunnelPublicKey } from '../api/keys.ts'
import { SHARED_ADDRESS_SPACE, tunnelAddresses } from '../api/tunnel-addresses.ts'
import {
  type AddressPlan,
  type AddressView,
  type Announcement,
  announcementFor,
  planAddresses,
} from './address-plan.ts'

function key(seed: number): TunnelPublicKey {
  const made = tunnelPublicKey(new Uint8Array(32).fill(seed))
  if (made === undefined) throw new Error('A key has 32 bytes')
  return made
}

const nothing: Announcement = { addresses: [], fixedAddresses: false, networks: [] }

function alone(view: Partial<AddressView> = {}): AddressView {
  return { tunnelKey: key(1), configured: [], live: [], peers: [], ...view }
}

/** Devices that all know each other and tell each other until nothing changes any more. */
class Group {
  readonly #members: { view: AddressView; current: string | undefined; plan: AddressPlan; rounds: number }[]

  constructor(members: readonly { readonly configured?: readonly string[]; readonly live?: readonly string[] }[]) {
    this.#members = members.map(({ configured = [], live = [] }, at) => {
      const peers = members.flatMap((_, other) =>
        other === at ? [] : [{ name: String(other), tunnelKey: key(other + 1), announced: undefined }],
      )
      const view = { tunnelKey: key(at + 1), configured, live, peers }
      return { view, current: undefined, plan: planAddresses(view, undefined), rounds: 0 }
    })
  }

  plan(at: number): AddressPlan {
    const member = this.#members[at]
    if (member === undefined) throw new Error('No such member')
    return member.plan
  }

  /** Resolves the number of rounds until all are content. */
  settle(): number {
    for (let round = 1; round <= 12; round++) {
      const before = JSON.stringify(this.#members.map(({ plan }) => [plan.own, [...plan.peers]]))
      const announced = this.#members.map((member) =>
        this.#members.map((_, other) => announcementFor(String(other), member.view, member.plan)),
      )
      for (const [at, member] of this.#members.entries()) {
        const peers = member.view.peers.map((peer) => ({ ...peer, announced: announced[Number(peer.name)]?.[at] }))
        member.view = { ...member.view, peers }
        member.plan = planAddresses(member.view, member.current)
        if (member.view.configured.length === 0) member.current = member.plan.own.find((one) => !isIpv6(one))
      }
      if (JSON.stringify(this.#members.map(({ plan }) => [plan.own, [...plan.peers]])) === before) return round
    }
    throw new Error('They never agree')
  }
}

test('a device alone has the addresses that follow from its key', () => {
  const { ipv4, ipv6 } = tunnelAddresses(key(1))
  assert.deepEqual(planAddresses(alone(), undefined), { own: [ipv4, ipv6], peers: new Map(), warnings: [] })
})

test('an address in a live network of either end is given up, and kept when that network is gone again', () => {
  const { ipv4 } = tunnelAddresses(key(1))
  const here = planAddresses(alone({ live: ['10.0.0.0/8'] }), ipv4)
  assert.ok(!overlap(hostPrefix(here.own[0] ?? ''), '10.0.0.0/8'))
  const peer = { name: 'b', tunnelKey: key(2), announced: { ...nothing, networks: ['10.0.0.0/8', '172.16.0.0/12'] } }
  const there = planAddresses(alone({ peers: [peer] }), ipv4)
  assert.match(there.own[0] ?? '', /^192\.168\./)
  const [kept] = planAddresses(alone(), there.own[0]).own
  assert.equal(kept, there.own[0])
})

test('the shared address space is the last resort, and not touched where any of it is in use', () => {
  const all = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16']
  assert.ok(overlap(hostPrefix(planAddresses(alone({ live: all }), undefined).own[0] ?? ''), SHARED_ADDRESS_SPACE))
  const plan = planAddresses(alone({ live: [...all, '100.101.102.103/32'] }), undefined)
  assert.deepEqual(plan.own.map(isIpv6), [true])
  assert.equal(plan.warnings.length, 1)
})

test('a peer that claims everything claims nothing', () => {
  const peer = { name: 'b', tunnelKey: key(2), announced: { ...nothing, networks: ['0.0.0.0/0', '0.0.0.0/1'] } }
  assert.equal(planAddresses(alone({ peers: [peer] }), undefined).own[0], tunnelAddresses(key(1)).ipv4)
})

test("what a peer claims is refused when it is ours, not private, in a live network, or another peer's", () => {
  const own = tunnelAddresses(key(1)).ipv4
  const claims = [own, '8.8.8.8', '192.168.1.7', '10.9.9.9', 'fd00::1', '2001:db8::1']
  const peers = [
    { name: 'b', tunnelKey: key(2), announced: { ...nothing, addresses: ['10.9.9.9'], fixedAddresses: true } },
    { name: 'c', tunnelKey: key(3), announced: { ...nothing, addresses: claims.slice(0, 4), fixedAddresses: true } },
    { name: 'd', tunnelKey: key(4), announced: { ...nothing, addresses: claims.slice(4), fixedAddresses: true } },
  ]
  const plan = planAddresses(alone({ peers, live: ['192.168.1.0/24'], configured: [own] }), undefined)
  assert.deepEqual(Object.fromEntries(plan.peers), { b: ['10.9.9.9'], c: [], d: ['fd00::1'] })
  assert.equal(plan.warnings.length, 5)
})

test('of two devices that derived the same address the one with the larger key takes another; a chosen one stays', () => {
  const wanted = '10.77.1.2'
  const other = (tunnelKey: number, fixedAddresses: boolean): AddressView['peers'] => [
    { name: 'b', tunnelKey: key(tunnelKey), announced: { addresses: [wanted], fixedAddresses, networks: [] } },
  ]
  const own = (peers: AddressView['peers']): string | undefined =>
    planAddresses(alone({ tunnelKey: key(5), peers }), wanted).own[0]
  assert.equal(own(other(6, false)), wanted)
  assert.notEqual(own(other(4, false)), wanted)
  assert.notEqual(own(other(6, true)), wanted)
})

test('devices that tell each other agree: every address is had by one, is in no live network, and is accepted by all', () => {
  const network = fc.constantFrom('10.0.0.0/8', '10.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10')
  const some = tunnelAddresses(key(1)).ipv4
  const member = fc.record({
    live: fc.uniqueArray(network, { maxLength: 2 }),
    configured: fc.constantFrom<readonly string[]>([], [], [], ['10.77.1.2'], [some]),
  })
  const property = fc.property(fc.array(member, { minLength: 2, maxLength: 5 }), (members) => {
    const group = new Group(members)
    group.settle()
    const holders = new Map<string, number>()
    for (const [at, { configured = [] }] of members.entries()) {
      if (configured.length > 0) continue
      const [ipv4 = ''] = group.plan(at).own
      for (const { live } of members) assert.ok(!live.some((one) => overlap(one, hostPrefix(ipv4))))
      assert.ok(!members.some((other) => other.configured.includes(ipv4)))
      assert.ok(!holders.has(ipv4))
      holders.set(ipv4, at)
      for (const other of members.keys()) {
        if (other !== at) assert.deepEqual(group.plan(other).peers.get(String(at)), group.plan(at).own)
      }
    }
  })
  void fc.assert(property, { numRuns: 40 })
})

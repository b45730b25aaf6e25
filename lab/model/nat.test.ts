import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededRandom } from '../../test/network/seeded-random.ts'
import { type Flow, formatIpv4, ipv4, type Protocol, parseIpv4 } from './ipv4.ts'
import { describeSiteKind, parseSiteKind, type SiteKindName, siteKindNames, siteKinds } from './kinds.ts'
import { type Dependence, Nat, type NatOptions, type Translation } from './nat.ts'

const publicAddress = ipv4('203.0.113.7')
const inside = { address: ipv4('192.168.1.10'), port: 5000 }
const serverA = { address: ipv4('198.51.100.1'), port: 3478 }
const serverAOtherPort = { address: ipv4('198.51.100.1'), port: 3479 }
const serverB = { address: ipv4('198.51.100.2'), port: 3478 }

interface Remote {
  readonly address: number
  readonly port: number
}

function natOf(options: Partial<NatOptions> = {}): Nat {
  return new Nat({
    mapping: 'endpoint-independent',
    filtering: 'address-and-port-dependent',
    portAllocation: 'preserving',
    publicAddress,
    random: new SeededRandom(1),
    ...options,
  })
}

function out(from: Remote, to: Remote, protocol: Protocol = 'udp'): Flow {
  return {
    protocol,
    source: from.address,
    sourcePort: from.port,
    destination: to.address,
    destinationPort: to.port,
  }
}

function flowOf(translation: Translation): Flow {
  if (translation.kind === 'dropped') return assert.fail(`dropped: ${translation.reason}`)
  return translation.flow
}

/** The public port that a packet from `from` to `to` gets. */
function publicPort(
  nat: Nat,
  to: Remote,
  { now = 0, from = inside as Remote, protocol = 'udp' as Protocol } = {},
): number {
  const flow = flowOf(nat.translateOutbound(out(from, to, protocol), now))
  assert.equal(flow.source, publicAddress)
  assert.deepEqual([flow.destination, flow.destinationPort], [to.address, to.port])
  return flow.sourcePort
}

function inbound(nat: Nat, from: Remote, { port, now = 0 }: { readonly port: number; readonly now?: number }): string {
  const translation = nat.translateInbound(out(from, { address: publicAddress, port }), now)
  if (translation.kind !== 'inside') return translation.kind === 'dropped' ? translation.reason : translation.kind
  assert.deepEqual([translation.flow.destination, translation.flow.destinationPort], [inside.address, inside.port])
  assert.deepEqual([translation.flow.source, translation.flow.sourcePort], [from.address, from.port])
  return 'inside'
}

test('mapping looks at as much of the destination as its name says (RFC 4787 §4.1)', () => {
  const expected: Readonly<Record<Dependence, readonly [boolean, boolean]>> = {
    'endpoint-independent': [true, true],
    'address-dependent': [true, false],
    'address-and-port-dependent': [false, false],
  }
  for (const [mapping, [sameForOtherPort, sameForOtherAddress]] of Object.entries(expected)) {
    const nat = natOf({ mapping: mapping as Dependence, portAllocation: 'random' })
    const first = publicPort(nat, serverA)
    assert.equal(publicPort(nat, serverA), first, mapping)
    assert.equal(publicPort(nat, serverAOtherPort) === first, sameForOtherPort, mapping)
    assert.equal(publicPort(nat, serverB) === first, sameForOtherAddress, mapping)
  }
})

test('filtering lets in whom its name says (RFC 4787 §5)', () => {
  const expected: Readonly<Record<Dependence, readonly string[]>> = {
    'endpoint-independent': ['inside', 'inside', 'inside'],
    'address-dependent': ['inside', 'inside', 'filtered'],
    'address-and-port-dependent': ['inside', 'filtered', 'filtered'],
  }
  for (const [filtering, verdicts] of Object.entries(expected)) {
    const nat = natOf({ filtering: filtering as Dependence })
    const port = publicPort(nat, serverA)
    const seen = [serverA, serverAOtherPort, serverB].map((from) => inbound(nat, from, { port }))
    assert.deepEqual(seen, verdicts, filtering)
  }
})

test('a packet to a port without a mapping, or to another address, stays outside', () => {
  const nat = natOf({ filtering: 'endpoint-independent' })
  const port = publicPort(nat, serverA)
  assert.equal(inbound(nat, serverA, { port: port + 1 }), 'no-mapping')
  const elsewhere = nat.translateInbound(out(serverA, { address: publicAddress + 1, port }), 0)
  assert.deepEqual(elsewhere, { kind: 'dropped', reason: 'not-ours' })
  assert.deepEqual([nat.stats().dropped['no-mapping'], nat.stats().dropped['not-ours']], [1, 1])
})

test('a preserving NAT keeps the port, and takes another one when it is taken', () => {
  const nat = natOf()
  assert.equal(publicPort(nat, serverA), inside.port)
  const neighbour = publicPort(nat, serverA, { from: { address: inside.address + 1, port: inside.port } })
  assert.equal(neighbour, inside.port + 1)
})

test('ports of different protocols do not meet', () => {
  const nat = natOf()
  for (const protocol of ['udp', 'tcp', 'icmp'] as const)
    assert.equal(publicPort(nat, serverA, { protocol }), inside.port)
  assert.equal(nat.stats().mappings, 3)
})

test('an echo reply comes back to the host that asked, with its identifier (RFC 5508 §3.1)', () => {
  const nat = natOf({ portAllocation: 'random' })
  const host = { address: serverA.address, port: 0 }
  const identifier = publicPort(nat, host, { protocol: 'icmp' })
  const reply = nat.translateInbound(out(host, { address: publicAddress, port: identifier }, 'icmp'), 1)
  assert.deepEqual(flowOf(reply), out(host, inside, 'icmp'))
})

test('a sequential NAT takes the next port for every new mapping', () => {
  const nat = natOf({ mapping: 'address-and-port-dependent', portAllocation: 'sequential' })
  const first = publicPort(nat, serverA)
  assert.deepEqual([publicPort(nat, serverAOtherPort), publicPort(nat, serverB)], [first + 1, first + 2])
})

test('a random NAT spreads its ports, never twice the same', () => {
  const nat = natOf({ mapping: 'address-and-port-dependent', portAllocation: 'random' })
  const ports = Array.from({ length: 1000 }, (_, index) =>
    publicPort(nat, { address: serverA.address, port: index + 1 }),
  )
  assert.equal(new Set(ports).size, 1000)
  assert.ok(Math.min(...ports) >= 1024 && Math.min(...ports) < 2000)
  assert.ok(Math.max(...ports) > 64_000)
})

test('an idle mapping ends with its lifetime, and packets from inside keep it alive (REQ-6)', () => {
  const nat = natOf({ lifetime: 30_000 })
  const port = publicPort(nat, serverA)
  assert.equal(inbound(nat, serverA, { port, now: 29_999 }), 'inside')
  assert.equal(inbound(nat, serverA, { port, now: 30_000 }), 'no-mapping')
  publicPort(nat, serverA, { now: 40_000 })
  publicPort(nat, serverA, { now: 60_000 })
  assert.equal(inbound(nat, serverA, { port, now: 89_999 }), 'inside')
  assert.equal(nat.stats().created, 2)
})

test('packets from outside keep a mapping alive only where inbound refresh is on', () => {
  for (const inboundRefresh of [false, true]) {
    const nat = natOf({ lifetime: 30_000, inboundRefresh })
    const port = publicPort(nat, serverA)
    for (const now of [20_000, 29_000]) assert.equal(inbound(nat, serverA, { port, now }), 'inside')
    assert.equal(inbound(nat, serverA, { port, now: 45_000 }), inboundRefresh ? 'inside' : 'no-mapping')
  }
})

test('the permission of one remote ends while another keeps the mapping alive', () => {
  const nat = natOf({ lifetime: 30_000 })
  const port = publicPort(nat, serverA)
  publicPort(nat, serverB, { now: 20_000 })
  assert.equal(inbound(nat, serverA, { port, now: 31_000 }), 'filtered')
  assert.equal(inbound(nat, serverB, { port, now: 31_000 }), 'inside')
})

test('hairpinning sends a packet in again from the public endpoint of its sender (RFC 4787 §6)', () => {
  const neighbour = { address: inside.address + 1, port: 6000 }
  for (const hairpinning of [false, true]) {
    const nat = natOf({ hairpinning, filtering: 'endpoint-independent' })
    const port = publicPort(nat, serverA)
    const translation = nat.translateOutbound(out(neighbour, { address: publicAddress, port }), 1)
    if (hairpinning) {
      assert.equal(translation.kind, 'inside')
      assert.deepEqual(flowOf(translation), out({ address: publicAddress, port: 6000 }, inside))
    } else assert.deepEqual(translation, { kind: 'dropped', reason: 'no-hairpinning' })
  }
})

test('hairpinned packets are filtered like any other', () => {
  const nat = natOf({ hairpinning: true })
  const port = publicPort(nat, serverA)
  const neighbour = { address: inside.address + 1, port: 6000 }
  const translation = nat.translateOutbound(out(neighbour, { address: publicAddress, port }), 1)
  assert.deepEqual(translation, { kind: 'dropped', reason: 'filtered' })
})

test('after a rebind the old mappings are gone and new ones are on the new address', () => {
  const nat = natOf({ filtering: 'endpoint-independent' })
  const port = publicPort(nat, serverA)
  const moved = ipv4('203.0.113.99')
  nat.rebind(moved)
  assert.equal(inbound(nat, serverA, { port }), 'not-ours')
  assert.deepEqual(nat.translateInbound(out(serverA, { address: moved, port }), 0), {
    kind: 'dropped',
    reason: 'no-mapping',
  })
  assert.equal(flowOf(nat.translateOutbound(out(inside, serverA), 0)).source, moved)
})

test('a full table refuses new mappings until old ones expire, and keeps those it has', () => {
  const nat = natOf({ mapping: 'address-and-port-dependent', maximumMappings: 10, lifetime: 1000 })
  for (let port = 1; port <= 10; port++) publicPort(nat, { address: serverA.address, port })
  const refused = nat.translateOutbound(out(inside, serverB), 999)
  assert.deepEqual(refused, { kind: 'dropped', reason: 'table-full' })
  assert.equal(inbound(nat, { address: serverA.address, port: 1 }, { port: inside.port, now: 999 }), 'inside')
  publicPort(nat, serverB, { now: 1000 })
  assert.equal(nat.stats().mappings, 1)
})

test('every kind has a name, a line for people, and reads back from both of its spellings', () => {
  assert.equal(siteKindNames.length, 8)
  for (const name of siteKindNames) {
    const kind = siteKinds[name]
    assert.deepEqual(parseSiteKind(name), kind)
    assert.ok(describeSiteKind(kind).length > 10)
    if (kind.kind === 'nat') {
      assert.deepEqual(parseSiteKind(`${kind.mapping}/${kind.filtering}/${kind.portAllocation}`), kind)
    }
  }
  assert.deepEqual(parseSiteKind('endpoint-independent/address-and-port-dependent'), siteKinds['eim-apdf'])
  assert.deepEqual(parseSiteKind('eim/eif/random'), { ...siteKinds['eim-eif'], portAllocation: 'random' })
})

test('other words are no kind', () => {
  const words = ['', 'eim', 'eim-xyz', 'eif-eim', 'eim-eif-odd', 'eim-eif-random-more', 'constructor-eif', 'eim/eif/']
  for (const word of words) assert.equal(parseSiteKind(word), undefined, word)
  const unnamed: SiteKindName | undefined = siteKindNames.find((name) => parseSiteKind(name) === undefined)
  assert.equal(unnamed, undefined)
})

test('addresses read back what they write and refuse anything else', () => {
  for (const text of ['0.0.0.0', '203.0.113.7', '255.255.255.255']) assert.equal(formatIpv4(ipv4(text)), text)
  for (const text of ['', '1.2.3', '256.1.1.1', '1.2.3.4.5', 'a.b.c.d', '::1', ' 1.2.3.4']) {
    assert.equal(parseIpv4(text), undefined, text)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeededRandom } from '../../test/network/seeded-random.ts'
import { type Delivery, Internet, type Packet } from './internet.ts'
import { type Flow, ipv4 } from './ipv4.ts'
import { siteKinds } from './kinds.ts'

const a = ipv4('198.51.100.1')
const b = ipv4('198.51.100.2')

function internetOf(): Internet<string> {
  return new Internet({ random: new SeededRandom(1), copy: (payload) => `${payload} again` })
}

function packet(source: number, destination: number, more: Partial<Packet<string>> = {}): Packet<string> {
  const flow: Flow = { protocol: 'udp', source, sourcePort: 1, destination, destinationPort: 2 }
  return { flow, ttl: 64, size: 100, payload: 'x', ...more }
}

function drain(internet: Internet<string>, now: number): Delivery<string>[] {
  const deliveries: Delivery<string>[] = []
  for (let next = internet.next(now); next !== undefined; next = internet.next(now)) deliveries.push(next)
  return deliveries
}

test('nothing is delivered before its deadline, and the deadline is that of the next step', () => {
  const internet = internetOf()
  const host = internet.addHost({ addresses: [a], link: { delay: 5 } })
  const other = internet.addHost({ addresses: [b], link: { delay: 7 } })
  assert.equal(internet.deadline, undefined)
  internet.send(host, packet(a, b), 100)
  assert.equal(internet.deadline, 105)
  assert.deepEqual(drain(internet, 105), [])
  assert.equal(internet.deadline, 112)
  const [delivery] = drain(internet, 112)
  assert.equal(delivery?.host, other)
  assert.equal(delivery?.packet.payload, 'x')
  assert.equal(internet.deadline, undefined)
})

test('a late caller gets packets with the times at which they were due', () => {
  const internet = internetOf()
  const host = internet.addHost({ addresses: [a], link: { delay: 5 } })
  internet.addHost({ addresses: [b], link: { delay: 5 } })
  internet.send(host, packet(a, b, { payload: 'first' }), 0)
  internet.send(host, packet(a, b, { payload: 'second' }), 3)
  assert.deepEqual(
    drain(internet, 1000).map((delivery) => delivery.packet.payload),
    ['first', 'second'],
  )
})

test('the time to live falls at every router and a packet dies at 0', () => {
  const internet = internetOf()
  const kind = siteKinds['eim-eif']
  if (kind.kind !== 'nat') return assert.fail()
  const lan = [ipv4('192.168.1.2'), ipv4('192.168.1.3')] as const
  const site = internet.addSite({ ...kind, publicAddress: b })
  const inside = internet.addHost({ addresses: [lan[0]], site })
  internet.addHost({ addresses: [lan[1]], site })
  internet.addHost({ addresses: [a] })
  const arrives = (ttl: number, destination: number): number | undefined => {
    internet.send(inside, packet(lan[0], destination, { ttl }), 0)
    return drain(internet, 0)[0]?.packet.ttl
  }
  assert.deepEqual([arrives(3, a), arrives(2, a), arrives(1, a)], [1, undefined, undefined])
  assert.equal(arrives(1, lan[1]), 1)
  assert.equal(internet.stats().dropped.ttl, 2)
})

test('a packet with a source that is not its host is dropped, as is one to nowhere', () => {
  const internet = internetOf()
  const host = internet.addHost({ addresses: [a] })
  internet.send(host, packet(b, a), 0)
  internet.send(host, packet(a, b), 0)
  assert.deepEqual(drain(internet, 0), [])
  assert.deepEqual(internet.stats(), { sent: 2, delivered: 0, dropped: { 'foreign-source': 1, 'no-route': 1 } })
})

test('two members cannot have one address; an unplugged one leaves it free', () => {
  const internet = internetOf()
  const host = internet.addHost({ addresses: [a] })
  assert.throws(() => internet.addHost({ addresses: [a] }), /198.51.100.1 is taken/)
  internet.removeHost(host)
  internet.addHost({ addresses: [a] })
})

test('a duplicated packet has a payload of its own', () => {
  const internet = internetOf()
  const host = internet.addHost({ addresses: [a], link: { duplicate: 1 } })
  internet.addHost({ addresses: [b] })
  internet.send(host, packet(a, b), 0)
  const payloads = drain(internet, 0).map((delivery) => delivery.packet.payload)
  assert.deepEqual(payloads.sort(), ['x', 'x again'])
})

test('packets under way are bounded', () => {
  const internet = internetOf()
  const host = internet.addHost({ addresses: [a], link: { delay: 1 } })
  internet.addHost({ addresses: [b] })
  const sent = packet(a, b)
  for (let count = 0; count < 100_001; count++) internet.send(host, sent, 0)
  assert.equal(internet.stats().dropped.overflow, 1)
})

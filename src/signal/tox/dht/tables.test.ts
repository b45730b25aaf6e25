/** Distances, lists and pending requests: what they take, keep and forget. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { toHex } from '../../../util/bytes.ts'
import { type DhtPublicKey, dhtPublicKey } from '../crypto.ts'
import { isLocal } from '../local-address.ts'
import { Recent } from '../recent.ts'
import { TokenBucket } from '../token-bucket.ts'
import { closest, commonBits, compareDistance } from './distance.ts'
import { isGood, type KnownNode, noteAsked } from './known-node.ts'
import { NodeList } from './node-list.ts'
import { PendingRequests } from './pending-requests.ts'

function keyOf(index: number): DhtPublicKey {
  return dhtPublicKey(new Uint8Array(createHash('sha256').update(`${index}`).digest()))!
}

function nodeOf(publicKey: DhtPublicKey, now: number): KnownNode {
  const endpoint = { address: '203.0.113.5', port: 33_445 }
  const times = { lastAnswer: now, lastAsked: now }
  return { name: toHex(publicKey), publicKey, endpoint, ...times, unanswered: 0, holders: 0 }
}

const fresh = { lastAsked: 0, now: 0 }
const base = keyOf(0)

test('distance is the XOR of the keys read as a number', () => {
  const zero = new Uint8Array(32)
  const one = new Uint8Array(32).fill(1, 31)
  const big = new Uint8Array(32).fill(1, 0, 1)
  assert.ok(compareDistance(zero, one, big) < 0)
  assert.ok(compareDistance(big, one, zero) > 0, 'seen from elsewhere')
  assert.equal(compareDistance(big, one, one), 0)
  assert.equal(commonBits(zero, one), 255)
  assert.equal(commonBits(zero, big), 7)
  assert.equal(commonBits(zero, zero), 256)
  const nodes = Array.from({ length: 40 }, (_, index) => nodeOf(keyOf(index + 1), 0))
  const sorted = [...nodes].sort((a, b) => compareDistance(base, a.publicKey, b.publicKey))
  assert.deepEqual(closest(nodes, base, 5), sorted.slice(0, 5))
})

test('the close list keeps eight good nodes a bucket, whoever comes later', () => {
  const list = new NodeList('close', base)
  const nodes = Array.from({ length: 3000 }, (_, index) => nodeOf(keyOf(index + 1), 0))
  for (const node of nodes) list.offer(node, fresh)
  const buckets = new Map<number, number>()
  for (const { node } of list.entries()) {
    const bucket = commonBits(base, node.publicKey)
    buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1)
  }
  assert.ok([...buckets.values()].every((count) => count <= 8))
  assert.deepEqual([buckets.get(0), buckets.get(1), buckets.get(5)], [8, 8, 8])
  assert.ok(list.size < 100)
  const firstOfBucket = nodes.filter((node) => commonBits(base, node.publicKey) === 0).slice(0, 8)
  for (const node of firstOfBucket) assert.ok(list.has(node))
})

test('a full bucket gives the place of a node that no longer answers to a newcomer', () => {
  const list = new NodeList('close', base)
  const nodes = Array.from({ length: 40 }, (_, index) => nodeOf(keyOf(index + 1), 0))
  const bucket = nodes.filter((node) => commonBits(base, node.publicKey) === 0)
  for (const node of bucket) list.offer(node, fresh)
  const [dead] = list.entries()
  assert.ok(dead !== undefined)
  const newcomer = bucket.find((node) => !list.has(node))
  assert.ok(newcomer !== undefined)
  assert.equal(list.wants(newcomer.publicKey, 0), false)
  for (let at = 0; at < 4; at += 1) noteAsked(dead.node, at * 1000)
  assert.equal(isGood(dead.node, 4000), false)
  assert.equal(list.wants(newcomer.publicKey, 4000), true)
  list.offer(newcomer, { lastAsked: 4000, now: 4000 })
  assert.ok(list.has(newcomer) && !list.has(dead.node))
  assert.deepEqual([newcomer.holders, dead.node.holders], [1, 0])
})

test('a search list keeps the eight closest nodes', () => {
  const list = new NodeList('search', base)
  const nodes = Array.from({ length: 500 }, (_, index) => nodeOf(keyOf(index + 1), 0))
  for (const node of nodes) list.offer(node, fresh)
  const kept = list.entries().map((entry) => entry.node)
  assert.deepEqual(closest(kept, base, 8), closest(nodes, base, 8))
  assert.equal(kept.length, 8)
})

test('nodes are asked every minute, a random one every 20 s, and forgotten 182 s after their last answer', () => {
  const random = { bytes: (length: number): Uint8Array => new Uint8Array(length) }
  const list = new NodeList('search', base)
  for (let index = 1; index <= 8; index += 1) list.offer(nodeOf(keyOf(index), 0), fresh)
  let asked = 0
  for (let now = 1000; now <= 120_000; now += 1000) {
    for (const entry of list.due(now, random)) {
      asked += 1
      entry.lastAsked = now
      entry.node.lastAnswer = now
    }
  }
  assert.ok(asked >= 16 + 4 && asked <= 16 + 6, `${asked}`)
  list.prune(290_000)
  assert.equal(list.size, 8)
  list.prune(120_000 + 182_000)
  assert.equal(list.size, 0)
  assert.equal(list.deadline, Number.POSITIVE_INFINITY)
})

test('an answer counts once, from the key and the address that was asked, and not too late', () => {
  const pending = new PendingRequests()
  const endpoint = { address: '203.0.113.5', port: 1 }
  const id = new Uint8Array(8).fill(1)
  const request = { kind: 'ping', name: 'a', endpoint, sentAt: 0, wanted: 'a' } as const
  pending.add(id, request)
  const answer = { kind: 'ping', name: 'a', endpoint, now: 10 } as const
  assert.equal(pending.take(id, { ...answer, name: 'b' }), undefined)
  assert.equal(pending.take(id, { ...answer, endpoint: { address: '203.0.113.6', port: 1 } }), undefined)
  assert.equal(pending.take(id, { ...answer, kind: 'nodes' }), undefined)
  assert.equal(pending.take(id, { ...answer, now: 5000 }), undefined)
  assert.equal(pending.take(id, answer), request)
  assert.equal(pending.take(id, answer), undefined)
  pending.add(id, request)
  pending.prune(5000)
  assert.equal(pending.size, 0)
})

test('tables that strangers can fill are bounded', () => {
  const pending = new PendingRequests()
  const recent = new Recent({ capacity: 100 })
  const endpoint = { address: '203.0.113.5', port: 1 }
  for (let index = 0; index < 2000; index += 1) {
    const id = new Uint8Array(8)
    new DataView(id.buffer).setUint32(0, index)
    pending.add(id, { kind: 'nodes', name: `${index}`, endpoint, sentAt: index, wanted: '' })
    recent.claim(`${index}`, 1000, index)
  }
  assert.equal(pending.size, 512)
  assert.equal(recent.size, 100)
  assert.equal(recent.claim('1999', 1000, 2500), false)
  assert.equal(recent.claim('1999', 1000, 2999), true)
})

test('a token bucket gives its burst, then its rate', () => {
  const bucket = new TokenBucket({ rate: 10, burst: 3 })
  const taken = (now: number): number => Array.from({ length: 10 }, () => bucket.take(now)).filter(Boolean).length
  assert.deepEqual([taken(0), taken(100), taken(200), taken(60_000)], [3, 1, 1, 3])
})

test('local addresses are told from public ones', () => {
  const local = ['127.0.0.1', '10.0.0.1', '172.16.0.1', '172.31.255.1', '192.168.0.1', '169.254.1.1', '100.64.0.1']
  const localIpv6 = ['::1', 'fe80::1', 'febf::1', '::ffff:10.0.0.1']
  const other = ['8.8.8.8', '172.32.0.1', '172.15.0.1', '169.254.0.1', '169.254.255.1', '100.128.0.1', '192.167.0.1']
  const otherIpv6 = ['2001:db8::1', 'fec0::1', '::ffff:8.8.8.8', '::']
  for (const address of [...local, ...localIpv6]) assert.equal(isLocal({ address, port: 1 }), true, address)
  for (const address of [...other, ...otherIpv6]) assert.equal(isLocal({ address, port: 1 }), false, address)
})

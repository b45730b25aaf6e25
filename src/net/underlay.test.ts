import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Endpoint } from '../api/endpoint.ts'
import type { DatagramSocket } from '../api/network.ts'
import { fromHex, toUtf8 } from '../util/bytes.ts'
import { classifyDatagram, type DatagramKind, type DatagramReceiver, Underlay } from './underlay.ts'

const from: Endpoint = { address: '192.0.2.7', port: 4000 }
const kinds: readonly DatagramKind[] = ['stun', 'wireguard', 'bencode']

/** A binding request without attributes. */
const stunRequest = fromHex(`000100002112a442${'07'.repeat(12)}`)!

function wireguard(type: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size).fill(0xee)
  bytes.set([type, 0, 0, 0])
  return bytes
}

class FakeSocket implements DatagramSocket {
  readonly port = 5000
  readonly sent: { readonly bytes: Uint8Array; readonly to: Endpoint }[] = []
  deliver: DatagramReceiver = () => assert.fail('nobody receives')
  closed = 0

  send(bytes: Uint8Array, to: Endpoint): void {
    this.sent.push({ bytes: bytes.slice(), to })
  }

  receive(receiver: DatagramReceiver): void {
    this.deliver = receiver
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closed++
  }
}

function routed(): { socket: FakeSocket; underlay: Underlay; got: DatagramKind[] } {
  const socket = new FakeSocket()
  const underlay = new Underlay(socket)
  const got: DatagramKind[] = []
  for (const kind of kinds) underlay.route(kind, () => void got.push(kind))
  return { socket, underlay, got }
}

test('STUN, the four WireGuard types and bencode each reach their receiver', () => {
  const { socket, underlay, got } = routed()
  socket.deliver(stunRequest, from)
  for (const [type, size] of [[1, 148] as const, [2, 92] as const, [3, 64] as const, [4, 32] as const])
    socket.deliver(wireguard(type, size), from)
  socket.deliver(toUtf8('d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t1:a1:y1:re'), from)
  assert.deepEqual(got, ['stun', 'wireguard', 'wireguard', 'wireguard', 'wireguard', 'bencode'])
  assert.deepEqual(underlay.stats().received, { stun: 1, wireguard: 4, bencode: 1 })
})

test('a datagram that must not be cut goes through a socket that can do that', () => {
  const sent: Endpoint[] = []
  const able = Object.assign(new FakeSocket(), { sendWhole: (_: Uint8Array, to: Endpoint) => void sent.push(to) })
  new Underlay(able).sendWhole?.(toUtf8('x'), from)
  assert.deepEqual(sent, [from])
  assert.deepEqual(able.sent, [])
  assert.equal(new Underlay(new FakeSocket()).sendWhole, undefined)
})

test('near misses are dropped and counted', () => {
  const { socket, underlay, got } = routed()
  const noCookie = stunRequest.slice()
  noCookie[7] = 0x43
  const near = [
    new Uint8Array(0),
    stunRequest.subarray(0, 19),
    noCookie,
    Uint8Array.of(4, 0, 0),
    Uint8Array.of(4, 0, 0, 1),
    wireguard(0, 148),
    wireguard(5, 148),
    toUtf8('l1:ae'),
  ]
  for (const bytes of near) socket.deliver(bytes, from)
  assert.deepEqual(got, [])
  assert.equal(underlay.stats().unknown, near.length)
})

test('the magic cookie decides where a STUN header also reads as a WireGuard type', () => {
  const response = stunRequest.slice()
  response.set([1, 0, 0, 0])
  assert.equal(classifyDatagram(response), 'stun')
  response[4] = 0x20
  assert.equal(classifyDatagram(response), 'wireguard')
})

test('every datagram reaches exactly the receiver of its class, or none, and nothing throws', () => {
  const samples = [stunRequest, wireguard(1, 148), wireguard(4, 64), toUtf8('d1:y1:qe')]
  const mutated = fc
    .record({
      sample: fc.constantFrom(...samples),
      length: fc.nat({ max: 160 }),
      changes: fc.array(fc.tuple(fc.nat({ max: 20 }), fc.nat({ max: 255 })), { maxLength: 4 }),
    })
    .map(({ sample, length, changes }) => {
      const bytes = sample.slice(0, length)
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
      return bytes
    })
  const seen = { stun: 0, wireguard: 0, bencode: 0, unknown: 0 }
  const property = fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 64 })), (bytes) => {
    const { socket, underlay, got } = routed()
    socket.deliver(bytes, from)
    const kind = classifyDatagram(bytes)
    seen[kind ?? 'unknown']++
    assert.deepEqual(got, kind === undefined ? [] : [kind])
    const { received, unknown, unrouted } = underlay.stats()
    assert.equal(received.stun + received.wireguard + received.bencode + unknown, 1)
    assert.equal(unrouted, 0)
  })
  fc.assert(property, { seed: 7983, numRuns: 2000 })
  for (const count of Object.values(seen)) assert.ok(count > 50, JSON.stringify(seen))
})

test('a second receiver of a kind is a bug; after the first is disposed another may come', () => {
  const socket = new FakeSocket()
  const underlay = new Underlay(socket)
  const first = underlay.route('stun', () => assert.fail('disposed'))
  assert.throws(() => underlay.route('stun', () => {}), /stun datagrams have a receiver already/)
  first[Symbol.dispose]()
  let got = 0
  underlay.route('stun', () => void got++)
  first[Symbol.dispose]()
  socket.deliver(stunRequest, from)
  assert.equal(got, 1)
})

test('a kind that nobody receives is dropped and counted', () => {
  const socket = new FakeSocket()
  const underlay = new Underlay(socket)
  socket.deliver(stunRequest, from)
  assert.equal(underlay.stats().unrouted, 1)
  assert.equal(underlay.stats().received.stun, 0)
})

test('sending and closing pass through to the socket', async () => {
  const socket = new FakeSocket()
  const underlay = new Underlay(socket)
  assert.equal(underlay.port, 5000)
  underlay.send(stunRequest, from)
  assert.deepEqual(socket.sent, [{ bytes: stunRequest, to: from }])
  assert.equal(underlay.stats().sent, 1)
  await underlay[Symbol.asyncDispose]()
  assert.equal(socket.closed, 1)
})

/** Every packet of the DHT and the onion: vectors of an interoperating implementation, round trips, hostile bytes. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Endpoint } from '../../../api/endpoint.ts'
import { SecretKey } from '../../../api/keys.ts'
import { concatBytes, fromHex, toHex } from '../../../util/bytes.ts'
import {
  type DhtPublicKey,
  dhtPublicKey,
  keyPairOf,
  type LongTermPublicKey,
  longTermPublicKey,
  open,
  seal,
  sharedKey,
  toxCryptoReady,
} from '../crypto.ts'
import { decodeOnionAddress, decodePackedNodes, encodeOnionAddress, type PackedNode } from '../packed-node.ts'
import { nospamOf } from '../tox-id.ts'
import {
  type AnnounceFlag,
  decodeAnnounceRequest,
  decodeAnnounceRequestPlain,
  decodeAnnounceResponse,
  decodeAnnounceResponsePlain,
  encodeAnnounceRequest,
  encodeAnnounceRequestPlain,
  encodeAnnounceResponse,
  encodeAnnounceResponsePlain,
} from './announce.ts'
import { decodeDhtKeyPacket, decodeRoutedDhtKey, encodeDhtKeyPacket, encodeRoutedDhtKey } from './dht-key-packet.ts'
import {
  type DhtMessage,
  decodeDhtMessage,
  decodeDhtPacket,
  dhtPacketKinds,
  encodeDhtMessage,
  encodeDhtPacket,
} from './dht-packet.ts'
import { decodeDhtRequest, decodeNatPing, encodeDhtRequest, encodeNatPing } from './dht-request.ts'
import { decodeFriendRequest, encodeFriendRequest } from './friend-request.ts'
import { decodeLanDiscovery, encodeLanDiscovery } from './lan-discovery.ts'
import {
  decodeDataOuterPlain,
  decodeDataRequest,
  decodeDataResponse,
  encodeDataOuterPlain,
  encodeDataRequest,
  encodeDataResponse,
} from './onion-data.ts'
import {
  decodeOnionRequest,
  decodeOnionResponse,
  decodeOnionStep,
  encodeOnionRequest,
  encodeOnionResponse,
  encodeOnionStep,
  type OnionLayer,
  returnPathBytes,
} from './onion-layers.ts'

await toxCryptoReady

type Name = 'skA' | 'skB' | 'nonce' | 'pingReq' | 'nodesReq' | 'announceReqSha256'
const vectors: Readonly<Record<Name, string>> & { readonly announceReqLen: number } = JSON.parse(
  readFileSync(new URL('../../../../../test/vectors/tox.json', import.meta.url), 'utf8'),
)
const hex = (text: string): Uint8Array => fromHex(text)!
const a = keyPairOf<DhtPublicKey>(new SecretKey(hex(vectors.skA)))
const b = keyPairOf<DhtPublicKey>(new SecretKey(hex(vectors.skB)))
const key = sharedKey(b.publicKey, a.secretKey)!
const nonce = hex(vectors.nonce)
const id = hex('0102030405060708')

const bytes = (length: number, most = length): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: most })
const dhtKey = bytes(32).map((value): DhtPublicKey => dhtPublicKey(value)!)
const longTermKey = bytes(32).map((value): LongTermPublicKey => longTermPublicKey(value)!)
/** Records with the prototype of object literals, as deepEqual wants them. */
const plainRecord = { noNullPrototype: true } as const
const endpoint: fc.Arbitrary<Endpoint> = fc.record(
  {
    address: fc.oneof(fc.ipV4(), fc.constantFrom('2001:db8::1', '::1', 'fe80::1:2', '2001:db8:0:1:2:3:4:5')),
    port: fc.integer({ min: 1, max: 65_535 }),
  },
  plainRecord,
)
const udpNode: fc.Arbitrary<PackedNode> = fc.record(
  {
    transport: fc.constant('udp' as const),
    endpoint,
    publicKey: dhtKey,
  },
  plainRecord,
)
const anyNode: fc.Arbitrary<PackedNode> = fc.record(
  {
    transport: fc.constantFrom('udp' as const, 'tcp' as const),
    endpoint,
    publicKey: dhtKey,
  },
  plainRecord,
)
const sizes = { numRuns: 30, seed: 1 }

test('ping and nodes requests are those of the vectors', () => {
  const ping = encodeDhtMessage({ kind: 'ping-request', id })
  const nodes = encodeDhtMessage({ kind: 'nodes-request', id, wanted: new Uint8Array(32).fill(0x33) })
  for (const [message, expected] of [
    [ping, vectors.pingReq],
    [nodes, vectors.nodesReq],
  ] as const) {
    const packet = { kind: message.kind, sender: a.publicKey, nonce, boxed: seal(key, nonce, message.plain) }
    assert.equal(toHex(encodeDhtPacket(packet)), expected)
    const decoded = decodeDhtPacket(hex(expected))!
    assert.deepEqual(decoded, packet)
    assert.deepEqual(open(key, decoded.nonce, decoded.boxed), message.plain)
  }
})

test('an announce request is that of the vectors', () => {
  const plain = encodeAnnounceRequestPlain({
    pingId: new Uint8Array(32),
    searched: a.publicKey,
    dataKey: new Uint8Array(32).fill(0x77),
    sendback: id,
  })
  const request = encodeAnnounceRequest({ nonce, sender: a.publicKey, boxed: seal(key, nonce, plain) })
  assert.equal(request.length, vectors.announceReqLen)
  assert.equal(createHash('sha256').update(request).digest('hex'), vectors.announceReqSha256)
})

test('a node that knows nobody answers with a count of zero', () => {
  const { kind, plain } = encodeDhtMessage({ kind: 'nodes-response', id, nodes: [] })
  assert.deepEqual(decodeDhtMessage(kind, plain), { kind: 'nodes-response', id, nodes: [] })
})

test('DHT messages come back as they went', () => {
  const message: fc.Arbitrary<DhtMessage> = fc.oneof(
    fc.record({ kind: fc.constantFrom('ping-request' as const, 'ping-response' as const), id: bytes(8) }, plainRecord),
    fc.record({ kind: fc.constant('nodes-request' as const), id: bytes(8), wanted: bytes(32) }, plainRecord),
    fc.record(
      {
        kind: fc.constant('nodes-response' as const),
        id: bytes(8),
        nodes: fc.array(udpNode, { maxLength: 4 }),
      },
      plainRecord,
    ),
  )
  fc.assert(
    fc.property(message, dhtKey, bytes(24), (sent, sender, nonce) => {
      const { kind, plain } = encodeDhtMessage(sent)
      assert.deepEqual(decodeDhtMessage(kind, plain), sent)
      const packet = { kind, sender, nonce, boxed: concatBytes(new Uint8Array(16), plain) }
      assert.deepEqual(decodeDhtPacket(encodeDhtPacket(packet)), packet)
    }),
    { ...sizes, numRuns: 80 },
  )
})

test('routed requests, NAT pings and LAN discovery come back as they went', () => {
  fc.assert(
    fc.property(
      dhtKey,
      dhtKey,
      bytes(24),
      bytes(17, 200),
      fc.boolean(),
      bytes(8),
      (to, from, nonce, boxed, response, number) => {
        const request = { destination: to, sender: from, nonce, boxed }
        assert.deepEqual(decodeDhtRequest(encodeDhtRequest(request)), request)
        assert.deepEqual(decodeNatPing(encodeNatPing({ response, number })), { response, number })
        assert.deepEqual(decodeLanDiscovery(encodeLanDiscovery(from)), from)
      },
    ),
    sizes,
  )
})

test('onion layers come back as they went', () => {
  const layer = fc.constantFrom<OnionLayer>(0, 1, 2)
  fc.assert(
    fc.property(layer, bytes(24), bytes(32), bytes(36, 300), endpoint, (layer, nonce, sender, boxed, next) => {
      const request = { layer, nonce, sender, boxed, returnPath: new Uint8Array(layer * 59).fill(7) }
      assert.deepEqual(decodeOnionRequest(encodeOnionRequest(request)), request)
      assert.deepEqual(decodeOnionStep(encodeOnionStep({ next, rest: boxed })), { next, rest: boxed })
      assert.deepEqual(decodeOnionAddress(encodeOnionAddress(next)), next)
      const hops = layer === 0 ? 1 : layer === 1 ? 2 : 3
      const response = { hops, returnPath: new Uint8Array(hops * 59).fill(8), reply: boxed } as const
      assert.deepEqual(decodeOnionResponse(encodeOnionResponse(response)), response)
    }),
    sizes,
  )
})

test('announces come back as they went', () => {
  const flag = fc.constantFrom<AnnounceFlag>(0, 1, 2)
  const nodes = fc.array(udpNode, { maxLength: 4 })
  fc.assert(
    fc.property(flag, bytes(32), nodes, bytes(8), bytes(24), (flag, value, nodes, sendback, nonce) => {
      const plain = { pingId: value, searched: value, dataKey: value, sendback }
      assert.deepEqual(decodeAnnounceRequestPlain(encodeAnnounceRequestPlain(plain)), plain)
      const request = { nonce, sender: value, boxed: new Uint8Array(120).fill(1) }
      const returnPath = new Uint8Array(returnPathBytes).fill(2)
      const arrived = concatBytes(encodeAnnounceRequest(request), returnPath)
      assert.deepEqual(decodeAnnounceRequest(arrived), { ...request, returnPath })
      const answer = { flag, id: value, nodes }
      assert.deepEqual(decodeAnnounceResponsePlain(encodeAnnounceResponsePlain(answer)), answer)
      const response = { sendback, nonce, boxed: concatBytes(new Uint8Array(16), encodeAnnounceResponsePlain(answer)) }
      assert.deepEqual(decodeAnnounceResponse(encodeAnnounceResponse(response)), response)
    }),
    sizes,
  )
})

test('data to route, DHT-key packets and friend requests come back as they went', () => {
  const nodes = fc.array(anyNode, { maxLength: 4 })
  fc.assert(
    fc.property(
      longTermKey,
      dhtKey,
      bytes(24),
      bytes(81, 400),
      nodes,
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      (own, dht, nonce, boxed, nodes, noReplay) => {
        const request = { destination: own, nonce, sender: dht, boxed }
        const arrived = concatBytes(encodeDataRequest(request), new Uint8Array(returnPathBytes))
        assert.deepEqual(decodeDataRequest(arrived), request)
        const response = { nonce, sender: dht, boxed }
        assert.deepEqual(decodeDataResponse(encodeDataResponse(response)), response)
        assert.deepEqual(decodeDataOuterPlain(encodeDataOuterPlain({ sender: own, boxed })), { sender: own, boxed })
        const packet = { noReplay, dhtKey: dht, nodes }
        assert.deepEqual(decodeDhtKeyPacket(encodeDhtKeyPacket(packet)), packet)
        const routed = { sender: own, nonce, boxed }
        assert.deepEqual(decodeRoutedDhtKey(encodeRoutedDhtKey(routed).subarray(1)), routed)
        const friendRequest = { nospam: nospamOf(boxed.slice(0, 4))!, message: boxed }
        assert.deepEqual(decodeFriendRequest(encodeFriendRequest(friendRequest)), friendRequest)
      },
    ),
    sizes,
  )
})

test('a DHT-key packet without nodes is 41 bytes', () => {
  assert.equal(encodeDhtKeyPacket({ noReplay: 1n, dhtKey: a.publicKey, nodes: [] }).length, 41)
})

test('wrong lengths, counts and node kinds are not read', () => {
  const node = { transport: 'udp', endpoint: { address: '203.0.113.5', port: 1 }, publicKey: a.publicKey } as const
  const good = encodeDhtMessage({ kind: 'nodes-response', id, nodes: [node, node] })
  for (const count of [0, 1, 3, 255]) {
    assert.equal(decodeDhtMessage(good.kind, concatBytes(Uint8Array.of(count), good.plain.subarray(1))), undefined)
  }
  const relay = encodeDhtMessage({ kind: 'nodes-response', id, nodes: [{ ...node, transport: 'tcp' }] })
  assert.equal(decodeDhtMessage(relay.kind, relay.plain), undefined)
  const pingResponse = encodeDhtMessage({ kind: 'ping-response', id })
  assert.equal(decodeDhtMessage(dhtPacketKinds.pingRequest, pingResponse.plain), undefined, 'a response as a request')
  for (const text of [vectors.pingReq, vectors.nodesReq]) {
    const packet = hex(text)
    for (let length = 0; length < packet.length; length += 1) {
      assert.equal(decodeDhtPacket(packet.subarray(0, length)), undefined)
    }
    assert.equal(decodeDhtPacket(concatBytes(packet, Uint8Array.of(0))), undefined)
  }
  const five = encodeAnnounceResponsePlain({ flag: 0, id: a.publicKey, nodes: [node, node, node, node, node] })
  assert.equal(decodeAnnounceResponsePlain(five), undefined)
})

test('no decoder throws on any bytes, or takes more than the largest packet', () => {
  const decoders = [
    decodeDhtPacket,
    decodeDhtRequest,
    decodeNatPing,
    decodeLanDiscovery,
    decodeOnionRequest,
    decodeOnionStep,
    decodeOnionResponse,
    decodeOnionAddress,
    decodeAnnounceRequest,
    decodeAnnounceRequestPlain,
    decodeAnnounceResponse,
    decodeAnnounceResponsePlain,
    decodeDataRequest,
    decodeDataResponse,
    decodeDataOuterPlain,
    decodeDhtKeyPacket,
    decodeRoutedDhtKey,
    decodeFriendRequest,
    (value: Uint8Array) => decodePackedNodes(value, 4),
    ...Object.values(dhtPacketKinds).map((kind) => (value: Uint8Array) => decodeDhtMessage(kind, value)),
  ]
  const kinds = fc.constantFrom(
    0,
    1,
    2,
    4,
    0x20,
    0x21,
    0x80,
    0x81,
    0x82,
    0x83,
    0x84,
    0x85,
    0x86,
    0x8c,
    0x8d,
    0x8e,
    0x9c,
  )
  let read = 0
  fc.assert(
    fc.property(kinds, fc.oneof(bytes(0, 60), bytes(0, 420), bytes(1390, 1500)), (kind, rest) => {
      for (const value of [rest, concatBytes(Uint8Array.of(kind), rest)]) {
        for (const decode of decoders) if (decode(value) !== undefined) read += 1
      }
    }),
    { numRuns: 300, seed: 2 },
  )
  assert.ok(read > 100, 'random bytes get past the lengths often enough to mean something')
  const large = new Uint8Array(1500)
  for (const kind of [0, 2, 4, 0x20, 0x80, 0x83, 0x84, 0x85, 0x86, 0x8c]) {
    large[0] = kind
    for (const decode of [
      decodeDhtPacket,
      decodeDhtRequest,
      decodeOnionRequest,
      decodeOnionResponse,
      decodeAnnounceResponse,
      decodeDataRequest,
      decodeDataResponse,
    ]) {
      assert.equal(decode(large), undefined)
    }
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeSessionMessage, encodeSessionMessage, type SessionMessage } from './messages.ts'

const endpoint = { address: '203.0.113.7', port: 40_000 }
const candidate = { kind: 'host', endpoint, foundation: 'a1', priority: 2_130_706_431 } as const
const samples: readonly SessionMessage[] = [
  {
    kind: 'hello',
    up: true,
    wallTime: 1_795_000_000_000,
    guards: ['embedded'],
    addresses: ['10.64.1.2', 'fd70::1'],
    fixedAddresses: true,
    networks: ['192.168.1.0/24', '10.64.1.9/32'],
    guardParameters: Uint8Array.of(7, 8),
  },
  { kind: 'key-agreement', message: Uint8Array.of(1, 2, 3) },
  { kind: 'punch', message: { kind: 'description', generation: 7, ufrag: 'abCD', password: 'abcdefghijklmnopqrstuv' } },
  { kind: 'punch', message: { kind: 'candidate', generation: 7, candidate } },
  {
    kind: 'punch',
    message: {
      kind: 'candidate',
      generation: 1,
      candidate: { ...candidate, kind: 'server-reflexive', related: endpoint },
    },
  },
  { kind: 'punch', message: { kind: 'end-of-candidates', generation: 4_294_967_295 } },
  { kind: 'pairing-card', card: 'pg1abc' },
  { kind: 'pairing-pinned' },
  { kind: 'pairing-refused', reason: 'invite expired' },
]

test('every message survives the wire', () => {
  for (const sample of samples) assert.deepEqual(decodeSessionMessage(encodeSessionMessage(sample)), sample)
})

test('an unknown body of a later version is undefined', () => {
  assert.equal(decodeSessionMessage(Uint8Array.of(0xfa, 0x06, 0)), undefined)
  assert.equal(decodeSessionMessage(new Uint8Array(0)), undefined)
})

test('values that no peer of ours would send are refused', () => {
  const refused: readonly SessionMessage[] = [
    {
      kind: 'punch',
      message: { kind: 'description', generation: 1, ufrag: 'a b', password: 'abcdefghijklmnopqrstuv' },
    },
    { kind: 'punch', message: { kind: 'description', generation: 1, ufrag: 'abcd', password: 'short' } },
    {
      kind: 'punch',
      message: {
        kind: 'candidate',
        generation: 1,
        candidate: { ...candidate, endpoint: { address: 'example.org', port: 1 } },
      },
    },
    {
      kind: 'punch',
      message: {
        kind: 'candidate',
        generation: 1,
        candidate: { ...candidate, endpoint: { address: '192.0.2.1', port: 0 } },
      },
    },
    { kind: 'punch', message: { kind: 'candidate', generation: 1, candidate: { ...candidate, foundation: '' } } },
    { kind: 'key-agreement', message: new Uint8Array(9000) },
  ]
  for (const message of refused) assert.equal(decodeSessionMessage(encodeSessionMessage(message)), undefined)
})

test('no bytes make the decoder throw', () => {
  const mutated = fc.tuple(fc.constantFrom(...samples), fc.nat(), fc.nat(255)).map(([sample, at, value]) => {
    const bytes = new Uint8Array(encodeSessionMessage(sample))
    if (bytes.length > 0) bytes[at % bytes.length] = value
    return bytes
  })
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => void decodeSessionMessage(bytes)),
    {
      seed: 20_261_122,
      numRuns: 2000,
    },
  )
})

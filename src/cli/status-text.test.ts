import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DeviceStatus, PeerStatus } from '../api/device.ts'
import { formatBytes, showStatus } from './status-text.ts'

const now = 1_790_000_000_000

const peer: PeerStatus = {
  name: 'home',
  fingerprint: 'AAAAAAAA BBBBBBBB CCCCCCCC DDDDDDDD EEEEEEEE',
  state: 'connected',
  reason: 'packets pass both ways',
  since: now - 125_000,
  path: { kind: 'host', remote: { address: '192.168.1.5', port: 41641 }, mapped: undefined, roundTrip: 0.84 },
  addresses: ['10.70.1.2', 'fd70:6775:6172::1'],
  receivedBytes: 1_234_567_890,
  sentBytes: 999,
  lastHandshake: now,
  history: [],
}

function device(...peers: readonly PeerStatus[]): DeviceStatus {
  return {
    name: 'laptop',
    version: '1.2.3',
    up: true,
    fingerprint: peer.fingerprint,
    addresses: ['10.64.0.1', 'fd70:6775:6172::2'],
    guard: {
      kind: 'embedded',
      interface: 'pg0',
      dataPlane: 'workers',
      implementation: 'openssl-raw',
      offloads: ['tso', 'udp-gro'],
    },
    udpPort: 41_641,
    networks: [{ name: 'tox', status: { kind: 'connecting', reason: 'no node answered yet' } }],
    peers,
    warnings: ['this clock is a day off'],
  }
}

test('a connected peer shows its path, latency, bytes and addresses', () => {
  assert.deepEqual(showStatus(device(peer), now), [
    'laptop is up · pg0 · 10.64.0.1, fd70:6775:6172::2',
    'tox is connecting: no node answered yet',
    'embedded guard in two workers, openssl-raw, with tso udp-gro',
    'warning: this clock is a day off',
    '',
    'home  connected for 2 min',
    '      direct, on the same network (192.168.1.5:41641) · 0.8 ms',
    '      1.2 GB received, 999 B sent',
    '      10.70.1.2, fd70:6775:6172::1',
  ])
})

test('a path that breaks full packets says what passes', () => {
  const { path } = peer
  if (path === undefined) return assert.fail()
  const shown = (mtu: number | undefined): string =>
    showStatus(device({ ...peer, path: { ...path, mtu } }), now)[6] ?? ''
  assert.equal(shown(1400), '      direct, on the same network (192.168.1.5:41641) · 0.8 ms · packets up to 1400 bytes')
  for (const full of [undefined, 1452, 1480]) assert.ok(shown(full).endsWith('0.8 ms'))
})

test('a peer that is not connected shows why, and what would help', () => {
  const waiting: PeerStatus = {
    ...peer,
    name: 'office-2',
    state: 'waiting',
    reason: 'office-2 is not online',
    hint: 'start its daemon',
    path: undefined,
    addresses: [],
    receivedBytes: 0,
    sentBytes: 0,
  }
  const shown = showStatus(device(peer, waiting), now)
  assert.deepEqual(shown.slice(-3), [
    'office-2  waiting for 2 min',
    '          office-2 is not online',
    '          hint: start its daemon',
  ])
  assert.ok(shown.includes('home      connected for 2 min'))
})

test('bytes are counted in powers of 1000', () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [99_449, '99.4 kB'],
    [999_499, '999 kB'],
    [999_500, '1.0 MB'],
    [67_108_864, '67.1 MB'],
    [5e15, '5000 TB'],
  ]
  for (const [bytes, shown] of cases) assert.equal(formatBytes(bytes), shown)
})

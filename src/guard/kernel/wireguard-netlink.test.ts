import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { SecretKey, type TunnelPublicKey, tunnelPublicKey } from '../../api/keys.ts'
import type { SetRequest } from '../polled-device.ts'
import type { PeerCounters } from '../polled-peer.ts'
import { parsePrefix } from '../wireguard/allowed-ips.ts'
import {
  type Attribute,
  decodeAttributes,
  decodeErrno,
  decodeFamilyPayload,
  decodeMessages,
  RequestWriter,
} from './netlink.ts'
import {
  controller,
  decodeFamilyId,
  decodeSockaddr,
  encodeSockaddr,
  readDevicePart,
  sendSetDevice,
  writeGetDevice,
} from './wireguard-netlink.ts'

const vectors = JSON.parse(
  readFileSync(new URL('../../../../test/vectors/wireguard-netlink.json', import.meta.url), 'utf8'),
)
const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))
const hex = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString('hex')

function key(value: number): TunnelPublicKey {
  const made = tunnelPublicKey(new Uint8Array(32).fill(value))
  assert.ok(made)
  return made
}

function prefix(text: string): NonNullable<ReturnType<typeof parsePrefix>> {
  const parsed = parsePrefix(text)
  assert.ok(parsed)
  return parsed
}

/** All payloads of the messages of a vector. */
function payloads(datagrams: readonly string[]): readonly Uint8Array[] {
  return datagrams.flatMap((datagram) => (decodeMessages(bytes(datagram)) ?? []).map(({ payload }) => payload))
}

type Peer = ReadonlyMap<number, Uint8Array>

/** What the kernel would read: per request the attributes of the device, and of each peer. */
function sent(request: SetRequest, memorySize = 16 * 1024): { device: readonly Attribute[]; peers: readonly Peer[] }[] {
  const requests: { device: readonly Attribute[]; peers: readonly Peer[] }[] = []
  const send = (writer: RequestWriter): void => {
    const copy = writer.finish(1).slice()
    const attributes = decodeFamilyPayload(decodeMessages(copy)?.[0]?.payload ?? new Uint8Array(0)) ?? []
    const peers = attributes.filter(({ type }) => type === 8).flatMap(({ value }) => decodeAttributes(value) ?? [])
    const tables = peers.map(
      ({ value }) => new Map((decodeAttributes(value) ?? []).map((one) => [one.type, one.value])),
    )
    requests.push({ device: attributes.filter(({ type }) => type !== 8), peers: tables })
  }
  sendSetDevice('wg0', request, { memory: new Uint8Array(memorySize), family: 32, send })
  return requests
}

function prefixCount(peer: Peer): number {
  return decodeAttributes(peer.get(9) ?? new Uint8Array(0))?.length ?? 0
}

test('the requests for the family and for a device are those that Linux answered, and its answers are read', () => {
  const { family, version, getFamily: command, familyName } = controller
  const writer = new RequestWriter(new Uint8Array(64), { family, version, command, flags: 5 })
  writer.text(familyName, 'wireguard')
  assert.equal(hex(writer.finish(77)), vectors.familyRequest)
  const [family1, end] = payloads(vectors.familyAnswer)
  assert.equal(decodeFamilyId(decodeFamilyPayload(family1 ?? new Uint8Array(0))), 32)
  assert.equal(decodeErrno(end ?? new Uint8Array(0)), 0)
  assert.equal(decodeErrno(payloads(vectors.noFamilyAnswer)[0] ?? new Uint8Array(0)), 2)

  const get = writeGetDevice('wg0', { memory: new Uint8Array(64), family: 32 })
  assert.equal(hex(get.finish(77)), vectors.deviceRequest)
  const table = new Map<string, PeerCounters>()
  const [part, done] = payloads(vectors.deviceAnswer)
  assert.ok(readDevicePart(part ?? new Uint8Array(0), table))
  const never = { receivedBytes: 0, lastHandshake: undefined }
  assert.deepEqual(
    [...table],
    [
      ['01'.repeat(32), { ...never, sentBytes: 148, endpoint: { address: '127.0.0.1', port: 4000 } }],
      ['02'.repeat(32), { ...never, sentBytes: 0, endpoint: { address: 'fd00::1', port: 4001 } }],
    ],
  )
  assert.equal(decodeErrno(done ?? new Uint8Array(0)), 0)
  assert.equal(decodeErrno(payloads(vectors.noDeviceAnswer)[0] ?? new Uint8Array(0)), 19)
})

test('a change of the device names it, and carries what is changed and nothing else', () => {
  const [request, ...more] = sent({ privateKey: new SecretKey(new Uint8Array(32).fill(7)), listenPort: 51_820 })
  assert.equal(more.length, 0)
  assert.deepEqual(
    request?.device.map(({ type, value }) => [type, hex(value)]),
    [
      [2, '77673000'],
      [3, '07'.repeat(32)],
      [6, '6cca'],
    ],
  )
  assert.deepEqual(request?.peers, [])
})

test('peers are removed, set and updated in their order', () => {
  const [request, ...more] = sent({
    peers: [
      { kind: 'remove', publicKey: key(1) },
      {
        kind: 'set',
        publicKey: key(1),
        presharedKey: new SecretKey(new Uint8Array(32).fill(9)),
        endpoint: { address: '192.0.2.1', port: 4000 },
        persistentKeepalive: 65_535,
        allowedIps: [prefix('10.64.0.2/32'), prefix('fd70::/16')],
      },
      { kind: 'set', publicKey: key(2), updateOnly: true, allowedIps: [] },
      { kind: 'set', publicKey: key(3), endpoint: { address: '2001:db8::1', port: 5 } },
    ],
  })
  assert.equal(more.length, 0)
  const shown = request?.peers.map((peer) => Object.fromEntries([...peer].map(([type, value]) => [type, hex(value)])))
  const ipv4 = ['1c000080', '06000100', '02000000', '08000200', '0a400002', '05000300', '20000000'].join('')
  const ipv6 = ['28000080', '06000100', '0a000000', '14000200', `fd70${'00'.repeat(14)}`, '05000300', '10000000'].join(
    '',
  )
  assert.deepEqual(shown, [
    { 1: '01'.repeat(32), 3: '01000000' },
    {
      1: '01'.repeat(32),
      2: '09'.repeat(32),
      3: '02000000',
      4: `02000fa0c0000201${'00'.repeat(8)}`,
      5: 'ffff',
      9: ipv4 + ipv6,
    },
    { 1: '02'.repeat(32), 3: '06000000', 9: '' },
    { 1: '03'.repeat(32), 3: '00000000', 4: `0a00000500000000${'20010db8'}${'00'.repeat(11)}01${'00'.repeat(4)}` },
  ])
})

test('what is too long for one request goes in several: only the first part of a peer replaces its prefixes', () => {
  const allowedIps = Array.from({ length: 300 }, (_, at) => prefix(`10.${at >> 8}.${at & 255}.0/24`))
  const privateKey = new SecretKey(new Uint8Array(32).fill(7))
  const peers = [1, 2, 3].map((value) => ({ kind: 'set' as const, publicKey: key(value), allowedIps }))
  const requests = sent({ privateKey, peers }, 8 * 1024)
  assert.ok(requests.length >= 4 && requests.length <= 9, `${requests.length} requests`)
  assert.deepEqual(
    requests.map(({ device }) => device.map(({ type }) => type)),
    requests.map((_, at) => (at === 0 ? [2, 3] : [2])),
  )
  const parts = requests.flatMap((request) => request.peers)
  for (const value of [1, 2, 3]) {
    const own = parts.filter((peer) => peer.get(1)?.[0] === value)
    assert.deepEqual(own.map(prefixCount), [128, 128, 44])
    assert.deepEqual(
      own.map((peer) => peer.get(3)?.[0]),
      [2, 4, 4],
    )
  }
  assert.deepEqual(
    parts.map((peer) => peer.get(1)?.[0]),
    [1, 1, 1, 2, 2, 2, 3, 3, 3],
  )
})

test('a peer that comes again in a later part of a dump keeps what the first part said', () => {
  const table = new Map<string, PeerCounters>()
  const [part] = payloads(vectors.deviceAnswer)
  assert.ok(readDevicePart(part ?? new Uint8Array(0), table))
  const writer = new RequestWriter(new Uint8Array(256), { family: 32, flags: 0, command: 0, version: 1 })
  writer.nested(8, () => writer.nested(0, () => writer.bytes(1, key(1)) && writer.nested(9, () => true)))
  assert.ok(readDevicePart(decodeMessages(writer.finish(1))?.[0]?.payload ?? new Uint8Array(0), table))
  assert.equal(table.get('01'.repeat(32))?.sentBytes, 148)
  assert.equal(table.size, 2)
})

test('counters and times are read, and impossible ones are refused with the whole part', () => {
  const read = (write: (writer: RequestWriter) => boolean): PeerCounters | undefined => {
    const writer = new RequestWriter(new Uint8Array(256), { family: 32, flags: 0, command: 0, version: 1 })
    writer.nested(8, () => writer.nested(0, () => writer.bytes(1, key(1)) && write(writer)))
    const table = new Map<string, PeerCounters>()
    const isRead = readDevicePart(decodeMessages(writer.finish(1))?.[0]?.payload ?? new Uint8Array(0), table)
    assert.equal(isRead, table.size === 1)
    return table.get('01'.repeat(32))
  }
  const count = (value: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(value).buffer)
  const time = (seconds: bigint, nanoseconds: bigint): Uint8Array =>
    new Uint8Array(BigInt64Array.of(seconds, nanoseconds).buffer)
  const good = read(
    (writer) => writer.bytes(6, time(1_700_000_000n, 250_000_000n)) && writer.bytes(7, count(2n ** 40n)),
  )
  assert.deepEqual(good, {
    receivedBytes: 2 ** 40,
    sentBytes: 0,
    lastHandshake: 1_700_000_000_250,
    endpoint: undefined,
  })
  assert.equal(
    read((writer) => writer.bytes(7, count(2n ** 60n))),
    undefined,
  )
  assert.equal(
    read((writer) => writer.bytes(8, new Uint8Array(4))),
    undefined,
  )
  assert.equal(
    read((writer) => writer.bytes(6, time(-1n, 0n))),
    undefined,
  )
  assert.equal(
    read((writer) => writer.bytes(6, time(1n, 1_000_000_000n))),
    undefined,
  )
  assert.equal(
    read((writer) => writer.bytes(6, new Uint8Array(8))),
    undefined,
  )
})

test('socket addresses of both families read as they were written, others are none', () => {
  for (const endpoint of [
    { address: '203.0.113.7', port: 65_535 },
    { address: '2001:db8::7', port: 1 },
  ]) {
    const written = encodeSockaddr(endpoint)
    assert.deepEqual(decodeSockaddr(written), endpoint)
    assert.equal(decodeSockaddr(written.subarray(1)), undefined)
    assert.equal(decodeSockaddr(written.with(0, 1)), undefined)
  }
  assert.equal(decodeSockaddr(undefined), undefined)
})

test('a damaged answer throws nothing and adds nothing, or only whole peers', () => {
  const whole = payloads(vectors.deviceAnswer)[0] ?? new Uint8Array(0)
  const change = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(change, fc.nat(whole.length), (changes, length) => {
      const damaged = whole.slice(0, length)
      for (const [at, value] of changes) if (at < length) damaged[at] = value
      const table = new Map<string, PeerCounters>()
      const isRead = readDevicePart(damaged, table)
      assert.ok(isRead || table.size === 0)
      assert.ok(table.size <= 2)
      for (const [name, { receivedBytes, sentBytes }] of table) {
        assert.match(name, /^[0-9a-f]{64}$/)
        assert.ok(Number.isSafeInteger(receivedBytes) && Number.isSafeInteger(sentBytes))
      }
    }),
    { seed: 4, numRuns: 3000 },
  )
})

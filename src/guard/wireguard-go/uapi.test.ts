import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SecretKey, type TunnelPublicKey, tunnelPublicKey } from '../../api/keys.ts'
import { parsePrefix } from '../wireguard/allowed-ips.ts'
import { decodeGetAnswer, decodeSetAnswer, encodeSet } from './uapi.ts'

const keyOf = (byte: number): TunnelPublicKey => tunnelPublicKey(new Uint8Array(32).fill(byte))!
const hexOf = (byte: number): string => byte.toString(16).padStart(2, '0').repeat(32)

/** An answer of wireguard-go 0.0.20220316, with other keys. */
const answer = `private_key=${hexOf(0xaa)}
listen_port=51820
public_key=${hexOf(1)}
preshared_key=${hexOf(0xbb)}
protocol_version=1
endpoint=192.0.2.7:4000
last_handshake_time_sec=1795000000
last_handshake_time_nsec=250000000
tx_bytes=92184
rx_bytes=76432
persistent_keepalive_interval=65535
allowed_ip=10.64.1.2/32
allowed_ip=fd70::1/128
public_key=${hexOf(2)}
preshared_key=${hexOf(0)}
protocol_version=1
endpoint=[2001:db8::7]:4001
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
persistent_keepalive_interval=0
errno=0

`

test('a request is the lines of the specification', () => {
  const request = encodeSet({
    privateKey: new SecretKey(new Uint8Array(32).fill(0xaa)),
    listenPort: 51_820,
    peers: [
      { kind: 'remove', publicKey: keyOf(1) },
      {
        kind: 'set',
        publicKey: keyOf(1),
        presharedKey: new SecretKey(new Uint8Array(32).fill(0xbb)),
        endpoint: { address: '2001:db8::7', port: 4000 },
        persistentKeepalive: 65_535,
        allowedIps: [parsePrefix('10.64.1.2/32')!, parsePrefix('fd70::/16')!],
      },
      { kind: 'set', publicKey: keyOf(2), updateOnly: true, endpoint: { address: '192.0.2.1', port: 1 } },
    ],
  })
  assert.equal(
    request,
    `set=1
private_key=${hexOf(0xaa)}
listen_port=51820
public_key=${hexOf(1)}
remove=true
public_key=${hexOf(1)}
preshared_key=${hexOf(0xbb)}
endpoint=[2001:db8::7]:4000
persistent_keepalive_interval=65535
replace_allowed_ips=true
allowed_ip=10.64.1.2/32
allowed_ip=fd70::/16
public_key=${hexOf(2)}
update_only=true
endpoint=192.0.2.1:1

`,
  )
})

test('an answer gives the counters of every peer, and no key', () => {
  const peers = decodeGetAnswer(answer)
  assert.deepEqual(
    [...(peers ?? [])],
    [
      [
        hexOf(1),
        {
          receivedBytes: 76_432,
          sentBytes: 92_184,
          lastHandshake: 1_795_000_000_250,
          endpoint: { address: '192.0.2.7', port: 4000 },
        },
      ],
      [
        hexOf(2),
        {
          receivedBytes: 0,
          sentBytes: 0,
          lastHandshake: undefined,
          endpoint: { address: '2001:db8::7', port: 4001 },
        },
      ],
    ],
  )
})

test('a device without peers, and a peer of which little is said, can be read', () => {
  assert.deepEqual([...(decodeGetAnswer('errno=0\n\n') ?? [['?']])], [])
  const short = decodeGetAnswer(`public_key=${hexOf(3)}\nsomething_new=7\nerrno=0\n\n`)
  assert.deepEqual(
    [...(short ?? [])],
    [[hexOf(3), { receivedBytes: 0, sentBytes: 0, lastHandshake: undefined, endpoint: undefined }]],
  )
})

test('an endpoint that cannot be ours is none', () => {
  for (const place of ['192.0.2.7', 'example.org:4000', '192.0.2.7:0', '[fe80::1%eth0]:4000']) {
    const peer = decodeGetAnswer(answer.replace('192.0.2.7:4000', place))?.get(hexOf(1))
    assert.deepEqual([peer?.receivedBytes, peer?.endpoint], [76_432, undefined])
  }
})

test('what is no answer is refused as a whole', () => {
  const damages: readonly (readonly [string, string])[] = [
    ['errno=0', 'errno=5'],
    ['errno=0\n', ''],
    ['errno=0\n\n', 'errno=0\n'],
    ['rx_bytes=76432', 'rx_bytes=-1'],
    ['rx_bytes=76432', 'rx_bytes=99999999999999999'],
    ['rx_bytes=76432', 'rx_bytes'],
    ['nsec=250000000', 'nsec=1000000000'],
    [hexOf(2), hexOf(1)],
    [hexOf(2), hexOf(2).slice(2)],
    ['tx_bytes=92184', '=92184'],
  ]
  for (const [from, to] of damages) {
    const damaged = answer.replace(from, to)
    assert.notEqual(damaged, answer)
    assert.equal(decodeGetAnswer(damaged), undefined, to)
  }
  assert.equal(decodeGetAnswer(`${'a=b\n'.repeat(2 ** 18)}errno=0\n\n`), undefined)
})

test('the answer to a change is its error number', () => {
  assert.equal(decodeSetAnswer('errno=0\n\n'), 0)
  assert.equal(decodeSetAnswer('errno=-98\n\n'), -98)
  for (const text of ['', 'errno=0', 'errno=\n\n', 'errno=0\n\nerrno=0\n\n', 'errno=99999999999\n\n', 'ok\n\n']) {
    assert.equal(decodeSetAnswer(text), undefined)
  }
})

test('no text makes the decoders throw', () => {
  const mutated = fc
    .tuple(fc.nat(answer.length - 1), fc.string({ maxLength: 4 }), fc.nat(6))
    .map(([at, text, cut]) => answer.slice(0, at) + text + answer.slice(at + cut))
  fc.assert(
    fc.property(fc.oneof(mutated, fc.string({ maxLength: 300 })), (text) => {
      decodeSetAnswer(text)
      for (const [key, { receivedBytes, sentBytes }] of decodeGetAnswer(text) ?? []) {
        assert.match(key, /^[0-9a-f]{64}$/)
        assert.ok(receivedBytes >= 0 && sentBytes >= 0)
      }
    }),
    { seed: 20_261_123, numRuns: 3000 },
  )
})

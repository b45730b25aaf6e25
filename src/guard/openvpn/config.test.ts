import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SecretKey } from '../../api/keys.ts'
import { createCertificate } from './certificate.ts'
import { type OpenvpnConfig, renderConfig } from './config.ts'

const config: OpenvpnConfig = {
  interfaceName: 'pg0',
  mtu: 1392,
  localPort: 41_000,
  remote: { address: '203.0.113.5', port: 42_000 },
  isServer: true,
  certificate: createCertificate(new Uint8Array(32).fill(1)),
  peerFingerprint: new Uint8Array(32).fill(0xab),
  staticKey: new SecretKey(new Uint8Array(256).fill(0xcd)),
  managementSocket: '/run/a "quoted" \\ folder/m.sock',
  runAs: undefined,
}

function linesOf(more: Partial<OpenvpnConfig> = {}): readonly string[] {
  return renderConfig({ ...config, ...more }).split('\n')
}

test('the process gets the port and the path, the peer’s fingerprint, and nothing to run', () => {
  const lines = linesOf()
  for (const line of [
    'mode p2p',
    'dev pg0',
    'tun-mtu 1392',
    'proto udp4',
    'lport 41000',
    'remote 203.0.113.5 42000',
    `peer-fingerprint "${Array(32).fill('AB').join(':')}"`,
    'tls-version-min 1.3',
    'data-ciphers CHACHA20-POLY1305:AES-256-GCM',
    'script-security 0',
    'ifconfig-noexec',
    'route-noexec',
    'management-client',
    'management "/run/a \\"quoted\\" \\\\ folder/m.sock" unix',
  ])
    assert.ok(lines.includes(line), line)
})

test('one end is the TLS server, the other the client', () => {
  assert.ok(linesOf().includes('tls-server') && !linesOf().includes('tls-client'))
  assert.ok(linesOf({ isServer: false }).includes('tls-client') && !linesOf({ isServer: false }).includes('tls-server'))
})

test('certificate, key and static key are whole blocks', () => {
  const text = renderConfig(config)
  for (const name of ['cert', 'key', 'tls-crypt'])
    assert.match(text, new RegExp(`^<${name}>\n-----BEGIN [^\n]+-----\n[^<]+\n-----END [^\n]+-----\n</${name}>$`, 'm'))
  const [, key = ''] = /BEGIN OpenVPN Static key V1-----\n([0-9a-f\n]+)\n-----END/.exec(text) ?? []
  assert.deepEqual(key.split('\n'), Array(16).fill('cd'.repeat(16)))
})

test('it runs as somebody else only when told, and over IPv6 when the path is', () => {
  assert.ok(!linesOf().some((line) => line.startsWith('user ')))
  const lines = linesOf({ runAs: { user: 'nobody', group: 'nogroup' }, remote: { address: '2001:db8::1', port: 9 } })
  assert.ok(lines.includes('user nobody') && lines.includes('group nogroup'))
  assert.ok(lines.includes('proto udp6') && lines.includes('remote 2001:db8::1 9'))
})

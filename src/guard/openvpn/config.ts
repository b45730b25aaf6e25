/**
 * The configuration of one OpenVPN process (openvpn(8), version 2.6): peer-to-peer, TLS 1.3, each end known by the
 * fingerprint of its certificate, both behind a shared key. It holds secrets: it goes to the standard input of the process
 * and nowhere else.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import type { SecretKey } from '../../api/keys.ts'
import { toHex } from '../../util/bytes.ts'
import { type Certificate, toPem } from './certificate.ts'

export interface OpenvpnConfig {
  /** A TUN that is there, with its addresses. */
  readonly interfaceName: string
  readonly mtu: number
  readonly localPort: number
  readonly remote: Endpoint
  readonly isServer: boolean
  readonly certificate: Certificate
  /** Of the peer's certificate, 32 bytes. */
  readonly peerFingerprint: Uint8Array
  /** 256 bytes. */
  readonly staticKey: SecretKey
  /** Where we wait for the process: a unix socket. */
  readonly managementSocket: string
  /** What the process becomes once everything is open. */
  readonly runAs: { readonly user: string; readonly group: string } | undefined
}

/** Seconds. What a peer that moved sends tells us where it is now, so it says something often. */
const pingInterval = 2
/** Seconds. The path is watched by others: this only wakes a process whose peer has forgotten it. */
const pingRestart = 20

/** Bytes. */
const receiveBufferSize = 4 * 1024 * 1024
const sendBufferSize = 1024 * 1024

export function renderConfig(config: OpenvpnConfig): string {
  const { interfaceName, mtu, localPort, remote, runAs } = config
  const ownKey = new Uint8Array(config.certificate.privateKey.export({ format: 'der', type: 'pkcs8' }))
  const lines = [
    'mode p2p',
    'dev-type tun',
    `dev ${interfaceName}`,
    // Addresses, routes and the MTU of the interface are ours to set, and to take back.
    'ifconfig-noexec',
    'route-noexec',
    `tun-mtu ${mtu}`,
    'mssfix 0',
    // What is too large for a link on the way is cut there rather than lost.
    'mtu-disc no',
    'disable-dco',
    `proto ${remote.address.includes(':') ? 'udp6' : 'udp4'}`,
    `lport ${localPort}`,
    `remote ${remote.address} ${remote.port}`,
    // The peer may come from elsewhere when its NAT forgets it: what it sends is authenticated.
    'float',
    'fast-io',
    // One thread reads, seals and writes: what comes meanwhile waits here. The system may allow less.
    `rcvbuf ${receiveBufferSize}`,
    `sndbuf ${sendBufferSize}`,
    ...(config.isServer ? ['tls-server', 'dh none'] : ['tls-client']),
    ...block('cert', toPem('CERTIFICATE', config.certificate.der)),
    ...block('key', toPem('PRIVATE KEY', ownKey)),
    `peer-fingerprint "${formatFingerprint(config.peerFingerprint)}"`,
    ...block('tls-crypt', formatStaticKey(config.staticKey)),
    'tls-version-min 1.3',
    'data-ciphers CHACHA20-POLY1305:AES-256-GCM',
    `ping ${pingInterval}`,
    `ping-restart ${pingRestart}`,
    'hand-window 20',
    'tls-timeout 1',
    'resolv-retry 0',
    'connect-retry 1 4',
    'persist-key',
    'persist-tun',
    'auth-nocache',
    'script-security 0',
    ...(runAs === undefined ? [] : [`user ${runAs.user}`, `group ${runAs.group}`]),
    `management ${quote(config.managementSocket)} unix`,
    // It dials us, and ends when we do.
    'management-client',
    'management-hold',
    'suppress-timestamps',
    'verb 3',
    'mute 20',
  ]
  ownKey.fill(0)
  return `${lines.join('\n')}\n`
}

function block(name: string, content: string): readonly string[] {
  return [`<${name}>`, content, `</${name}>`]
}

/** openvpn(8), "quoting and escaping". */
function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

/** `AB:CD:…` */
function formatFingerprint(fingerprint: Uint8Array): string {
  return (toHex(fingerprint).toUpperCase().match(/../g) ?? []).join(':')
}

function formatStaticKey(key: SecretKey): string {
  const name = 'OpenVPN Static key V1'
  const lines = toHex(key.reveal()).match(/.{32}/g) ?? []
  return [`-----BEGIN ${name}-----`, ...lines, `-----END ${name}-----`].join('\n')
}

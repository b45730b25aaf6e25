/**
 * WireGuard's cross-platform configuration protocol (wireguard.com/xplatform, "Configuration Protocol"): lines of
 * `key=value` over a local socket, keys as hex, an empty line at the end of each request and each answer. Left out:
 * `fwmark`, and of what `get` tells everything but the counters; keys in an answer are never kept.
 */

import { type Endpoint, formatEndpoint, parseHostPort } from '../../api/endpoint.ts'
import { toHex } from '../../util/bytes.ts'
import { ipaddr } from '../../util/ipaddr.ts'
import type { PeerChange, PeerTable, SetRequest } from '../polled-device.ts'
import type { PeerCounters } from '../polled-peer.ts'
import type { Prefix } from '../wireguard/allowed-ips.ts'

export const getRequest = 'get=1\n\n'

/** Bytes. A device of 256 peers with a few prefixes each has 200 kB. */
export const maximumAnswerSize: number = 2 ** 20

export function encodeSet({ privateKey, listenPort, peers = [] }: SetRequest): string {
  const lines = ['set=1']
  if (privateKey !== undefined) lines.push(`private_key=${toHex(privateKey.reveal())}`)
  if (listenPort !== undefined) lines.push(`listen_port=${listenPort}`)
  for (const peer of peers) lines.push(...peerLines(peer))
  return `${lines.join('\n')}\n\n`
}

function peerLines(peer: PeerChange): readonly string[] {
  const lines = [`public_key=${toHex(peer.publicKey)}`]
  if (peer.kind === 'remove') return [...lines, 'remove=true']
  const { updateOnly, presharedKey, endpoint, allowedIps, persistentKeepalive } = peer
  if (updateOnly === true) lines.push('update_only=true')
  if (presharedKey !== undefined) lines.push(`preshared_key=${toHex(presharedKey.reveal())}`)
  if (endpoint !== undefined) lines.push(`endpoint=${formatEndpoint(endpoint)}`)
  if (persistentKeepalive !== undefined) lines.push(`persistent_keepalive_interval=${persistentKeepalive}`)
  if (allowedIps !== undefined) {
    lines.push('replace_allowed_ips=true', ...allowedIps.map((prefix) => `allowed_ip=${formatPrefix(prefix)}`))
  }
  return lines
}

function formatPrefix({ bytes, length }: Prefix): string {
  return `${ipaddr.fromByteArray([...bytes]).toString()}/${length}`
}

/** The error number, 0 for success; `undefined` for what is no answer to `set`. */
export function decodeSetAnswer(text: string): number | undefined {
  const match = /^errno=(-?\d{1,10})\n\n$/.exec(text)
  return match === null ? undefined : Number(match[1])
}

/** The peers in an answer to `get`; `undefined` for anything else, also for an error. Keys it does not know are skipped. */
export function decodeGetAnswer(text: string): PeerTable | undefined {
  if (text.length > maximumAnswerSize || !text.endsWith('\n\n')) return undefined
  const lines = text.slice(0, -2).split('\n')
  if (lines.pop() !== 'errno=0') return undefined
  const peers = new Map<string, PeerCounters>()
  const sections = sectionsOf(lines)
  for (const { key, fields } of sections ?? []) {
    const counters = decodePeer(fields)
    if (counters === undefined || peers.has(key) || !/^[0-9a-f]{64}$/.test(key)) return undefined
    peers.set(key, counters)
  }
  return sections === undefined ? undefined : peers
}

interface Section {
  readonly key: string
  readonly fields: Map<string, string>
}

/** One for each `public_key`; what stands before the first is the device's own. */
function sectionsOf(lines: readonly string[]): readonly Section[] | undefined {
  const sections: Section[] = []
  for (const line of lines) {
    const at = line.indexOf('=')
    if (at < 1) return undefined
    const [name, value] = [line.slice(0, at), line.slice(at + 1)]
    if (name === 'public_key') sections.push({ key: value, fields: new Map() })
    else sections.at(-1)?.fields.set(name, value)
  }
  return sections
}

function decodePeer(fields: ReadonlyMap<string, string>): PeerCounters | undefined {
  const receivedBytes = decodeCount(fields.get('rx_bytes'))
  const sentBytes = decodeCount(fields.get('tx_bytes'))
  const seconds = decodeCount(fields.get('last_handshake_time_sec'))
  const nanoseconds = decodeCount(fields.get('last_handshake_time_nsec'))
  if (receivedBytes === undefined || sentBytes === undefined) return undefined
  if (seconds === undefined || nanoseconds === undefined || nanoseconds >= 1e9) return undefined
  const lastHandshake = seconds === 0 && nanoseconds === 0 ? undefined : seconds * 1000 + nanoseconds / 1e6
  return { receivedBytes, sentBytes, lastHandshake, endpoint: decodeEndpoint(fields.get('endpoint')) }
}

/** 0 where the program does not say; `undefined` for what is no number. */
function decodeCount(text = '0'): number | undefined {
  const count = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(count) ? count : undefined
}

/** `undefined` also for one that is no path of ours, such as a link-local address with its zone. */
function decodeEndpoint(text = ''): Endpoint | undefined {
  const place = parseHostPort(text)
  if (place === undefined || !ipaddr.isValid(place.host)) return undefined
  return { address: place.host, port: place.port }
}

/** The status of a device as text: what it is, then one block a peer. Pure. */

import type { DeviceGuardStatus, DeviceStatus, PeerStateKind, PeerStatus } from '../api/device.ts'
import { formatEndpoint } from '../api/endpoint.ts'
import type { GuardStatus, PathKind } from '../api/roles.ts'
import { formatDuration } from '../util/wall-time.ts'
import { type Colour, colour } from './terminal.ts'

/** `now`: wall time in ms. */
export function showStatus(status: DeviceStatus, now: number): readonly string[] {
  const { name, up, guard, addresses, networks, peers, warnings } = status
  const tunnel = up ? `${colour('green', 'up')} · ${guard.interface ?? guard.kind} · ${addresses.join(', ')}` : 'down'
  const lines = [`${colour('bold', name)} is ${tunnel}`]
  for (const { name: network, status: health } of networks) {
    lines.push(`${network} is ${health.kind}: ${health.kind === 'online' ? health.detail : health.reason}`)
  }
  if (up) lines.push(showGuard(guard))
  lines.push(...warnings.map((warning) => `${colour('yellow', 'warning')}: ${warning}`))
  if (peers.length === 0) lines.push('', 'no peers yet')
  const width = Math.max(0, ...peers.map((peer) => peer.name.length))
  for (const peer of peers) lines.push('', ...showPeer(peer, { now, width }))
  return lines
}

/** `embedded guard in two workers, openssl-raw, with tso uso udp-segment udp-gro`. */
function showGuard({ kind, dataPlane, implementation, offloads }: DeviceGuardStatus): string {
  const cipher = implementation === undefined ? '' : `, ${implementation}`
  const helped = offloads.length === 0 ? '' : `, with ${offloads.join(' ')}`
  return `${kind} guard ${dataPlanes[dataPlane]}${cipher}${helped}`
}

function showPeer(
  peer: PeerStatus,
  { now, width }: { readonly now: number; readonly width: number },
): readonly string[] {
  const since = formatDuration(now - peer.since)
  const state = `${colour(stateColours[peer.state], peer.state)} for ${since}`
  const indent = ' '.repeat(width + 2)
  const lines = [`${colour('bold', peer.name.padEnd(width))}  ${state}`]
  if (peer.path === undefined) {
    lines.push(`${indent}${peer.reason}`)
  } else {
    const { kind, remote, roundTrip, mtu } = peer.path
    const latency =
      roundTrip === undefined ? [] : [`${roundTrip < 10 ? roundTrip.toFixed(1) : Math.round(roundTrip)} ms`]
    const narrow = mtu === undefined || mtu >= fullPacket ? [] : [`packets up to ${mtu} bytes`]
    lines.push(indent + [`${pathWords[kind]} (${formatEndpoint(remote)})`, ...latency, ...narrow].join(' · '))
    if (peer.state !== 'connected') lines.push(`${indent}${peer.reason}`)
  }
  const traffic = peer.receivedBytes + peer.sentBytes
  if (traffic > 0)
    lines.push(`${indent}${formatBytes(peer.receivedBytes)} received, ${formatBytes(peer.sentBytes)} sent`)
  if (peer.addresses.length > 0) lines.push(`${indent}${peer.addresses.join(', ')}`)
  if (peer.hint !== undefined) lines.push(`${indent}${colour('yellow', 'hint')}: ${peer.hint}`)
  return lines
}

/** What a full packet of the default MTU needs outside the tunnel: a narrower path is worth a word. */
const fullPacket = 1452

const dataPlanes: Readonly<Record<GuardStatus['dataPlane'], string>> = {
  none: 'not running',
  starting: 'starting',
  workers: 'in two workers',
  plain: 'packet by packet in the main thread',
  kernel: 'in the kernel',
  process: 'in a process of its own',
}

const stateColours: Readonly<Record<PeerStateKind, Colour>> = {
  down: 'dim',
  resuming: 'yellow',
  reaching: 'yellow',
  securing: 'yellow',
  punching: 'yellow',
  joining: 'yellow',
  connected: 'green',
  healing: 'yellow',
  waiting: 'yellow',
  refused: 'red',
}

const pathWords: Readonly<Record<PathKind, string>> = {
  host: 'direct, on the same network',
  'server-reflexive': 'direct, through NAT',
  'peer-reflexive': 'direct, through NAT',
  relayed: 'relayed',
  cached: 'direct, where it was last time',
}

/** `890 B`, `1.2 MB`: powers of 1000. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

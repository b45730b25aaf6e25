/** What a worker is told of a command to the data plane: with the half of the keys that is its own, in shared memory. */

import type { Endpoint } from '../../api/endpoint.ts'
import { assertNever } from '../../util/assert-never.ts'
import type { DataPlaneCommand } from './data-plane.ts'
import type { Ipv4Endpoint, PeerCommand, WorkerSetup } from './worker-messages.ts'

/** `row` is that of the peer; without it there is no peer to add. The keys of `command` stay as they are. */
export function commandFor(
  role: WorkerSetup['role'],
  command: DataPlaneCommand,
  row: Float64Array | undefined,
): PeerCommand | undefined {
  switch (command.kind) {
    case 'add-peer':
      return row === undefined ? undefined : { ...command, row }
    case 'set-endpoint':
      return { ...command, endpoint: encodeEndpoint(command.endpoint) }
    case 'install-keypair': {
      const { sendKey, receiveKey, localIndex, remoteIndex, progress, ...limits } = command.keypair
      const key = new Uint8Array(new SharedArrayBuffer(32))
      key.set((role === 'transmit' ? sendKey : receiveKey).reveal())
      const nextCounter = (role === 'transmit' ? progress?.send : progress?.receive) ?? 0
      return { kind: command.kind, peer: command.peer, localIndex, remoteIndex, key, nextCounter, ...limits }
    }
    case 'set-allowed-ips':
    case 'remove-peer':
    case 'use-keypair':
    case 'remove-keypair':
    case 'send-keepalive':
    case 'drop-queue':
      return command
    default:
      return assertNever(command)
  }
}

/** The workers know IPv4 only: anything else is no endpoint to them. */
export function encodeEndpoint(endpoint: Endpoint | undefined): Ipv4Endpoint | undefined {
  const parts = endpoint?.address.split('.').map(Number) ?? []
  const [a = -1, b = -1, d = -1, e = -1] = parts
  if (endpoint === undefined || parts.length !== 4 || !parts.every((part) => part >= 0 && part <= 255)) return undefined
  return { address: ((a << 24) | (b << 16) | (d << 8) | e) >>> 0, port: endpoint.port }
}

export function decodeEndpoint({ address, port }: Ipv4Endpoint): Endpoint {
  return { address: [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.'), port }
}

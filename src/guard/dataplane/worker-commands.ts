/** What a worker is told of a command to the data plane: with the keys that it needs, in shared memory. */

import type { Endpoint } from '../../api/endpoint.ts'
import type { SecretKey } from '../../api/keys.ts'
import { assertNever } from '../../util/assert-never.ts'
import type { DataPlaneCommand } from './data-plane.ts'
import type { Ipv4Endpoint, PeerCommand, WorkerSetup } from './worker-messages.ts'

/** What both workers share of a peer, or of a keypair. */
export interface Shared {
  /** The peer's; without it there is no peer to add. */
  readonly row: Float64Array | undefined
  /** The keypair's counter to send next. */
  readonly counter: Float64Array
}

/** To be called once for a command, whatever the number of workers. */
export function sharedBy(command: DataPlaneCommand, row: Float64Array | undefined): Shared {
  const counter = new Float64Array(new SharedArrayBuffer(8))
  if (command.kind === 'install-keypair') counter[0] = command.keypair.progress?.send ?? 0
  return { row, counter }
}

/** The keys of `command` stay as they are. */
export function commandFor(
  role: WorkerSetup['role'],
  command: DataPlaneCommand,
  { row, counter }: Shared,
): PeerCommand | undefined {
  switch (command.kind) {
    case 'add-peer':
      return row === undefined ? undefined : { ...command, row }
    case 'set-endpoint':
      return { ...command, endpoint: encodeEndpoint(command.endpoint) }
    case 'install-keypair': {
      const { sendKey, receiveKey, localIndex, remoteIndex, progress, ...limits } = command.keypair
      const { kind, peer } = command
      const keys = {
        sendKey: sharedCopy(sendKey),
        ...(role === 'receive' ? { receiveKey: sharedCopy(receiveKey) } : {}),
      }
      return { kind, peer, localIndex, remoteIndex, ...keys, counter, receivedBelow: progress?.receive ?? 0, ...limits }
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

function sharedCopy(key: SecretKey): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(32))
  copy.set(key.reveal())
  return copy
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

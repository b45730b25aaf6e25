/** For tests: the usual case of two devices that are each other's peer, 10.0.0.1 and 10.0.0.2 inside the tunnel. */

import { SecretKey } from '../../api/keys.ts'
import { toUtf8 } from '../../util/bytes.ts'
import type { EmbeddedGuardOptions } from '../embedded.ts'
import {
  ipv4Packet,
  type NetworkOptions,
  seededRandom,
  VirtualClock,
  VirtualDevice,
  VirtualNetwork,
  VirtualPath,
  type VirtualPeer,
} from './virtual-tunnel.ts'

export interface TwoDevices {
  readonly clock: VirtualClock
  readonly network: VirtualNetwork
  readonly a: VirtualDevice
  readonly b: VirtualDevice
  /** b, as a knows it. */
  readonly atA: VirtualPeer
  readonly atB: VirtualPeer
  readonly pathToA: VirtualPath
  readonly pathToB: VirtualPath
  /** Both use the path, and a initiates. */
  connect(): void
  /** Sends a numbered packet into one end. */
  send(from: 'a' | 'b', text?: string): void
  /** The texts that came out at an end. */
  texts(at: 'a' | 'b'): string[]
}

export interface TwoDevicesOptions {
  readonly seed?: number
  readonly network?: Omit<NetworkOptions, 'clock' | 'random'>
  readonly a?: Partial<EmbeddedGuardOptions>
  readonly b?: Partial<EmbeddedGuardOptions>
  /** ms by which both data planes are late. */
  readonly planeDelay?: number
  /** One byte for each side, as `presharedKey` takes it. */
  readonly presharedKeys?: readonly [number | undefined, number | undefined]
}

export const endpointA = { address: '192.0.2.1', port: 1111 }
export const endpointB = { address: '192.0.2.2', port: 2222 }

/** A pre-shared key of one repeated byte. */
export function presharedKey(byte: number): SecretKey {
  return new SecretKey(new Uint8Array(32).fill(byte))
}

export async function twoDevices(options: TwoDevicesOptions = {}): Promise<TwoDevices> {
  const { seed = 1, planeDelay = 0, presharedKeys = [undefined, undefined] } = options
  const clock = new VirtualClock()
  const network = new VirtualNetwork({ clock, random: seededRandom(seed), ...options.network })
  const secretA = new Uint8Array(32).fill(0x11)
  const secretB = new Uint8Array(32).fill(0x22)
  const a = new VirtualDevice({
    network,
    endpoint: endpointA,
    secret: secretA,
    planeDelay,
    clock,
    random: seededRandom(seed + 1),
    ...options.a,
  })
  const b = new VirtualDevice({
    network,
    endpoint: endpointB,
    secret: secretB,
    planeDelay,
    clock,
    random: seededRandom(seed + 2),
    ...options.b,
  })
  const [keyA, keyB] = presharedKeys.map((byte) => (byte === undefined ? undefined : presharedKey(byte)))
  const atA = await a.addPeer({ publicKey: b.publicKey, presharedKey: keyA, allowedIps: ['10.0.0.2/32'] })
  const atB = await b.addPeer({ publicKey: a.publicKey, presharedKey: keyB, allowedIps: ['10.0.0.1/32'] })
  const pathToA = new VirtualPath(endpointA)
  const pathToB = new VirtualPath(endpointB)
  return {
    clock,
    network,
    a,
    b,
    atA,
    atB,
    pathToA,
    pathToB,
    connect: () => {
      atB.peer.use(pathToA)
      atA.peer.use(pathToB, { initiate: true })
    },
    send: (from, text = '') => {
      const payload = toUtf8(text)
      if (from === 'a') a.send(ipv4Packet({ from: '10.0.0.1', to: '10.0.0.2', payload }))
      else b.send(ipv4Packet({ from: '10.0.0.2', to: '10.0.0.1', payload }))
    },
    texts: (at) => (at === 'a' ? a : b).packets.map((packet) => Buffer.from(packet.subarray(20)).toString()),
  }
}

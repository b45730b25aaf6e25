/**
 * The words of the kernel's WireGuard: generic netlink family `wireguard`, version 1 (linux/wireguard.h). A device is
 * set in as many messages as it takes, and read in a dump of as many. Left out: fwmark, and of what is read everything
 * but the counters; keys in an answer are never looked at.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import { toHex } from '../../util/bytes.ts'
import { ipaddr } from '../../util/ipaddr.ts'
import type { PeerChange, SetRequest } from '../polled-device.ts'
import type { PeerCounters } from '../polled-peer.ts'
import type { Prefix } from '../wireguard/allowed-ips.ts'
import { type Attribute, decodeAttributes, decodeFamilyPayload, RequestWriter, requestFlags } from './netlink.ts'

export const wireguardFamily = { name: 'wireguard', version: 1 } as const

const command = { getDevice: 0, setDevice: 1 } as const
const device = { name: 2, privateKey: 3, listenPort: 6, peers: 8 } as const
const peer = {
  publicKey: 1,
  presharedKey: 2,
  flags: 3,
  endpoint: 4,
  persistentKeepalive: 5,
  lastHandshakeTime: 6,
  receivedBytes: 7,
  sentBytes: 8,
  allowedIps: 9,
} as const
const peerFlag = { remove: 1, replaceAllowedIps: 2, updateOnly: 4 } as const
const allowedIp = { family: 1, address: 2, length: 3 } as const

/** AF_INET and AF_INET6 of Linux. */
const addressFamily = { ipv4: 2, ipv6: 10 } as const
/** struct sockaddr_in and sockaddr_in6: family, port and address in network order; before IPv6's the flow, after it the scope. */
const sockaddr = { port: 2, ipv4: 4, ipv4Size: 16, ipv6: 8, ipv6Size: 28 } as const

/** What a request is written into and how it is sent off; the memory is used again for the next. */
export interface RequestSink {
  readonly memory: Uint8Array
  readonly family: number
  readonly send: (writer: RequestWriter) => void
}

/** Sends a change of the device named; longer ones than the memory in several requests, in their order. */
export function sendSetDevice(
  name: string,
  { privateKey, listenPort, peers = [] }: SetRequest,
  sink: RequestSink,
): void {
  const flags = requestFlags.request | requestFlags.acknowledge
  const begin = (): RequestWriter => {
    const { memory, family } = sink
    const { version } = wireguardFamily
    const writer = new RequestWriter(memory, { family, flags, command: command.setDevice, version })
    mustFit(writer.text(device.name, name))
    return writer
  }
  let writer = begin()
  if (privateKey !== undefined) mustFit(writer.bytes(device.privateKey, privateKey.reveal()))
  if (listenPort !== undefined) mustFit(writer.uint16(device.listenPort, listenPort))
  const left = peers.flatMap(partsOf)
  do {
    const taken = takePeers(writer, left)
    if (taken === 0 && left.length > 0) {
      sink.send(writer)
      writer = begin()
      mustFit(takePeers(writer, left) > 0)
    }
  } while (left.length > 0)
  sink.send(writer)
}

export function writeGetDevice(
  name: string,
  { memory, family }: Pick<RequestSink, 'memory' | 'family'>,
): RequestWriter {
  const flags = requestFlags.request | requestFlags.dump
  const { version } = wireguardFamily
  const writer = new RequestWriter(memory, { family, flags, command: command.getDevice, version })
  mustFit(writer.text(device.name, name))
  return writer
}

/** Prefixes of one peer that go into one request: more are added to the peer by the next. */
const prefixesAtOnce = 128

/** A peer with many prefixes is changed in parts, of which only the first takes the place of what there was. */
type PeerPart = PeerChange & { readonly isLater?: true }

function partsOf(change: PeerChange): readonly PeerPart[] {
  if (change.kind === 'remove' || change.allowedIps === undefined) return [change]
  const { publicKey, allowedIps } = change
  const parts: PeerPart[] = [{ ...change, allowedIps: allowedIps.slice(0, prefixesAtOnce) }]
  for (let at = prefixesAtOnce; at < allowedIps.length; at += prefixesAtOnce) {
    const some = allowedIps.slice(at, at + prefixesAtOnce)
    parts.push({ kind: 'set', publicKey, updateOnly: true, allowedIps: some, isLater: true })
  }
  return parts
}

/** Writes as many as fit, takes them off the list, and tells how many that were. */
function takePeers(writer: RequestWriter, left: PeerPart[]): number {
  const before = left.length
  if (before > 0) {
    writer.nested(device.peers, () => {
      while (left[0] !== undefined && writePeer(writer, left[0])) left.shift()
      return left.length < before
    })
  }
  return before - left.length
}

/** All or nothing. */
function writePeer(writer: RequestWriter, change: PeerPart): boolean {
  return writer.nested(0, () => {
    if (!writer.bytes(peer.publicKey, change.publicKey)) return false
    if (change.kind === 'remove') return writer.uint32(peer.flags, peerFlag.remove)
    const { updateOnly, presharedKey, endpoint, persistentKeepalive, allowedIps, isLater } = change
    const replaces = allowedIps !== undefined && isLater !== true
    const flags = (updateOnly ? peerFlag.updateOnly : 0) | (replaces ? peerFlag.replaceAllowedIps : 0)
    return (
      writer.uint32(peer.flags, flags) &&
      (presharedKey === undefined || writer.bytes(peer.presharedKey, presharedKey.reveal())) &&
      (endpoint === undefined || writer.bytes(peer.endpoint, encodeSockaddr(endpoint))) &&
      (persistentKeepalive === undefined || writer.uint16(peer.persistentKeepalive, persistentKeepalive)) &&
      (allowedIps === undefined ||
        writer.nested(peer.allowedIps, () => allowedIps.every((prefix) => writePrefix(writer, prefix))))
    )
  })
}

function writePrefix(writer: RequestWriter, { bytes, length }: Prefix): boolean {
  return writer.nested(
    0,
    () =>
      writer.uint16(allowedIp.family, bytes.length === 4 ? addressFamily.ipv4 : addressFamily.ipv6) &&
      writer.bytes(allowedIp.address, bytes) &&
      writer.uint8(allowedIp.length, length),
  )
}

function mustFit(fits: boolean): void {
  if (!fits) throw new Error('The request has no room for what it must hold')
}

/**
 * Adds the peers of one part of a dump to the table, by public key in hex. A peer whose prefixes fill more than one part
 * comes again, with less; what came first stays. False for what cannot be read, and then nothing was added.
 */
export function readDevicePart(payload: Uint8Array, table: Map<string, PeerCounters>): boolean {
  const attributes = decodeFamilyPayload(payload)
  if (attributes === undefined) return false
  const read: [string, PeerCounters][] = []
  for (const { value } of attributes.filter(({ type }) => type === device.peers)) {
    for (const one of decodeAttributes(value) ?? [undefined]) {
      const decoded = one === undefined ? undefined : decodePeer(one.value)
      if (decoded === undefined) return false
      read.push(decoded)
    }
  }
  for (const [key, counters] of read) if (!table.has(key)) table.set(key, counters)
  return true
}

function decodePeer(bytes: Uint8Array): [string, PeerCounters] | undefined {
  const attributes = decodeAttributes(bytes)
  const attribute = (type: number): Uint8Array | undefined => attributes?.find((one) => one.type === type)?.value
  const key = attribute(peer.publicKey)
  if (key?.length !== 32) return undefined
  const receivedBytes = decodeCount(attribute(peer.receivedBytes))
  const sentBytes = decodeCount(attribute(peer.sentBytes))
  const lastHandshake = decodeTime(attribute(peer.lastHandshakeTime))
  if (receivedBytes === undefined || sentBytes === undefined || lastHandshake === undefined) return undefined
  return [
    toHex(key),
    {
      receivedBytes,
      sentBytes,
      lastHandshake: lastHandshake === 0 ? undefined : lastHandshake,
      endpoint: decodeSockaddr(attribute(peer.endpoint)),
    },
  ]
}

/** 0 where the kernel does not say; `undefined` for what is no count. */
function decodeCount(bytes: Uint8Array | undefined): number | undefined {
  if (bytes === undefined) return 0
  if (bytes.length !== 8) return undefined
  const count = Number(viewOf(bytes).getBigUint64(0, true))
  return Number.isSafeInteger(count) ? count : undefined
}

/** struct __kernel_timespec: 8 bytes seconds, 8 bytes nanoseconds. Wall time in ms, 0 for never. */
function decodeTime(bytes: Uint8Array | undefined): number | undefined {
  if (bytes === undefined) return 0
  if (bytes.length !== 16) return undefined
  const seconds = Number(viewOf(bytes).getBigInt64(0, true))
  const nanoseconds = Number(viewOf(bytes).getBigInt64(8, true))
  const isTime = seconds >= 0 && seconds <= 8.64e12 && nanoseconds >= 0 && nanoseconds < 1e9
  return isTime ? seconds * 1000 + nanoseconds / 1e6 : undefined
}

export function encodeSockaddr({ address, port }: Endpoint): Uint8Array {
  const parsed = ipaddr.parse(address)
  const isIpv4 = parsed.kind() === 'ipv4'
  const bytes = new Uint8Array(isIpv4 ? sockaddr.ipv4Size : sockaddr.ipv6Size)
  viewOf(bytes).setUint16(0, isIpv4 ? addressFamily.ipv4 : addressFamily.ipv6, true)
  viewOf(bytes).setUint16(sockaddr.port, port)
  bytes.set(parsed.toByteArray(), isIpv4 ? sockaddr.ipv4 : sockaddr.ipv6)
  return bytes
}

/** `undefined` for anything that is no address of IPv4 or IPv6. */
export function decodeSockaddr(bytes: Uint8Array | undefined): Endpoint | undefined {
  if (bytes === undefined || bytes.length < sockaddr.ipv4Size) return undefined
  const family = viewOf(bytes).getUint16(0, true)
  const port = viewOf(bytes).getUint16(sockaddr.port)
  if (family === addressFamily.ipv4 && bytes.length === sockaddr.ipv4Size) {
    return { address: textOf(bytes.subarray(sockaddr.ipv4, sockaddr.ipv4 + 4)), port }
  }
  if (family === addressFamily.ipv6 && bytes.length === sockaddr.ipv6Size) {
    return { address: textOf(bytes.subarray(sockaddr.ipv6, sockaddr.ipv6 + 16)), port }
  }
  return undefined
}

function textOf(address: Uint8Array): string {
  return ipaddr.fromByteArray([...address]).toString()
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The attributes of one answer to `getFamily` (net/ generic netlink's controller, nlctrl): the id of the family. */
export const controller = { family: 0x10, version: 1, getFamily: 3, familyId: 1, familyName: 2 } as const

export function decodeFamilyId(attributes: readonly Attribute[] | undefined): number | undefined {
  const value = attributes?.find(({ type }) => type === controller.familyId)?.value
  return value?.length === 2 ? viewOf(value).getUint16(0, true) : undefined
}

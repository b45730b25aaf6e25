/**
 * AssemblyScript: the other way round from segment.as.ts. Packets of one flow that follow each other become one packet for
 * the TUN, with a struct virtio_net_hdr that says how to take it apart again, so that the system works once for many.
 * Nothing is copied: the headers of the first packet are changed, the payloads are gathered by iovecs. In the tests
 * testing/segment-twin.ts takes apart what this has merged.
 *
 * The TCP and UDP checksums of what is merged are not looked at: the Poly1305 tag has shown that the packet is what the
 * peer sent, and the system is told that the checksum is still to be made.
 */

import { foldSum, setUint16, sumPseudoHeader, uint16, uint32, writeIpv4Checksum } from './bytes.as'
import { setVector } from './vectors.as'

const TCP: u32 = 6
const UDP: u32 = 17
const TCP_ACK: u8 = 0x10
const TCP_PSH: u8 = 0x08
const LARGEST: i32 = 65535
/** UDP_MAX_SEGMENTS of older systems. */
const MOST_UDP: i32 = 64
/** IOV_MAX of Linux. */
const MOST: i32 = 1024
/** Of the struct virtio_net_hdr right before the first packet of a group. */
const OFFLOAD_SIZE: usize = 10

// What `coalesce` may do; TCP has no switch of its own.
let mayMerge: bool = true
let mayMergeUdp: bool = true

// The packet that was looked at last.
let candidate: usize = 0
let candidateLength: i32 = 0
let candidateKind: u32 = 0
let candidateIpv6: bool = false
let candidateTransport: i32 = 0
let candidateHeaders: i32 = 0
let candidatePayload: i32 = 0

// The group: `groupKind` is 0 for a packet that stays alone, `groupOpen` false once nothing more fits.
let group: usize = 0
let groupCount: i32 = 0
let groupKind: u32 = 0
let groupIpv6: bool = false
let groupOpen: bool = false
let groupTransport: i32 = 0
let groupHeaders: i32 = 0
let groupSize: i32 = 0
let groupLength: i32 = 0
let groupNext: u32 = 0
let groupFlags: u8 = 0
/** Before it are the iovecs of the groups that are not written yet. */
let firstVector: i32 = 0

export function allowCoalescing(any: bool, udp: bool): void {
  mayMerge = any
  mayMergeUdp = udp
}

/** Looks at a packet of that length at a multiple of 16. Whether it joined the group, of which `group` is the first. */
export function joinGroup(address: usize, length: i32): bool {
  inspect(address, length)
  if (!groupOpen || candidateKind !== groupKind || candidateIpv6 !== groupIpv6) return false
  if (candidateHeaders !== groupHeaders || candidatePayload > groupSize) return false
  if (groupHeaders + groupLength + candidatePayload > LARGEST || !sameHeaders()) return false
  setVector(firstVector + groupCount, address + candidateHeaders, candidatePayload)
  groupCount++
  groupLength += candidatePayload
  groupNext += candidatePayload
  if (groupKind === TCP) groupFlags |= load<u8>(address + candidateTransport + 13)
  closeIfLast()
  return true
}

/** The packet that `joinGroup` refused begins a group, after the last one was finished. */
export function startGroup(): void {
  setVector(firstVector, candidate - OFFLOAD_SIZE, (OFFLOAD_SIZE as i32) + candidateLength)
  group = candidate
  groupCount = 1
  groupKind = candidateKind
  groupIpv6 = candidateIpv6
  groupOpen = candidateKind !== 0
  groupTransport = candidateTransport
  groupHeaders = candidateHeaders
  groupSize = candidatePayload
  groupLength = candidatePayload
  if (groupKind === TCP) {
    groupNext = uint32(candidate + candidateTransport + 4) + candidatePayload
    groupFlags = load<u8>(candidate + candidateTransport + 13)
  }
  closeIfLast()
}

/** Completes the headers of the group. How many iovecs it has, after those of the groups before; 0 for no group. */
export function finishGroup(): i32 {
  const packets = groupCount
  groupCount = 0
  groupOpen = false
  if (packets === 0) return 0
  const header = group - OFFLOAD_SIZE
  store<u64>(header, 0)
  store<u16>(header, 0, 8)
  if (packets > 1) writeMerged(header)
  firstVector += packets
  return packets
}

/** Whether the group finished last is a stream's: many such may come at once. The sockets of UDP hold little. */
export function isStream(): bool {
  return groupKind === TCP
}

/** The groups are written: their iovecs are free. */
export function forgetGroups(): void {
  firstVector = 0
}

function writeMerged(header: usize): void {
  const total = groupHeaders + groupLength
  const transport = group + groupTransport
  const transportLength = total - groupTransport
  if (groupIpv6) setUint16(group + 4, total - 40)
  else {
    setUint16(group + 2, total)
    writeIpv4Checksum(group, 20)
  }
  const isUdp = groupKind === UDP
  const field = isUdp ? 6 : 16
  const lengthWord: u64 = bswap<u16>(transportLength as u16)
  store<u16>(transport + field, foldSum(sumPseudoHeader(group, groupIpv6, groupKind) + lengthWord) as u16)
  if (isUdp) setUint16(transport + 4, transportLength)
  else store<u8>(transport + 13, groupFlags)
  store<u8>(header, 1)
  store<u8>(header, isUdp ? 5 : groupIpv6 ? 4 : 1, 1)
  store<u16>(header, groupHeaders as u16, 2)
  store<u16>(header, groupSize as u16, 4)
  store<u16>(header, groupTransport as u16, 6)
  store<u16>(header, field as u16, 8)
}

/** A packet shorter than the first, or one that TCP wants delivered, ends the group. */
function closeIfLast(): void {
  if (groupKind === TCP && (groupFlags & TCP_PSH) !== 0) groupOpen = false
  if (candidatePayload < groupSize) groupOpen = false
  if (groupCount >= (groupKind === UDP ? MOST_UDP : MOST)) groupOpen = false
}

/** Leaves `candidateKind` 0 for all that is passed on as it is. */
function inspect(address: usize, length: i32): void {
  candidate = address
  candidateLength = length
  candidateKind = 0
  candidateIpv6 = load<u8>(address) >> 4 === 6
  candidatePayload = 0
  if (!mayMerge) return
  const internet = candidateIpv6 ? 40 : 20
  if (length < internet + 8) return
  // No IPv4 options and no fragments; IPv6 has neither where the protocol follows at once.
  if (!candidateIpv6 && (load<u8>(address) !== 0x45 || (load<u16>(address + 6) & 0xffbf) !== 0)) return
  const protocol: u32 = load<u8>(address + (candidateIpv6 ? 6 : 9))
  const transport = address + internet
  let headers = internet + 8
  if (protocol === TCP) {
    if (length < internet + 20) return
    headers = internet + ((load<u8>(transport + 12) >> 4) as i32) * 4
    if (headers < internet + 20 || (load<u8>(transport + 13) & ~TCP_PSH) !== TCP_ACK) return
  } else if (protocol === UDP) {
    // A checksum of zero means none, and must stay so; a length that says otherwise must stay too.
    if (!mayMergeUdp || load<u16>(transport + 6) === 0 || uint16(transport + 4) !== length - internet) return
  } else return
  if (headers >= length) return
  candidateKind = protocol
  candidateTransport = internet
  candidateHeaders = headers
  candidatePayload = length - headers
}

/** Whether nothing differs but what a receiver's card may ignore: lengths, identification, checksums, sequence, PSH. */
function sameHeaders(): bool {
  const a = candidate
  const b = group
  if (candidateIpv6) {
    // Version, class, flow label; next header, hop limit; addresses.
    if (load<u32>(a) !== load<u32>(b) || load<u16>(a + 6) !== load<u16>(b + 6)) return false
    if (v128.any_true(v128.xor(v128.load(a + 8), v128.load(b + 8)))) return false
    if (v128.any_true(v128.xor(v128.load(a + 24), v128.load(b + 24)))) return false
  } else {
    // Version, class; flags; time to live, protocol; addresses.
    if (load<u16>(a) !== load<u16>(b) || load<u32>(a + 6) !== load<u32>(b + 6)) return false
    if (load<u64>(a + 12) !== load<u64>(b + 12)) return false
  }
  const ta = a + candidateTransport
  const tb = b + groupTransport
  if (load<u32>(ta) !== load<u32>(tb)) return false
  if (groupKind === UDP) return true
  // Sequence; acknowledgement; window; options.
  if (uint32(ta + 4) !== groupNext || load<u32>(ta + 8) !== load<u32>(tb + 8)) return false
  if (load<u8>(ta + 12) !== load<u8>(tb + 12) || load<u16>(ta + 14) !== load<u16>(tb + 14)) return false
  for (let at = 20; at < candidateHeaders - candidateTransport; at += 4)
    if (load<u32>(ta + at) !== load<u32>(tb + at)) return false
  return true
}

/**
 * AssemblyScript: one read from the TUN as packets. The system hands over what its TCP or UDP wants to send in one piece,
 * behind a struct virtio_net_hdr (linux/virtio_net.h); this cuts it into packets in place, as the hardware it thinks it
 * talks to would: lengths, identification, sequence numbers, flags and checksums. The readable twin is
 * testing/segment-twin.ts.
 *
 * In place means: the headers of a packet are written over the end of the payload before it. So packets must be asked
 * for in order, and each must be encrypted away before the next is asked for.
 */

import { checksumOf, setUint16, setUint32, sumPseudoHeader, sumWords, uint16, uint32 } from './bytes.as'
import { TEMPLATE, UNDER_PADDING } from './layout.as'

const FLAG_NEEDS_CHECKSUM: u32 = 1
const NO_SEGMENTS: u32 = 0
const TCP_IPV4: u32 = 1
const TCP_IPV6: u32 = 4
const UDP: u32 = 5
const MALFORMED: i32 = -1
const TOO_LARGE: i32 = -2
const TCP_FIN_PSH: u8 = 0x09
const TCP_CWR: u8 = 0x80

// The packet that `planSegments` looked at last.
let packet: usize = 0
let packetLength: i32 = 0
let count: i32 = 0
let isSegmented: bool = false
let isIpv6: bool = false
let isUdp: bool = false
let largest: i32 = 0
let headersLength: i32 = 0
let transportAt: i32 = 0
let payloadSize: i32 = 0
let payloadLength: i32 = 0
let sequence: u32 = 0
let identification: u32 = 0
let pseudoSum: u64 = 0
/** Of the IPv4 header in TEMPLATE, where length, identification and checksum are zero. */
let internetSum: u64 = 0
let isSaved: bool = false
let savedAt: usize = 0

/**
 * Looks at the `length` bytes of an IP packet with its offload header in the 10 bytes before. The number of packets it
 * becomes, or MALFORMED, or TOO_LARGE when one of them would be longer than `mtu`.
 */
export function planSegments(address: usize, length: i32, mtu: i32): i32 {
  const header = address - 10
  const flags: u32 = load<u8>(header)
  const kind: u32 = load<u8>(header + 1) & 0x7f
  const size: i32 = load<u16>(header + 4)
  const start: i32 = load<u16>(header + 6)
  const offset: i32 = load<u16>(header + 8)
  packet = address
  packetLength = length
  largest = mtu
  isSaved = false
  count = 1
  isSegmented = kind !== NO_SEGMENTS
  if (length < 20) return MALFORMED
  if (!isSegmented) {
    if (length > mtu) return TOO_LARGE
    if ((flags & FLAG_NEEDS_CHECKSUM) === 0) return 1
    if (start + offset + 2 > length) return MALFORMED
    // The field holds the sum of the pseudo-header already.
    const checksum = checksumOf(sumWords(address + start, length - start))
    store<u16>(address + start + offset, checksum === 0 && offset === 6 ? 0xffff : checksum)
    return 1
  }
  isUdp = kind === UDP
  isIpv6 = load<u8>(address) >> 4 === 6
  if (kind !== UDP && kind !== (isIpv6 ? TCP_IPV6 : TCP_IPV4)) return MALFORMED
  const internet = isIpv6 ? 40 : 20
  if (internet > start || (start & 3) !== 0 || start + (isUdp ? 8 : 20) > length) return MALFORMED
  // The header length that the system gives is a hint only.
  transportAt = start
  headersLength = start + (isUdp ? 8 : ((load<u8>(address + start + 12) >> 4) as i32) * 4)
  if (headersLength < start + 8 || headersLength > 240 || headersLength >= length || size === 0) return MALFORMED
  if (headersLength + min(size, length - headersLength) > mtu) return TOO_LARGE
  payloadSize = size
  payloadLength = length - headersLength
  count = (payloadLength + size - 1) / size
  copyHeaders(TEMPLATE, address)
  sequence = isUdp ? 0 : uint32(address + start + 4)
  identification = isIpv6 ? 0 : uint16(address + 4)
  pseudoSum = sumPseudoHeader(address, isIpv6, isUdp ? 17 : 6)
  if (!isIpv6) {
    store<u32>(TEMPLATE + 2, 0)
    store<u16>(TEMPLATE + 10, 0)
    internetSum = sumWords(TEMPLATE, ((load<u8>(TEMPLATE) & 15) as i32) * 4)
  }
  return count
}

export function segmentAddress(index: i32): usize {
  return packet + index * payloadSize * i32(isSegmented)
}

/**
 * Writes packet `index` at its address, padded with zeros as WireGuard wants it: to a multiple of 16, but not past the
 * MTU. The length with the padding.
 */
export function writeSegment(index: i32): i32 {
  const at = segmentAddress(index)
  const length = isSegmented ? writeHeaders(at, index) : packetLength
  const padded = min((length + 15) & ~15, max(largest, length))
  if (padded > length) {
    // The payload of the next packet begins here.
    savedAt = at + length
    v128.store(UNDER_PADDING, v128.load(savedAt))
    v128.store(savedAt, i64x2.splat(0))
    isSaved = true
  }
  return padded
}

/** What all packets are without padding. */
export function plannedLength(): i32 {
  return isSegmented ? count * headersLength + payloadLength : packetLength
}

/** Its length without padding, after `writeSegment`. */
export function segmentLength(index: i32): i32 {
  return isSegmented ? headersLength + min(payloadSize, payloadLength - index * payloadSize) : packetLength
}

function writeHeaders(at: usize, index: i32): i32 {
  if (isSaved) v128.store(savedAt, v128.load(UNDER_PADDING))
  isSaved = false
  const length = segmentLength(index)
  copyHeaders(at, TEMPLATE)
  if (isIpv6) setUint16(at + 4, length - 40)
  else {
    setUint16(at + 2, length)
    setUint16(at + 4, identification + index)
    store<u16>(at + 10, checksumOf(internetSum + load<u16>(at + 2) + load<u16>(at + 4)))
  }
  const transport = at + transportAt
  const transportLength = length - transportAt
  if (isUdp) setUint16(transport + 4, transportLength)
  else writeTcp(transport, index)
  const field = transport + (isUdp ? 6 : 16)
  store<u16>(field, 0)
  const lengthWord: u64 = bswap<u16>(transportLength as u16)
  const checksum = checksumOf(sumWords(transport, transportLength) + pseudoSum + lengthWord)
  store<u16>(field, checksum === 0 && isUdp ? 0xffff : checksum)
  return length
}

/** Not `memory.copy`, which leaves WebAssembly for so few bytes. */
function copyHeaders(to: usize, from: usize): void {
  const whole = headersLength & ~15
  for (let at = 0; at < whole; at += 16) v128.store(to + at, v128.load(from + at))
  for (let at = whole; at < headersLength; at += 4) store<u32>(to + at, load<u32>(from + at))
}

/** FIN and PSH belong to the end of the data, CWR to its begin. */
function writeTcp(transport: usize, index: i32): void {
  setUint32(transport + 4, sequence + index * payloadSize)
  let flags = load<u8>(transport + 13)
  if (index < count - 1) flags &= ~TCP_FIN_PSH
  if (index > 0) flags &= ~TCP_CWR
  store<u8>(transport + 13, flags)
}

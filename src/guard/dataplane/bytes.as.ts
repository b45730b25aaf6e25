/** AssemblyScript: numbers in network order, and the internet checksum (RFC 1071) by 128-bit vectors. */

export function uint16(address: usize): u32 {
  return bswap<u16>(load<u16>(address)) as u32
}

export function setUint16(address: usize, value: u32): void {
  store<u16>(address, bswap<u16>(value as u16))
}

export function uint32(address: usize): u32 {
  return bswap<u32>(load<u32>(address))
}

export function setUint32(address: usize, value: u32): void {
  store<u32>(address, bswap<u32>(value))
}

/**
 * The sum of the 16-bit words as this machine reads them: the checksum does not care about byte order as long as the
 * result is stored the way it was read (RFC 1071 §2). An odd last byte counts as followed by a zero.
 */
export function sumWords(address: usize, length: i32): u64 {
  // Each word less 2^15 is a signed one, of which one instruction adds pairs.
  const middle = i16x8.splat(-0x8000)
  const ones = i16x8.splat(1)
  let sum: u64 = ((length & ~31) as u64) << 14
  let first = i32x4.splat(0)
  let second = i32x4.splat(0)
  while (length >= 32) {
    first = i32x4.add(first, i32x4.dot_i16x8_s(v128.xor(v128.load(address), middle), ones))
    second = i32x4.add(second, i32x4.dot_i16x8_s(v128.xor(v128.load(address, 16), middle), ones))
    address += 32
    length -= 32
  }
  first = i32x4.add(first, second)
  sum += i32x4.extract_lane(first, 0) as i64
  sum += i32x4.extract_lane(first, 1) as i64
  sum += i32x4.extract_lane(first, 2) as i64
  sum += i32x4.extract_lane(first, 3) as i64
  // 2^16 counts as 1, so two words may be added as one of twice the size.
  while (length >= 4) {
    sum += load<u32>(address)
    address += 4
    length -= 4
  }
  if (length >= 2) {
    sum += load<u16>(address)
    address += 2
    length -= 2
  }
  if (length > 0) sum += load<u8>(address)
  return sum
}

/** The sum as one 16-bit word, carries added in. */
export function foldSum(sum: u64): u32 {
  sum = (sum & 0xffffffff) + (sum >> 32)
  sum = (sum & 0xffff) + (sum >> 16)
  sum = (sum & 0xffff) + (sum >> 16)
  sum = (sum & 0xffff) + (sum >> 16)
  return sum as u32
}

/** What the checksum field holds for this sum, still in the order of `sumWords`. */
export function checksumOf(sum: u64): u16 {
  return (foldSum(sum) ^ 0xffff) as u16
}

/** The checksum field of an IPv4 header, whatever it held. */
export function writeIpv4Checksum(header: usize, length: i32): void {
  store<u16>(header + 10, 0)
  store<u16>(header + 10, checksumOf(sumWords(header, length)))
}

/** The part of a TCP or UDP pseudo-header that has no length: addresses and protocol (RFC 9293 §3.1, RFC 8200 §8.1). */
export function sumPseudoHeader(header: usize, isIpv6: bool, protocol: u32): u64 {
  const addresses = isIpv6 ? sumWords(header + 8, 32) : sumWords(header + 12, 8)
  return addresses + (bswap<u16>(protocol as u16) as u64)
}

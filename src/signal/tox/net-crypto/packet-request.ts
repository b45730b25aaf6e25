/**
 * Packet request (net_crypto packet id 1): the numbers of the lossless packets the sender misses, as distances.
 * Tox protocol specification, "net_crypto", packet request. An empty list is a plain acknowledgement.
 *
 * | offset | size | field                                                                   |
 * |      0 |    1 | id, 1                                                                   |
 * |      1 |    n | per missing number: its distance from the one before, the first counted |
 * |        |      | from recv_start - 1; 1..255 as a byte, more as zero bytes worth 255 each |
 */

export const packetRequestId = 1

/**
 * Names `missing` (32-bit numbers in rising order, none before `start`), as many as fit into `maximumSize` bytes: the
 * receiver takes only what lies between two named numbers as received, so a shortened list stays true.
 */
export function encodePacketRequest(
  missing: readonly number[],
  options: { readonly start: number; readonly maximumSize: number },
): Uint8Array {
  const bytes: number[] = [packetRequestId]
  let previous = (options.start - 1) >>> 0
  for (const number of missing) {
    const distance = (number - previous) >>> 0
    const zeros = Math.floor((distance - 1) / 255)
    if (bytes.length + zeros + 1 > options.maximumSize) break
    for (let i = 0; i < zeros; i++) bytes.push(0)
    bytes.push(distance - zeros * 255)
    previous = number
  }
  return Uint8Array.from(bytes)
}

/** The named numbers in rising order; `packet` begins with its id, and its length bounds the work. */
export function decodePacketRequest(packet: Uint8Array, options: { readonly start: number }): number[] {
  const missing: number[] = []
  let previous = (options.start - 1) >>> 0
  let zeros = 0
  for (const byte of packet.subarray(1)) {
    if (byte === 0) {
      zeros += 1
      continue
    }
    previous = (previous + zeros * 255 + byte) >>> 0
    zeros = 0
    missing.push(previous)
  }
  return missing
}

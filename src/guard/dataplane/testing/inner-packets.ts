/** Inner IP packets for tests, built and checked the slow and readable way: fields by name, checksums word by word. */

export interface InnerPacket {
  readonly family: 4 | 6
  readonly protocol: 'tcp' | 'udp'
  readonly payload: Uint8Array
  readonly sequence?: number
  /** TCP flags; ACK unless told. */
  readonly flags?: number
  /** A multiple of four bytes. */
  readonly options?: Uint8Array
  readonly identification?: number
  readonly sourcePort?: number
  readonly trafficClass?: number
  readonly acknowledgement?: number
}

export const FIN = 0x01
export const PSH = 0x08
export const ACK = 0x10
export const CWR = 0x80

const protocols = { tcp: 6, udp: 17 } as const
const sources = { 4: [10, 64, 1, 2], 6: [0xfd, 0x70, ...new Array(13).fill(0), 2] } as const
const targets = { 4: [10, 64, 1, 1], 6: [0xfd, 0x70, ...new Array(13).fill(0), 1] } as const

export function encodeInner(packet: InnerPacket): Uint8Array {
  const { family, protocol, payload, options = new Uint8Array(0) } = packet
  const internet = family === 4 ? 20 : 40
  const headers = internet + (protocol === 'udp' ? 8 : 20 + options.length)
  const bytes = new Uint8Array(headers + payload.length)
  const view = new DataView(bytes.buffer)
  bytes[0] = family << 4
  if (family === 4) {
    bytes[0] = 0x45
    bytes[1] = packet.trafficClass ?? 0
    view.setUint16(2, bytes.length)
    view.setUint16(4, packet.identification ?? 0)
    view.setUint16(6, 0x4000)
    bytes[8] = 64
    bytes[9] = protocols[protocol]
    bytes.set(sources[4], 12)
    bytes.set(targets[4], 16)
    view.setUint16(10, checksum(bytes.subarray(0, 20)))
  } else {
    view.setUint16(0, 0x6000 | ((packet.trafficClass ?? 0) << 4))
    view.setUint16(4, bytes.length - 40)
    bytes[6] = protocols[protocol]
    bytes[7] = 64
    bytes.set(sources[6], 8)
    bytes.set(targets[6], 24)
  }
  view.setUint16(internet, packet.sourcePort ?? 5201)
  view.setUint16(internet + 2, 40_000)
  if (protocol === 'udp') view.setUint16(internet + 4, 8 + payload.length)
  else {
    view.setUint32(internet + 4, packet.sequence ?? 1)
    view.setUint32(internet + 8, packet.acknowledgement ?? 77)
    bytes[internet + 12] = ((20 + options.length) / 4) << 4
    bytes[internet + 13] = packet.flags ?? ACK
    view.setUint16(internet + 14, 501)
    bytes.set(options, internet + 20)
  }
  bytes.set(payload, headers)
  view.setUint16(internet + (protocol === 'udp' ? 6 : 16), transportChecksum(bytes))
  return bytes
}

/** RFC 1071, word by word. */
export function checksum(bytes: Uint8Array): number {
  return ~wordSum(bytes) & 0xffff
}

/** What the checksum field of a TCP or UDP packet should hold. */
export function transportChecksum(packet: Uint8Array): number {
  const { transport, field, isUdp } = fieldsOf(packet)
  const segment = packet.slice(transport)
  segment.fill(0, field - transport, field - transport + 2)
  const value = checksum(Uint8Array.of(...pseudoHeader(packet), ...segment))
  return value === 0 && isUdp ? 0xffff : value
}

/** The sum of the pseudo-header, not inverted: what the system leaves in the field for the hardware to finish. */
export function pseudoHeaderSum(packet: Uint8Array): number {
  return wordSum(pseudoHeader(packet))
}

/** Where the TCP or UDP header begins, where its checksum field is, and where the payload begins. */
export function fieldsOf(packet: Uint8Array): {
  readonly transport: number
  readonly field: number
  readonly payload: number
  readonly isUdp: boolean
} {
  const isIpv6 = (packet[0] ?? 0) >> 4 === 6
  const transport = isIpv6 ? 40 : 20
  const isUdp = packet[isIpv6 ? 6 : 9] === 17
  const payload = transport + (isUdp ? 8 : ((packet[transport + 12] ?? 0) >> 4) * 4)
  return { transport, field: transport + (isUdp ? 6 : 16), payload, isUdp }
}

function pseudoHeader(packet: Uint8Array): Uint8Array {
  const isIpv6 = (packet[0] ?? 0) >> 4 === 6
  const { transport, isUdp } = fieldsOf(packet)
  const length = packet.length - transport
  const addresses = isIpv6 ? packet.subarray(8, 40) : packet.subarray(12, 20)
  return Uint8Array.of(...addresses, 0, isUdp ? 17 : 6, length >> 8, length & 255)
}

function wordSum(bytes: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return sum
}

/** What segment.as.ts does, for reading: a packet with an offload header, cut into the packets it stands for. */

import { CWR, checksum, FIN, fieldsOf, PSH, transportChecksum } from './inner-packets.ts'

/** `packet` carries `segmentSize` payload bytes for each packet that is to be made of it. */
export function segmentTwin(packet: Uint8Array, segmentSize: number): readonly Uint8Array[] {
  const { transport, field, payload, isUdp } = fieldsOf(packet)
  const isIpv6 = (packet[0] ?? 0) >> 4 === 6
  const original = new DataView(packet.buffer, packet.byteOffset)
  const segments: Uint8Array[] = []
  for (let from = payload, index = 0; from < packet.length; from += segmentSize, index++) {
    const isLast = from + segmentSize >= packet.length
    const segment = Uint8Array.of(...packet.subarray(0, payload), ...packet.subarray(from, from + segmentSize))
    const view = new DataView(segment.buffer)
    if (isUdp) view.setUint16(transport + 4, segment.length - transport)
    else {
      view.setUint32(transport + 4, original.getUint32(transport + 4) + from - payload)
      const dropped = (isLast ? 0 : FIN | PSH) | (index === 0 ? 0 : CWR)
      view.setUint8(transport + 13, view.getUint8(transport + 13) & ~dropped)
    }
    if (isIpv6) view.setUint16(4, segment.length - 40)
    else {
      view.setUint16(2, segment.length)
      view.setUint16(4, original.getUint16(4) + index)
      view.setUint16(10, 0)
      view.setUint16(10, checksum(segment.subarray(0, 20)))
    }
    view.setUint16(field, transportChecksum(segment))
    segments.push(segment)
  }
  return segments
}

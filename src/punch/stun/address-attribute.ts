/** MAPPED-ADDRESS and XOR-MAPPED-ADDRESS (RFC 8489 §14.1, §14.2), IPv4 and IPv6. */

import type { Endpoint } from '../../api/endpoint.ts'
import { ipaddr } from '../../util/ipaddr.ts'
import { magicCookie } from './constants.ts'

const familyIpv4 = 0x01
const familyIpv6 = 0x02
const ipv4Length = 8
const ipv6Length = 20

/** The 4 or 16 bytes of an address in text; `undefined` when it is none. */
export function addressBytes(address: string): Uint8Array | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return Uint8Array.from(ipaddr.IPv4.parse(address).toByteArray())
  if (address.includes(':') && !address.includes('%') && ipaddr.IPv6.isValid(address)) {
    return Uint8Array.from(ipaddr.IPv6.parse(address).toByteArray())
  }
  return undefined
}

/** The one text form of 4 or 16 bytes of address: dotted, or as RFC 5952 wants it. */
export function formatAddress(bytes: Uint8Array): string {
  const address = ipaddr.fromByteArray([...bytes])
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString()
}

/**
 * | offset | size    | field                  |
 * |      0 |       1 | zero                   |
 * |      1 |       1 | family: 1 IPv4, 2 IPv6 |
 * |      2 |       2 | port                   |
 * |      4 | 4 or 16 | address                |
 *
 * @throws Error when the endpoint's address is none: a bug of the caller
 */
export function encodeMappedAddress(endpoint: Endpoint): Uint8Array {
  const address = addressBytes(endpoint.address)
  if (address === undefined) throw new Error(`Cannot encode the address ${JSON.stringify(endpoint.address)}`)
  const value = new Uint8Array(4 + address.length)
  value[1] = address.length === 4 ? familyIpv4 : familyIpv6
  new DataView(value.buffer).setUint16(2, endpoint.port)
  value.set(address, 4)
  return value
}

export function decodeMappedAddress(value: Uint8Array): Endpoint | undefined {
  const expected = value[1] === familyIpv4 ? ipv4Length : value[1] === familyIpv6 ? ipv6Length : 0
  if (value.length !== expected) return undefined
  const port = new DataView(value.buffer, value.byteOffset, value.byteLength).getUint16(2)
  return { address: formatAddress(value.subarray(4)), port }
}

/** As MAPPED-ADDRESS, with port and address covered by the cookie and the transaction id (12 bytes). */
export function encodeXorMappedAddress(endpoint: Endpoint, transactionId: Uint8Array): Uint8Array {
  return cover(encodeMappedAddress(endpoint), transactionId)
}

export function decodeXorMappedAddress(value: Uint8Array, transactionId: Uint8Array): Endpoint | undefined {
  if (value.length !== ipv4Length && value.length !== ipv6Length) return undefined
  return decodeMappedAddress(cover(value, transactionId))
}

/** Its own inverse. */
function cover(value: Uint8Array, transactionId: Uint8Array): Uint8Array {
  const mask = new Uint8Array(16)
  new DataView(mask.buffer).setUint32(0, magicCookie)
  mask.set(transactionId.subarray(0, 12), 4)
  return value.map((byte, at) => {
    if (at < 2) return byte
    return byte ^ (mask[at < 4 ? at - 2 : at - 4] ?? 0)
  })
}

/**
 * What two sessions say to each other inside the secret channel, as plain values; on the wire they are the protobuf
 * messages of proto/punchguard/session/v1/session.proto. A message that cannot be read is `undefined` and dropped.
 */

import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Endpoint } from '../api/endpoint.ts'
import type { CandidateKind, PunchCandidate, PunchMessage } from '../api/roles.ts'
import { assertNever } from '../util/assert-never.ts'
import { ipaddr } from '../util/ipaddr.ts'
import { EnvelopeSchema, type PunchCandidate as WireCandidate } from './generated/punchguard/session/v1/session_pb.ts'

export type PairingRefusal = 'invite used' | 'invite expired' | 'proof failed' | 'card invalid'

export type SessionMessage =
  | {
      readonly kind: 'hello'
      readonly up: boolean
      /** The sender's wall clock, ms. */
      readonly wallTime: number
      readonly guards: readonly string[]
      /** The sender's in the tunnel. */
      readonly addresses: readonly string[]
      /** A person chose them: the sender takes no others. */
      readonly fixedAddresses: boolean
      /** IPv4 prefixes in use where the sender is. */
      readonly networks: readonly string[]
      /** For the receiver's guard. */
      readonly guardParameters: Uint8Array
    }
  | { readonly kind: 'key-agreement'; readonly message: Uint8Array }
  | { readonly kind: 'punch'; readonly message: PunchMessage }
  | { readonly kind: 'pairing-card'; readonly card: string }
  | { readonly kind: 'pairing-pinned' }
  | { readonly kind: 'pairing-refused'; readonly reason: PairingRefusal }

/** Larger than any message we send: the key agreement's are below 1400 bytes. */
const maximumMessageBytes = 8192

/** IPv4 prefixes in a hello. */
export const maximumNetworks = 32
const maximumGuardParameters = 256

const candidateKinds: readonly CandidateKind[] = ['host', 'server-reflexive', 'peer-reflexive', 'relayed']
const refusals: readonly PairingRefusal[] = ['invite used', 'invite expired', 'proof failed', 'card invalid']

export function encodeSessionMessage(message: SessionMessage): Uint8Array {
  return toBinary(EnvelopeSchema, create(EnvelopeSchema, { body: body(message) }))
}

type Body = NonNullable<Parameters<typeof create<typeof EnvelopeSchema>>[1]>['body'] & object

function body(message: SessionMessage): Body {
  switch (message.kind) {
    case 'hello': {
      const { kind, guards, addresses, networks, ...rest } = message
      const wallTime = BigInt(Math.max(0, Math.floor(message.wallTime)))
      const lists = { guards: [...guards], addresses: [...addresses], networks: [...networks] }
      return { case: kind, value: { ...rest, ...lists, wallTime } }
    }
    case 'key-agreement':
      return { case: 'keyAgreement', value: { message: message.message } }
    case 'punch':
      return punchBody(message.message)
    case 'pairing-card':
      return { case: 'pairingCard', value: { card: message.card } }
    case 'pairing-pinned':
      return { case: 'pairingPinned', value: {} }
    case 'pairing-refused':
      return { case: 'pairingRefused', value: { reason: refusals.indexOf(message.reason) + 1 } }
    default:
      return assertNever(message)
  }
}

function punchBody(message: PunchMessage): Body {
  switch (message.kind) {
    case 'description': {
      const { generation, ufrag, password } = message
      return { case: 'punchDescription', value: { generation, ufrag, password } }
    }
    case 'candidate': {
      const { endpoint, foundation, priority, related, kind } = message.candidate
      const value = {
        generation: message.generation,
        kind: candidateKinds.indexOf(kind) + 1,
        address: endpoint.address,
        port: endpoint.port,
        foundation,
        priority,
        relatedAddress: related?.address ?? '',
        relatedPort: related?.port ?? 0,
      }
      return { case: 'punchCandidate', value }
    }
    case 'end-of-candidates':
      return { case: 'endOfCandidates', value: { generation: message.generation } }
    default:
      return assertNever(message)
  }
}

/** `undefined` for anything that is not a message of ours, or one of a later version that we do not know. */
export function decodeSessionMessage(bytes: Uint8Array): SessionMessage | undefined {
  if (bytes.length > maximumMessageBytes) return undefined
  const body = envelopeBody(bytes)
  switch (body?.case) {
    case undefined:
      return undefined
    case 'hello': {
      const { up, guards, addresses, networks, fixedAddresses, guardParameters } = body.value
      if (guardParameters.length > maximumGuardParameters) return undefined
      return {
        kind: 'hello',
        up,
        wallTime: Number(body.value.wallTime),
        guards: guards.slice(0, 8),
        addresses: addresses.slice(0, 8).filter(isAddress),
        fixedAddresses,
        networks: networks.slice(0, maximumNetworks).filter(isIpv4Prefix),
        guardParameters,
      }
    }
    case 'keyAgreement':
      return { kind: 'key-agreement', message: body.value.message }
    case 'punchDescription': {
      const { generation, ufrag, password } = body.value
      // RFC 8839 section 5.4: 4 to 256 characters of ufrag, 22 to 256 of password, each an ice-char.
      if (!/^[A-Za-z0-9+/]{4,256}$/.test(ufrag) || !/^[A-Za-z0-9+/]{22,256}$/.test(password)) return undefined
      return { kind: 'punch', message: { kind: 'description', generation, ufrag, password } }
    }
    case 'punchCandidate': {
      const candidate = decodeCandidate(body.value)
      if (candidate === undefined) return undefined
      return { kind: 'punch', message: { kind: 'candidate', generation: body.value.generation, candidate } }
    }
    case 'endOfCandidates':
      return { kind: 'punch', message: { kind: 'end-of-candidates', generation: body.value.generation } }
    case 'pairingCard':
      return { kind: 'pairing-card', card: body.value.card }
    case 'pairingPinned':
      return { kind: 'pairing-pinned' }
    case 'pairingRefused': {
      const reason = refusals[body.value.reason - 1]
      return reason === undefined ? undefined : { kind: 'pairing-refused', reason }
    }
    default:
      return assertNever(body)
  }
}

function envelopeBody(bytes: Uint8Array): ReturnType<typeof fromBinary<typeof EnvelopeSchema>>['body'] | undefined {
  try {
    return fromBinary(EnvelopeSchema, bytes).body
  } catch {
    return undefined
  }
}

function decodeCandidate(wire: WireCandidate): PunchCandidate | undefined {
  const kind = candidateKinds[wire.kind - 1]
  const endpoint = decodeEndpoint(wire.address, wire.port)
  // RFC 8839 section 5.1: a foundation has 1 to 32 characters.
  if (kind === undefined || endpoint === undefined || !/^[A-Za-z0-9+/]{1,32}$/.test(wire.foundation)) return undefined
  const related = decodeEndpoint(wire.relatedAddress, wire.relatedPort)
  const candidate = { kind, endpoint, foundation: wire.foundation, priority: wire.priority }
  return related === undefined ? candidate : { ...candidate, related }
}

function decodeEndpoint(address: string, port: number): Endpoint | undefined {
  return isAddress(address) && port >= 1 && port <= 65_535 ? { address, port } : undefined
}

function isAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text)
}

function isIpv4Prefix(text: string): boolean {
  return ipaddr.IPv4.isValidCIDRFourPartDecimal(text)
}

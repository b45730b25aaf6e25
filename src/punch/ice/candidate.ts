/** Candidates (RFC 8445 §5.1.1) of the one socket: made for our side, examined for the peer's. */

import { crc32 } from 'node:zlib'
import type { Endpoint } from '../../api/endpoint.ts'
import { sameEndpoint } from '../../api/endpoint.ts'
import type { CandidateKind, PunchCandidate } from '../../api/roles.ts'
import { addressBytes, formatAddress } from '../stun/address-attribute.ts'
import { candidatePriority, highestLocalPreference } from './priority.ts'

/** `index`: the address's place among the device's addresses, best first. */
export function hostCandidate(endpoint: Endpoint, index: number): PunchCandidate {
  return {
    kind: 'host',
    endpoint,
    foundation: foundation('host', endpoint.address),
    priority: candidatePriority('host', highestLocalPreference - index),
  }
}

/** The base is not shown (`related` is absent): it says nothing a peer needs. */
export function serverReflexiveCandidate(endpoint: Endpoint, server: Endpoint, index: number): PunchCandidate {
  return {
    kind: 'server-reflexive',
    endpoint,
    foundation: foundation('server-reflexive', server.address),
    priority: candidatePriority('server-reflexive', highestLocalPreference - index),
  }
}

/** A peer found through its check: the priority is the one the check carried (RFC 8445 §7.3.1.3). */
export function peerReflexiveCandidate(endpoint: Endpoint, priority: number): PunchCandidate {
  return { kind: 'peer-reflexive', endpoint, foundation: foundation('peer-reflexive', endpoint.address), priority }
}

/** RFC 8445 §5.1.1.3: the same for candidates of one kind from one base (there is only one) and one server. */
function foundation(kind: CandidateKind, address: string): string {
  return crc32(`${kind} ${address}`).toString(16)
}

/**
 * The peer's candidate with its address in our form; `undefined` when it is not one that a check may be sent to. The
 * peer is known but not all-powerful: it must not make us send to services of this machine or to a whole network.
 */
export function usableCandidate(
  candidate: PunchCandidate,
  ours: readonly PunchCandidate[],
): PunchCandidate | undefined {
  const { port } = candidate.endpoint
  const bytes = addressBytes(candidate.endpoint.address)
  if (bytes === undefined || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined
  const { priority, foundation } = candidate
  if (!Number.isInteger(priority) || priority < 1 || priority > highestPriority || foundation.length > 32)
    return undefined
  const endpoint = { address: formatAddress(bytes), port }
  if (isForMany(bytes)) return undefined
  // The socket is of IPv4 unless a candidate of ours says otherwise.
  if (bytes.length === 16 && !ours.some((one) => one.endpoint.address.includes(':'))) return undefined
  if (isLoopback(bytes) && !ours.some((one) => isLoopback(addressBytes(one.endpoint.address)))) return undefined
  return { ...candidate, endpoint }
}

/** Unspecified, multicast, broadcast and the rest of 240/4. */
function isForMany(bytes: Uint8Array): boolean {
  const first = bytes[0] ?? 0
  if (bytes.length === 4) return first === 0 || first >= 224
  return first === 0xff || bytes.every((byte) => byte === 0)
}

function isLoopback(bytes: Uint8Array | undefined): boolean {
  if (bytes === undefined) return false
  if (bytes.length === 4) return bytes[0] === 127
  return bytes.every((byte, at) => byte === (at === 15 ? 1 : 0))
}

/** RFC 8445 §5.1.2. */
const highestPriority = 2 ** 31 - 1

/** How far a kind is from a plain cable. */
const distance: Readonly<Record<CandidateKind, number>> = {
  host: 0,
  'server-reflexive': 1,
  'peer-reflexive': 2,
  relayed: 3,
}

/** What to call a path: the farther kind of its two ends. Ours is known by how the peer sees us. */
export function pairKind(remote: CandidateKind, mapped: Endpoint, ours: readonly PunchCandidate[]): CandidateKind {
  const local = ours.find((candidate) => sameEndpoint(candidate.endpoint, mapped))?.kind ?? 'peer-reflexive'
  return distance[local] > distance[remote] ? local : remote
}

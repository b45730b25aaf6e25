/**
 * Answers Binding requests as a STUN server does (RFC 8489 §6.3.1, §12), as a function of the datagram alone. Clients
 * of RFC 3489, whose requests have no magic cookie, get MAPPED-ADDRESS. Left out: authentication, ALTERNATE-SERVER,
 * the second address of RFC 5780.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import { stunErrors, stunMethods } from './constants.ts'
import { decodeMessage, encodeMessage, type StunMessage, unknownRequiredTypes } from './message.ts'

const software = { kind: 'software', text: 'PunchGuard' } as const

/** RFC 3489's CHANGE-REQUEST: a request to answer from another address, which this server has not. */
const changeRequest = 0x0003

/** The answer to a datagram from `from`, or nothing when it is no Binding request. */
export function answerBindingRequest(bytes: Uint8Array, from: Endpoint): Uint8Array | undefined {
  const request = decodeMessage(bytes, { classic: true })
  if (request === undefined || request.fingerprint === 'wrong') return undefined
  const { messageClass, method, transactionId } = request
  if (messageClass !== 'request' || method !== stunMethods.Binding) return undefined
  const classic = transactionId.length === 16
  const unknown = unknownRequiredTypes(classic ? withoutIdleChangeRequest(request) : request)
  const fingerprint = request.fingerprint === 'right'
  if (unknown.length > 0) {
    const attributes = [
      { kind: 'error-code', code: stunErrors['Unknown Attribute'], reason: 'Unknown Attribute' },
      { kind: 'unknown-attributes', types: unknown },
      software,
    ] as const
    return encodeMessage({ messageClass: 'error', method, transactionId, attributes }, { fingerprint })
  }
  const mapped = { kind: classic ? 'mapped-address' : 'xor-mapped-address', endpoint: from } as const
  return encodeMessage(
    { messageClass: 'success', method, transactionId, attributes: [mapped, software] },
    { fingerprint },
  )
}

/** Classic clients send CHANGE-REQUEST with no flag set as a matter of course: it asks for nothing. */
function withoutIdleChangeRequest(request: StunMessage): StunMessage {
  const attributes = request.attributes.filter(
    (one) => !(one.kind === 'other' && one.type === changeRequest && one.value.every((byte) => byte === 0)),
  )
  return { ...request, attributes }
}

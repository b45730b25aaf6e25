/**
 * The messages of a connectivity check (RFC 8445 §7.1 to §7.3): the request, its two answers, and the examination
 * of what comes in. The same messages keep a path alive (RFC 7675) and resume one.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import { findAttribute, type StunAttribute } from '../stun/attributes.ts'
import { fillerType, stunErrors, stunMethods } from '../stun/constants.ts'
import { shortTermKey } from '../stun/integrity.ts'
import {
  encodeMessage,
  isAuthentic,
  type ReceivedStunMessage,
  type StunMessage,
  unknownRequiredTypes,
} from '../stun/message.ts'
import type { Association, IceCredentials } from './credentials.ts'
import { candidatePriority } from './priority.ts'

export interface IceRole {
  readonly controlling: boolean
  readonly tieBreaker: bigint
}

/** Type and length. */
const attributeHeaderSize = 4

/** RFC 8445 §7.1.1: what our end would be called if the peer sees it at an address nobody signalled. */
const ownReflexivePriority = candidatePriority('peer-reflexive')

/** A Binding request under the peer's credentials. `size`: filled up to so many bytes, a multiple of 4; its answer is not. */
export function encodeCheck(options: {
  readonly transactionId: Uint8Array
  readonly association: Association
  readonly role: IceRole
  readonly useCandidate?: boolean
  readonly size?: number | undefined
}): Uint8Array {
  const { association, role, transactionId } = options
  const attributes: StunAttribute[] = [
    { kind: 'username', text: `${association.remote.ufrag}:${association.local.ufrag}` },
    { kind: 'priority', priority: ownReflexivePriority },
    { kind: role.controlling ? 'ice-controlling' : 'ice-controlled', tieBreaker: role.tieBreaker },
  ]
  if (options.useCandidate === true) attributes.push({ kind: 'use-candidate' })
  const key = shortTermKey(association.remote.password)
  const encode = (): Uint8Array =>
    encodeMessage(
      { messageClass: 'request', method: stunMethods.Binding, transactionId, attributes },
      { key, fingerprint: true },
    )
  const request = encode()
  if (options.size === undefined) return request
  const missing = options.size - request.length - attributeHeaderSize
  attributes.push({ kind: 'other', type: fillerType, value: new Uint8Array(missing) })
  return encode()
}

/** RFC 8445 §7.3.1.2: a success response that says where the request came from. */
export function encodeCheckSuccess(request: StunMessage, from: Endpoint, local: IceCredentials): Uint8Array {
  return encodeAnswer(request, 'success', [{ kind: 'xor-mapped-address', endpoint: from }], local)
}

/** RFC 8445 §7.3.1.1. */
export function encodeRoleConflict(request: StunMessage, local: IceCredentials): Uint8Array {
  const conflict = { kind: 'error-code', code: stunErrors['Role Conflict'], reason: 'Role Conflict' } as const
  return encodeAnswer(request, 'error', [conflict], local)
}

function encodeAnswer(
  request: StunMessage,
  messageClass: 'success' | 'error',
  attributes: readonly StunAttribute[],
  local: IceCredentials,
): Uint8Array {
  const { method, transactionId } = request
  return encodeMessage(
    { messageClass, method, transactionId, attributes },
    { key: shortTermKey(local.password), fingerprint: true },
  )
}

export type ExaminedRequest =
  | {
      readonly kind: 'valid'
      /** Of the candidate the request would reveal. */
      readonly priority: number
      readonly useCandidate: boolean
      readonly role: IceRole
      readonly remoteUfrag: string
    }
  /** The peer's own, but not understood: it is told so. */
  | { readonly kind: 'refused'; readonly answer: Uint8Array; readonly reason: string }
  /** Not shown to be the peer's. It gets no answer: whoever guesses learns nothing, and nobody is flooded through us. */
  | { readonly kind: 'dropped'; readonly reason: string }

/** The two halves of a request's USERNAME: whose it is, and who says to have sent it. */
export function usernameOf(message: StunMessage): { readonly local: string; readonly remote: string } | undefined {
  const text = findAttribute(message.attributes, 'username')?.text
  const colon = text?.indexOf(':') ?? -1
  if (text === undefined || colon < 0) return undefined
  return { local: text.slice(0, colon), remote: text.slice(colon + 1) }
}

export function examineRequest(request: ReceivedStunMessage, local: IceCredentials): ExaminedRequest {
  const username = usernameOf(request)
  if (request.method !== stunMethods.Binding || username?.local !== local.ufrag) {
    return { kind: 'dropped', reason: 'username' }
  }
  // RFC 8445 §7.1: every check has one. A response is known by its transaction and needs none.
  if (request.fingerprint !== 'right') return { kind: 'dropped', reason: 'fingerprint' }
  if (!isAuthentic(request, shortTermKey(local.password))) return { kind: 'dropped', reason: 'integrity' }
  const types = unknownRequiredTypes(request)
  if (types.length > 0) {
    const unknown = { code: stunErrors['Unknown Attribute'], reason: 'Unknown Attribute' }
    const attributes: StunAttribute[] = [
      { kind: 'error-code', ...unknown },
      { kind: 'unknown-attributes', types },
    ]
    return { kind: 'refused', reason: 'unknown-attribute', answer: encodeAnswer(request, 'error', attributes, local) }
  }
  const priority = findAttribute(request.attributes, 'priority')?.priority
  const controlling = findAttribute(request.attributes, 'ice-controlling')
  const role = controlling ?? findAttribute(request.attributes, 'ice-controlled')
  if (priority === undefined || role === undefined) {
    const bad = { kind: 'error-code', code: stunErrors['Bad Request'], reason: 'Bad Request' } as const
    return { kind: 'refused', reason: 'bad-request', answer: encodeAnswer(request, 'error', [bad], local) }
  }
  return {
    kind: 'valid',
    priority,
    useCandidate: findAttribute(request.attributes, 'use-candidate') !== undefined,
    role: { controlling: controlling !== undefined, tieBreaker: role.tieBreaker },
    remoteUfrag: username.remote,
  }
}

export type ExaminedResponse =
  | { readonly kind: 'success'; readonly mapped: Endpoint }
  | { readonly kind: 'error'; readonly code: number }
  | { readonly kind: 'dropped'; readonly reason: string }

/** A response to one of our checks, found by its transaction id. Errors must be authentic as well. */
export function examineResponse(response: ReceivedStunMessage, remote: IceCredentials): ExaminedResponse {
  if (!isAuthentic(response, shortTermKey(remote.password))) return { kind: 'dropped', reason: 'integrity' }
  if (response.messageClass === 'error') {
    const code = findAttribute(response.attributes, 'error-code')?.code
    return code === undefined ? { kind: 'dropped', reason: 'incomplete' } : { kind: 'error', code }
  }
  const mapped = findAttribute(response.attributes, 'xor-mapped-address')?.endpoint
  if (mapped === undefined || unknownRequiredTypes(response).length > 0)
    return { kind: 'dropped', reason: 'incomplete' }
  return { kind: 'success', mapped }
}

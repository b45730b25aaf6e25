/**
 * The texts of OTR v3 as they travel: query messages, error messages, whitespace tags, encoded messages
 * ("Requesting an OTR conversation", "OTR Error Messages", "OTR version 3 messages") and fragments (fragment.ts).
 */

import { fromBase64, toBase64 } from '../../util/bytes.ts'
import { maximumTextLength } from './constants.ts'
import { type Fragment, parseFragment } from './fragment.ts'

export type OtrText =
  | { readonly kind: 'fragment'; readonly fragment: Fragment }
  | { readonly kind: 'encoded'; readonly bytes: Uint8Array }
  | { readonly kind: 'error' }
  /** A query or a whitespace tag; whether version 3 is among what it offers. */
  | { readonly kind: 'offer'; readonly offersVersion3: boolean }
  | { readonly kind: 'plaintext' }
  | { readonly kind: 'malformed' }

/** We speak version 3 only. */
export const queryText = '?OTRv3?'

const fragmentMarker = /^\?OTR[|,]/
const encodedMarker = '?OTR:'
const errorMarker = '?OTR Error:'
const queryPattern = /\?OTR(?:\?|(?=v))(?:v([0-9a-zA-Z]{0,32})\?)?/
const tagBase = '\x20\x09\x20\x20\x09\x09\x09\x09\x20\x09\x20\x09\x20\x09\x20\x20'
const tagVersion3 = '\x20\x20\x09\x09\x20\x20\x09\x09'

/** What a text is. In the order of the specification: fragments first, then encoded messages, errors and offers. */
export function parseText(text: string): OtrText {
  if (text.length > maximumTextLength) return { kind: 'malformed' }
  if (fragmentMarker.test(text)) {
    const fragment = parseFragment(text)
    return fragment === undefined ? { kind: 'malformed' } : { kind: 'fragment', fragment }
  }
  if (text.includes(encodedMarker)) {
    const bytes = parseEncoded(text)
    return bytes === undefined ? { kind: 'malformed' } : { kind: 'encoded', bytes }
  }
  if (text.includes(errorMarker)) return { kind: 'error' }
  const query = queryPattern.exec(text)
  if (query !== null) return { kind: 'offer', offersVersion3: query[1]?.includes('3') ?? false }
  if (text.includes(tagBase)) return { kind: 'offer', offersVersion3: hasVersion3Tag(text) }
  return { kind: 'plaintext' }
}

/** `?OTR:`, base64, `.` */
export function formatEncoded(bytes: Uint8Array): string {
  return `${encodedMarker}${toBase64(bytes)}.`
}

export function formatError(reason: string): string {
  return `${errorMarker} ${reason}`
}

/** The bytes between the marker and the next full stop. Text before it and line breaks inside are tolerated. */
function parseEncoded(text: string): Uint8Array | undefined {
  const from = text.indexOf(encodedMarker) + encodedMarker.length
  const to = text.indexOf('.', from)
  return to === -1 ? undefined : fromBase64(text.slice(from, to).replace(/[\r\n\t ]+/g, ''))
}

/** Version tags of 8 characters follow the base; the one of version 3 must be among them. */
function hasVersion3Tag(text: string): boolean {
  const tags = /^(?:[ \t]{8})*/.exec(text.slice(text.indexOf(tagBase) + tagBase.length))?.[0] ?? ''
  for (let at = 0; at < tags.length; at += tagVersion3.length) {
    if (tags.startsWith(tagVersion3, at)) return true
  }
  return false
}

/**
 * Fragmentation ("Fragmentation"): a text that is too long for the transport travels in pieces
 *
 *   ?OTR|sender tag|receiver tag,k,n,piece,
 *
 * with tags in hexadecimal and 1 ≤ k ≤ n in decimal. Pieces must arrive in order and without a gap.
 */

import { maximumFragments, maximumTextLength } from './constants.ts'
import type { InstanceTags } from './messages.ts'

export interface Fragment extends InstanceTags {
  readonly index: number
  readonly count: number
  readonly piece: string
}

export type Added =
  | { readonly kind: 'pending' }
  /** The piece did not fit. */
  | { readonly kind: 'dropped' }
  | { readonly kind: 'whole'; readonly text: string }

interface Partial {
  readonly senderTag: number
  readonly count: number
  readonly index: number
  readonly text: string
}

const pattern = /^\?OTR\|([0-9a-fA-F]{1,16})\|([0-9a-fA-F]{1,16}),([0-9]{1,16}),([0-9]{1,16}),([^,]*),\s*$/

/** `?OTR|`, 8 + 1 + 8 characters of tags, two numbers of 5 digits and four commas. */
const overhead = 36

/** One fragment, `undefined` when it is malformed. Any number of leading zeros and an empty piece are accepted. */
export function parseFragment(text: string): Fragment | undefined {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const [, sender = '', receiver = '', k = '', n = '', piece = ''] = match
  const [senderTag, receiverTag] = [Number.parseInt(sender, 16), Number.parseInt(receiver, 16)]
  const [index, count] = [Number.parseInt(k, 10), Number.parseInt(n, 10)]
  if (senderTag > 0xffff_ffff || receiverTag > 0xffff_ffff) return undefined
  if (index < 1 || count < index || count > 65_535) return undefined
  return { senderTag, receiverTag, index, count, piece }
}

/** Longest text that fits when the transport takes `maximumBytes` at a time. */
export function longestText(maximumBytes: number): number {
  return Math.min(maximumTextLength, Math.max(maximumBytes, maximumFragments * (maximumBytes - overhead)))
}

/** The text itself when it fits, its fragments otherwise. The text is ASCII and no longer than `longestText`. */
export function fragmentText(text: string, options: InstanceTags & { readonly maximumBytes: number }): string[] {
  const { senderTag, receiverTag, maximumBytes } = options
  if (text.length <= maximumBytes) return [text]
  const size = maximumBytes - overhead
  const count = size < 1 ? Number.POSITIVE_INFINITY : Math.ceil(text.length / size)
  if (count > maximumFragments) throw new RangeError('The text does not fit into the allowed number of fragments')
  const [from, to] = [hex(senderTag), hex(receiverTag)]
  return Array.from({ length: count }, (_, index) => {
    const piece = text.slice(index * size, (index + 1) * size)
    return `?OTR|${from}|${to},${decimal(index + 1)},${decimal(count)},${piece},`
  })
}

/** The pieces of one text as they come in: at most 32 of them and 64 KiB, anything out of order forgets all. */
export class Reassembly {
  #partial: Partial | undefined

  add(fragment: Fragment): Added {
    const partial = this.#partial
    this.#partial = undefined
    const { senderTag, index, count, piece } = fragment
    if (count > maximumFragments || piece.length > maximumTextLength) return { kind: 'dropped' }
    if (index === 1) return this.#keep({ senderTag, count, index, text: piece })
    const continues =
      partial !== undefined &&
      partial.senderTag === senderTag &&
      partial.count === count &&
      partial.index + 1 === index &&
      partial.text.length + piece.length <= maximumTextLength
    return continues ? this.#keep({ senderTag, count, index, text: partial.text + piece }) : { kind: 'dropped' }
  }

  forget(): void {
    this.#partial = undefined
  }

  #keep(partial: Partial): Added {
    if (partial.index === partial.count) return { kind: 'whole', text: partial.text }
    this.#partial = partial
    return { kind: 'pending' }
  }
}

function hex(tag: number): string {
  return tag.toString(16).padStart(8, '0')
}

function decimal(value: number): string {
  return value.toString().padStart(5, '0')
}

/**
 * The text form of what people hand each other: `pg1…` is a card, `pgi1…` an invite. The digit is the version of all
 * that follows it.
 *
 * Base32 (RFC 4648 §6, lower case, no padding) rather than base64: one double click selects it, capitals do not matter
 * when it is read out or a mail program changes them, and in capitals a QR code stores it in alphanumeric mode, 18 %
 * smaller than base64 in byte mode.
 *
 * | offset | size | field                                                     |
 * |      0 |    2 | length n of the body                                      |
 * |      2 |    n | body                                                      |
 * |  2 + n |    4 | CRC-32 (ISO 3309) of the prefix and everything before     |
 *
 * The CRC is there for typing errors: it finds every change of up to six neighbouring characters. It is no protection
 * against a forger; the keys inside are compared by pairing.
 */

import { crc32 } from 'node:zlib'
import { PunchGuardError } from '../api/errors.ts'
import { ByteReader } from '../util/byte-reader.ts'
import { ByteWriter } from '../util/byte-writer.ts'
import { concatBytes, toUtf8 } from '../util/bytes.ts'

export type CodeKind = 'card' | 'invite'

const prefixes: Readonly<Record<CodeKind, string>> = { card: 'pg1', invite: 'pgi1' }

const maximumBody = 512
const maximumText = 4096
const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

export function formatCode(kind: CodeKind, body: Uint8Array): string {
  const prefix = prefixes[kind]
  const checked = new ByteWriter(body.length + 2).uint16(body.length).bytes(body).finish()
  return (
    prefix + encodeBase32(new ByteWriter(body.length + 6).bytes(checked).uint32(checksum(prefix, checked)).finish())
  )
}

/**
 * The body of a code. White space anywhere, as mail programs add it, does not matter.
 * @throws PunchGuardError CARD_INVALID or INVITE_INVALID, saying which kind of damage it is
 */
export function parseCode(kind: CodeKind, text: string): Uint8Array {
  const code = text.slice(0, maximumText).replace(/\s+/g, '').toLowerCase()
  const again = `copy the whole ${kind} once more, from its first to its last character`
  if (code === '') throw invalid(kind, `there is no ${kind}`, `paste the text that begins with ${prefixes[kind]}`)
  const [, marker, version] = /^pg(i?)([0-9])/.exec(code) ?? []
  if (marker === undefined || version === undefined) {
    throw invalid(kind, `this is not ${withArticle(kind)}`, `${withArticle(kind)} begins with ${prefixes[kind]}`)
  }
  const found: CodeKind = marker === 'i' ? 'invite' : 'card'
  if (found !== kind) throw wrongKind(found)
  const prefix = prefixes[kind]
  if (version !== prefix.at(-1)) {
    const what = version === '0' ? 'an unknown' : 'a newer'
    throw invalid(kind, `this ${kind} was made by ${what} version of PunchGuard`, 'update PunchGuard on this device')
  }
  const digits = code.slice(prefix.length)
  const wrong = digits.search(/[^a-z2-7]/)
  if (wrong >= 0)
    throw invalid(kind, `this ${kind} has a typing error at character ${prefix.length + wrong + 1}`, again)
  const bytes = decodeBase32(digits)
  const reader = new ByteReader(bytes)
  const length = reader.uint16()
  if (length === undefined) throw invalid(kind, `this ${kind} is cut off`, again)
  if (length > maximumBody) throw invalid(kind, `this ${kind} has a typing error`, again)
  const expected = prefix.length + Math.ceil(((length + 6) * 8) / 5)
  if (code.length < expected)
    throw invalid(kind, `this ${kind} is cut off after ${code.length} of ${expected} characters`, again)
  if (code.length > expected)
    throw invalid(kind, `this ${kind} goes on after its last character, the ${expected}th`, again)
  const body = reader.bytes(length)
  const intact = reader.uint32() === checksum(prefix, bytes.subarray(0, length + 2))
  // Written again, it must be the same text: unused bits of the last character are zero.
  if (body === undefined || !intact || encodeBase32(bytes) !== digits)
    throw invalid(kind, `this ${kind} has a typing error`, again)
  return body
}

/** The error for a code whose checksum is right and whose content is not: nobody mistyped it. */
export function damagedContent(kind: CodeKind): PunchGuardError {
  return invalid(kind, `this ${kind} has a content that makes no sense`, 'ask the other device for a new one')
}

function wrongKind(found: CodeKind): PunchGuardError {
  return found === 'card'
    ? invalid('invite', 'this is a card, not an invite', 'use it with: punchguard import CARD')
    : invalid('card', 'this is an invite, not a card', 'use it with: punchguard pair CODE')
}

function invalid(kind: CodeKind, message: string, hint: string): PunchGuardError {
  return new PunchGuardError(kind === 'card' ? 'CARD_INVALID' : 'INVITE_INVALID', message, { hint })
}

function withArticle(kind: CodeKind): string {
  return kind === 'card' ? 'a card' : 'an invite'
}

function checksum(prefix: string, bytes: Uint8Array): number {
  return crc32(concatBytes(toUtf8(prefix), bytes))
}

function encodeBase32(bytes: Uint8Array): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += alphabet[(value >> bits) & 31]
    }
  }
  return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text
}

/** The whole bytes of a text of base32 digits. */
function decodeBase32(digits: string): Uint8Array {
  const bytes = new Uint8Array(Math.floor((digits.length * 5) / 8))
  let at = 0
  let bits = 0
  let value = 0
  for (const digit of digits) {
    value = ((value << 5) | alphabet.indexOf(digit)) & 0xfff
    bits += 5
    if (bits < 8) continue
    bits -= 8
    bytes[at++] = (value >> bits) & 0xff
  }
  return bytes
}

/**
 * An invite: our card with a one-time secret, for one other device. The joiner finds us by the card and both prove by
 * SMP that they know the secret; then both pin. The inviter alone keeps count (InviteBook): an invite is open until it
 * is used or expires.
 *
 * | offset | size | field                                        |
 * |      0 |    8 | id, random                                   |
 * |      8 |   16 | one-time secret, random                      |
 * |     24 |    4 | expires: seconds since 1970-01-01 UTC        |
 * |     28 |    n | card (card.ts)                               |
 *
 * Written as `pgi1…` (code-text.ts), about 265 characters.
 */

import * as v from 'valibot'
import { PunchGuardError } from '../api/errors.ts'
import { SecretKey } from '../api/keys.ts'
import { ByteReader } from '../util/byte-reader.ts'
import { ByteWriter } from '../util/byte-writer.ts'
import { equalBytes, toBase64 } from '../util/bytes.ts'
import type { Random } from '../util/random.ts'
import { type Card, decodeCard, encodeCard, shareKey } from './card.ts'
import { damagedContent, formatCode, parseCode } from './code-text.ts'
import { readStored, storedBytes, storedSecret, storeSecret } from './stored-value.ts'

/** How long an invite is valid when nothing is said, ms: enough to walk to the other device. */
export const defaultValidity: number = 10 * 60_000

/** Shortest and longest validity, ms. */
export const validityLimits: { readonly minimum: number; readonly maximum: number } = {
  minimum: 10_000,
  maximum: 7 * 24 * 3_600_000,
}

/** Our choice: invites a device keeps in mind, used and expired ones included. */
const maximumRecords = 32

const idLength = 8
const secretLength = 16

export interface Invite {
  readonly id: Uint8Array
  readonly secret: SecretKey
  /** Wall time in ms, whole seconds. */
  readonly expires: number
  readonly card: Card
}

export function formatInvite(invite: Invite): string {
  const body = new ByteWriter(200)
    .bytes(invite.id)
    .bytes(invite.secret.reveal())
    .uint32(Math.floor(invite.expires / 1000))
    .bytes(encodeCard(invite.card))
    .finish()
  return formatCode('invite', body)
}

/**
 * Reads another device's invite. `now` is wall time in ms, `own` our own card.
 * @throws PunchGuardError INVITE_INVALID, saying which kind of damage it is; INVITE_OWN; INVITE_EXPIRED
 */
export function parseInvite(text: string, options: { readonly now: number; readonly own: Card }): Invite {
  const invite = decodeInvite(parseCode('invite', text))
  if (invite === undefined) throw damagedContent('invite')
  if (shareKey(invite.card, options.own)) {
    throw new PunchGuardError('INVITE_OWN', 'this invite was made by this very device', {
      hint: 'use it on the other device: punchguard pair CODE',
    })
  }
  if (invite.expires <= options.now) throw inviteExpired(options.now - invite.expires)
  return invite
}

/** For an invite that ended `ago` ms ago by our clock. */
export function inviteExpired(ago: number): PunchGuardError {
  const minutes = Math.round(ago / 60_000)
  const when =
    minutes < 2 ? 'just now' : minutes < 120 ? `${minutes} minutes ago` : `${Math.round(minutes / 60)} hours ago`
  const clock = minutes < 60 ? '' : "; if it is a fresh one, set this device's clock"
  return new PunchGuardError('INVITE_EXPIRED', `this invite expired ${when}`, {
    hint: `make a new one on the other device: punchguard pair${clock}`,
  })
}

export function inviteUsed(): PunchGuardError {
  return new PunchGuardError('INVITE_USED', 'this invite was used already', {
    hint: 'an invite is for one device: make a new one with punchguard pair',
  })
}

function decodeInvite(body: Uint8Array): Invite | undefined {
  const reader = new ByteReader(body.slice())
  const id = reader.bytes(idLength)
  const secret = reader.bytes(secretLength)
  const seconds = reader.uint32()
  const card = decodeCard(reader.rest())
  if (id === undefined || secret === undefined || seconds === undefined || card === undefined) return undefined
  return { id, secret: new SecretKey(secret), expires: seconds * 1000, card }
}

// ------------------------------------------------------------------------------------------- the inviter's record

export type InviteState =
  | { readonly kind: 'open'; readonly secret: SecretKey }
  /** `by`: the peer that used it. The secret is gone. */
  | { readonly kind: 'used'; readonly by: string }
  | { readonly kind: 'expired' }

export interface InviteRecord {
  readonly id: Uint8Array
  /** Wall time in ms. */
  readonly expires: number
  readonly state: InviteState
}

/** The invites this device made, oldest first; a value: every change gives a new book. */
export type InviteBook = readonly InviteRecord[]

/** Makes an invite. The oldest records go when there are too many, finished ones before open ones. */
export function issueInvite(
  book: InviteBook,
  options: { readonly card: Card; readonly random: Random; readonly now: number; readonly validFor?: number },
): { readonly book: InviteBook; readonly invite: Invite } {
  const { minimum, maximum } = validityLimits
  const validFor = Math.min(maximum, Math.max(minimum, options.validFor ?? defaultValidity))
  const expires = Math.ceil((options.now + validFor) / 1000) * 1000
  const id = options.random.bytes(idLength)
  const secret = options.random.bytes(secretLength)
  const record: InviteRecord = { id, expires, state: { kind: 'open', secret: new SecretKey(secret) } }
  const invite: Invite = { id, secret: new SecretKey(secret.slice()), expires, card: options.card }
  return { book: [...shortened(expireInvites(book, options.now)), record], invite }
}

/** The record of an invite, its expiry looked at; `undefined` when we never made it, or long ago. */
export function findInvite(
  book: InviteBook,
  id: Uint8Array,
  options: { readonly now: number },
): InviteRecord | undefined {
  return expireInvites(book, options.now).find((record) => equalBytes(record.id, id))
}

/** Marks an open invite as used. @throws PunchGuardError INVITE_USED, INVITE_EXPIRED, INVITE_INVALID */
export function useInvite(
  book: InviteBook,
  id: Uint8Array,
  options: { readonly now: number; readonly by: string },
): InviteBook {
  const record = findInvite(book, id, options)
  if (record === undefined) {
    throw new PunchGuardError('INVITE_INVALID', 'this invite is not one of ours', {
      hint: 'make a new one with punchguard pair',
    })
  }
  if (record.state.kind === 'used') throw inviteUsed()
  if (record.state.kind === 'expired') throw inviteExpired(options.now - record.expires)
  const used: InviteRecord = { id: record.id, expires: record.expires, state: { kind: 'used', by: options.by } }
  return expireInvites(book, options.now).map((other) => (other.id === record.id ? used : other))
}

/** Closes the open invites whose time is over: their secrets are forgotten. */
export function expireInvites(book: InviteBook, now: number): InviteBook {
  return book.map((record) =>
    record.state.kind === 'open' && record.expires <= now ? { ...record, state: { kind: 'expired' } } : record,
  )
}

/** The book with room for one more record. */
function shortened(book: InviteBook): InviteBook {
  const surplus = book.length - maximumRecords + 1
  if (surplus <= 0) return book
  const finished = book.filter((record) => record.state.kind !== 'open').slice(0, surplus)
  const kept = book.filter((record) => !finished.includes(record))
  return kept.slice(surplus - finished.length)
}

/** The JSON value for a StateStore. It holds the secrets of open invites. */
export function encodeInvites(book: InviteBook): unknown {
  const invites = book.map(({ id, expires, state }) => ({
    id: toBase64(id),
    expires,
    state: state.kind === 'open' ? { kind: 'open', secret: storeSecret(state.secret) } : state,
  }))
  return { version: 1, invites }
}

const storedInvites = v.object({
  version: v.literal(1),
  invites: v.pipe(
    v.array(
      v.object({
        id: storedBytes((bytes) => (bytes.length === idLength ? bytes : undefined)),
        expires: v.pipe(v.number(), v.finite()),
        state: v.variant('kind', [
          v.object({ kind: v.literal('open'), secret: storedSecret(secretLength) }),
          v.object({ kind: v.literal('used'), by: v.string() }),
          v.object({ kind: v.literal('expired') }),
        ]),
      }),
    ),
    v.maxLength(maximumRecords),
  ),
})

/** @throws PunchGuardError STATE_DAMAGED */
export function parseInvites(value: unknown): InviteBook {
  const hint = 'move invites.json away: open invites are lost, peers are not'
  return readStored(value, { name: 'list of invites', schema: storedInvites, hint }).invites
}

/**
 * A card: the public half of a device, everything another one needs to find it and to know it again. It is no secret,
 * but who can change it on its way can put another device in its place.
 *
 * | offset | size | field                                               |
 * |      0 |    1 | length n of the name, 1..32                         |
 * |      1 |    n | name, ASCII (api/device-name.ts)                    |
 * |  1 + n |   38 | Tox ID: public key, nospam, checksum                |
 * | 39 + n |   20 | OTR v3 fingerprint of the DSA key                   |
 * | 59 + n |   32 | Ed25519 identity key                                |
 * | 91 + n |   32 | WireGuard static public key                         |
 *
 * Written as `pg1…` (code-text.ts), about 220 characters.
 */

import { isDeviceName } from '../api/device-name.ts'
import {
  type IdentityPublicKey,
  identityPublicKey,
  type OtrFingerprint,
  otrFingerprint,
  type TunnelPublicKey,
  tunnelPublicKey,
} from '../api/keys.ts'
import { ByteReader } from '../util/byte-reader.ts'
import { ByteWriter } from '../util/byte-writer.ts'
import { equalBytes, fromUtf8, toUtf8 } from '../util/bytes.ts'
import { damagedContent, formatCode, parseCode } from './code-text.ts'

/** The length of a Tox ID in bytes. */
export const toxIdLength = 38

export interface Card {
  readonly name: string
  /** 38 bytes: public key, nospam, checksum. The checksum is looked at by the Tox network, not here. */
  readonly toxId: Uint8Array
  readonly otrFingerprint: OtrFingerprint
  readonly identityKey: IdentityPublicKey
  readonly tunnelKey: TunnelPublicKey
}

export function formatCard(card: Card): string {
  return formatCode('card', encodeCard(card))
}

/** @throws PunchGuardError CARD_INVALID, saying which kind of damage it is */
export function parseCard(text: string): Card {
  const card = decodeCard(parseCode('card', text))
  if (card === undefined) throw damagedContent('card')
  return card
}

export function encodeCard(card: Card): Uint8Array {
  const name = toUtf8(card.name)
  return new ByteWriter(160)
    .uint8(name.length)
    .bytes(name)
    .bytes(card.toxId)
    .bytes(card.otrFingerprint)
    .bytes(card.identityKey)
    .bytes(card.tunnelKey)
    .finish()
}

/** `undefined` for anything that is not exactly one card. The keys are copies. */
export function decodeCard(bytes: Uint8Array): Card | undefined {
  const reader = new ByteReader(bytes.slice())
  const name = fromUtf8(reader.bytes(reader.uint8() ?? 0) ?? new Uint8Array(0))
  const toxId = reader.bytes(toxIdLength)
  const fingerprint = otrFingerprint(reader.bytes(20) ?? new Uint8Array(0))
  const identityKey = identityPublicKey(reader.bytes(32) ?? new Uint8Array(0))
  const tunnelKey = tunnelPublicKey(reader.bytes(32) ?? new Uint8Array(0))
  if (name === undefined || !isDeviceName(name) || toxId === undefined || fingerprint === undefined) return undefined
  if (identityKey === undefined || tunnelKey === undefined || reader.remaining > 0) return undefined
  return { name, toxId, otrFingerprint: fingerprint, identityKey, tunnelKey }
}

/** Whether two cards hold the same keys. The name and the nospam (which only keeps strangers out) may differ. */
export function sameKeys(a: Card, b: Card): boolean {
  return [
    [a.toxId.subarray(0, 32), b.toxId.subarray(0, 32)],
    [a.otrFingerprint, b.otrFingerprint],
    [a.identityKey, b.identityKey],
    [a.tunnelKey, b.tunnelKey],
  ].every(([x, y]) => x !== undefined && y !== undefined && equalBytes(x, y))
}

/** Whether two cards share any key: then they speak of one device, or one of them pretends to be the other. */
export function shareKey(a: Card, b: Card): boolean {
  return (
    equalBytes(a.toxId.subarray(0, 32), b.toxId.subarray(0, 32)) ||
    equalBytes(a.otrFingerprint, b.otrFingerprint) ||
    equalBytes(a.identityKey, b.identityKey) ||
    equalBytes(a.tunnelKey, b.tunnelKey)
  )
}

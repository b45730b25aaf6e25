/** Encrypting and decrypting data messages with a key ring ("Exchanging data"). */

import { concatBytes, equalBytes } from '../../util/bytes.ts'
import { isGroupElement } from './dh.ts'
import { aesCounter, hmac } from './key-derivation.ts'
import type { KeyRing } from './key-ring.ts'
import { type DataMessage, encodeData, type InstanceTags } from './messages.ts'
import { decodePayload, encodePayload, type Payload } from './tlv.ts'

/** The next data message, with the MAC keys that fell due for revelation. */
export function sealData(
  ring: KeyRing,
  payload: Payload,
  options: { readonly tags: InstanceTags; readonly flags: number },
): Uint8Array {
  const pairing = ring.forSending()
  const { ownKeyId: senderKeyId, theirKeyId: recipientKeyId, keys } = pairing
  pairing.sent += 1n
  const counter = pairing.sent
  const fields = {
    ...options.tags,
    flags: options.flags,
    senderKeyId,
    recipientKeyId,
    nextDh: ring.nextPublicKey,
    counter,
    ciphertext: aesCounter(keys.sendingAes, counter, encodePayload(payload)),
    oldMacKeys: concatBytes(...ring.takeOldMacKeys()),
  }
  return encodeData(fields, (bytes) => hmac('sha1', keys.sendingMac, bytes))
}

export type Opened =
  | { readonly kind: 'payload'; readonly payload: Payload }
  | { readonly kind: 'unreadable'; readonly reason: string }

/** Verifies and decrypts; the ring moves on only when the message is authentic and well-formed. */
export function openData(ring: KeyRing, message: DataMessage): Opened {
  const pairing = ring.forReceiving(message)
  if (pairing === undefined) return { kind: 'unreadable', reason: 'unknown key id' }
  const expected = hmac('sha1', pairing.keys.receivingMac, message.authenticated)
  if (!equalBytes(expected, message.mac)) return { kind: 'unreadable', reason: 'bad mac' }
  if (message.counter <= pairing.received) return { kind: 'unreadable', reason: 'old counter' }
  if (!isGroupElement(message.nextDh)) return { kind: 'unreadable', reason: 'bad next key' }
  const payload = decodePayload(aesCounter(pairing.keys.receivingAes, message.counter, message.ciphertext))
  if (payload === undefined) return { kind: 'unreadable', reason: 'bad payload' }
  ring.accept(pairing, message)
  return { kind: 'payload', payload }
}

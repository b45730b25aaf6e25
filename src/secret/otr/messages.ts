/**
 * The five binary messages of OTR v3 ("Authenticated Key Exchange", "Exchanging data"). Every one begins with the
 * header; multi-byte numbers are big-endian; DATA and MPI are a 4-byte length and that many bytes.
 *
 * | offset | size | field                 |
 * |      0 |    2 | version 3             |
 * |      2 |    1 | type                  |
 * |      3 |    4 | sender instance tag   |
 * |      7 |    4 | receiver instance tag |
 *
 * Versions 1 and 2 are left out.
 */

import { ByteReader } from '../../util/byte-reader.ts'
import { ByteWriter } from '../../util/byte-writer.ts'
import { dhBytes, maximumTextLength, messageTypes, protocolVersion } from './constants.ts'
import { readData, readMpi, writeData, writeMpi } from './encoding.ts'

export interface InstanceTags {
  readonly senderTag: number
  readonly receiverTag: number
}

/**
 * D-H Commit message, type 0x02.
 *
 * | size | field                          |
 * |  4+n | DATA AES_r(MPI g^x), n ≤ 196   |
 * | 4+32 | DATA SHA-256(MPI g^x)          |
 */
export interface DhCommitMessage extends InstanceTags {
  readonly kind: 'dh-commit'
  readonly encryptedGx: Uint8Array
  readonly hashedGx: Uint8Array
}

/**
 * D-H Key message, type 0x0a.
 *
 * | size | field            |
 * |  4+n | MPI g^y, n ≤ 192 |
 */
export interface DhKeyMessage extends InstanceTags {
  readonly kind: 'dh-key'
  /** 192 bytes, not yet checked. */
  readonly gy: Uint8Array
}

/**
 * Reveal Signature message, type 0x11.
 *
 * | size | field                               |
 * | 4+16 | DATA r                              |
 * |  4+n | DATA AES_c(X), n ≤ 600              |
 * |   20 | MAC, first 20 bytes of HMAC-SHA-256 |
 */
export interface RevealSignatureMessage extends InstanceTags {
  readonly kind: 'reveal-signature'
  readonly revealedKey: Uint8Array
  readonly encryptedSignature: Uint8Array
  readonly mac: Uint8Array
}

/**
 * Signature message, type 0x12.
 *
 * | size | field                               |
 * |  4+n | DATA AES_c'(X), n ≤ 600             |
 * |   20 | MAC, first 20 bytes of HMAC-SHA-256 |
 */
export interface SignatureMessage extends InstanceTags {
  readonly kind: 'signature'
  readonly encryptedSignature: Uint8Array
  readonly mac: Uint8Array
}

/**
 * Data message, type 0x03.
 *
 * | size | field                                          |
 * |    1 | flags                                          |
 * |    4 | sender key id, > 0                             |
 * |    4 | recipient key id, > 0                          |
 * |  4+n | MPI next D-H key, n ≤ 192                      |
 * |    8 | counter, > 0                                   |
 * |  4+n | DATA encrypted message                         |
 * |   20 | MAC, HMAC-SHA-1 over everything above          |
 * |  4+n | DATA revealed old MAC keys, n a multiple of 20 |
 */
export interface DataMessage extends InstanceTags {
  readonly kind: 'data'
  readonly flags: number
  readonly senderKeyId: number
  readonly recipientKeyId: number
  /** 192 bytes, not yet checked. */
  readonly nextDh: Uint8Array
  readonly counter: bigint
  readonly ciphertext: Uint8Array
  /** The bytes under the MAC: from the version up to the end of the ciphertext. */
  readonly authenticated: Uint8Array
  readonly mac: Uint8Array
  readonly oldMacKeys: Uint8Array
}

export type AkeMessage = DhCommitMessage | DhKeyMessage | RevealSignatureMessage | SignatureMessage
export type OtrMessage = AkeMessage | DataMessage

const maximumSignatureBytes = 600

export function encodeDhCommit(message: Omit<DhCommitMessage, 'kind'>): Uint8Array {
  const writer = startMessage(messageTypes.dhCommit, message)
  return writeData(writeData(writer, message.encryptedGx), message.hashedGx).finish()
}

function decodeDhCommit(tags: InstanceTags, reader: ByteReader): DhCommitMessage | undefined {
  const encryptedGx = readData(reader, dhBytes + 4)
  const hashedGx = readData(reader, 32)
  if (encryptedGx === undefined || hashedGx?.length !== 32) return undefined
  return { kind: 'dh-commit', ...tags, encryptedGx, hashedGx }
}

export function encodeDhKey(message: Omit<DhKeyMessage, 'kind'>): Uint8Array {
  return writeMpi(startMessage(messageTypes.dhKey, message), message.gy).finish()
}

function decodeDhKey(tags: InstanceTags, reader: ByteReader): DhKeyMessage | undefined {
  const gy = readMpi(reader, dhBytes)
  return gy && { kind: 'dh-key', ...tags, gy }
}

export function encodeRevealSignature(message: Omit<RevealSignatureMessage, 'kind'>): Uint8Array {
  const writer = startMessage(messageTypes.revealSignature, message)
  return writeData(writeData(writer, message.revealedKey), message.encryptedSignature).bytes(message.mac).finish()
}

function decodeRevealSignature(tags: InstanceTags, reader: ByteReader): RevealSignatureMessage | undefined {
  const revealedKey = readData(reader, 16)
  const encryptedSignature = readData(reader, maximumSignatureBytes)
  const mac = reader.bytes(20)
  if (revealedKey?.length !== 16 || encryptedSignature === undefined || mac === undefined) return undefined
  return { kind: 'reveal-signature', ...tags, revealedKey, encryptedSignature, mac }
}

export function encodeSignature(message: Omit<SignatureMessage, 'kind'>): Uint8Array {
  return writeData(startMessage(messageTypes.signature, message), message.encryptedSignature)
    .bytes(message.mac)
    .finish()
}

function decodeSignature(tags: InstanceTags, reader: ByteReader): SignatureMessage | undefined {
  const encryptedSignature = readData(reader, maximumSignatureBytes)
  const mac = reader.bytes(20)
  if (encryptedSignature === undefined || mac === undefined) return undefined
  return { kind: 'signature', ...tags, encryptedSignature, mac }
}

/** Writes a data message; `authenticate` gives the MAC over the bytes before it. */
export function encodeData(
  message: Omit<DataMessage, 'kind' | 'authenticated' | 'mac'>,
  authenticate: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  const writer = startMessage(messageTypes.data, message)
  writer.uint8(message.flags).uint32(message.senderKeyId).uint32(message.recipientKeyId)
  writeMpi(writer, message.nextDh).uint64(message.counter)
  writeData(writer, message.ciphertext)
  writer.bytes(authenticate(writer.finish()))
  return writeData(writer, message.oldMacKeys).finish()
}

function decodeData(tags: InstanceTags, reader: ByteReader, bytes: Uint8Array): DataMessage | undefined {
  const flags = reader.uint8()
  const senderKeyId = reader.uint32()
  const recipientKeyId = reader.uint32()
  const nextDh = readMpi(reader, dhBytes)
  const counter = reader.uint64()
  const ciphertext = readData(reader, maximumTextLength)
  const authenticated = bytes.subarray(0, reader.offset)
  const mac = reader.bytes(20)
  const oldMacKeys = readData(reader, maximumTextLength)
  if (flags === undefined || !senderKeyId || !recipientKeyId || nextDh === undefined) return undefined
  if (!counter || ciphertext === undefined || mac === undefined || oldMacKeys === undefined) return undefined
  if (oldMacKeys.length % 20 !== 0) return undefined
  const keyIds = { senderKeyId, recipientKeyId }
  return { kind: 'data', ...tags, flags, ...keyIds, nextDh, counter, ciphertext, authenticated, mac, oldMacKeys }
}

/** Reads one message into views of `bytes`; `undefined` for anything that is not exactly an OTR v3 message. */
export function decodeMessage(bytes: Uint8Array): OtrMessage | undefined {
  const reader = new ByteReader(bytes)
  if (reader.uint16() !== protocolVersion) return undefined
  const type = reader.uint8()
  const senderTag = reader.uint32()
  const receiverTag = reader.uint32()
  if (type === undefined || senderTag === undefined || receiverTag === undefined) return undefined
  const message = decodeBody(type, { senderTag, receiverTag }, { reader, bytes })
  return reader.remaining === 0 ? message : undefined
}

function decodeBody(
  type: number,
  tags: InstanceTags,
  { reader, bytes }: { readonly reader: ByteReader; readonly bytes: Uint8Array },
): OtrMessage | undefined {
  switch (type) {
    case messageTypes.dhCommit:
      return decodeDhCommit(tags, reader)
    case messageTypes.dhKey:
      return decodeDhKey(tags, reader)
    case messageTypes.revealSignature:
      return decodeRevealSignature(tags, reader)
    case messageTypes.signature:
      return decodeSignature(tags, reader)
    case messageTypes.data:
      return decodeData(tags, reader, bytes)
    default:
      return undefined
  }
}

function startMessage(type: number, tags: InstanceTags): ByteWriter {
  return new ByteWriter(512).uint16(protocolVersion).uint8(type).uint32(tags.senderTag).uint32(tags.receiverTag)
}

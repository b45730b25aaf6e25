/**
 * The authenticated key exchange ("Authenticated Key Exchange (AKE)", "The authentication state machine"): what each
 * message does in each state. Pure: a step gives the new state and the answer, and a message that is ignored or does
 * not verify gives neither.
 *
 * Left out: a failed check does not send us back to `none` as the specification allows, it changes nothing at all, so
 * that a stranger's garbage cannot stop an exchange.
 */

import type { OtrFingerprint } from '../../api/keys.ts'
import { assertNever } from '../../util/assert-never.ts'
import { ByteReader } from '../../util/byte-reader.ts'
import { ByteWriter } from '../../util/byte-writer.ts'
import { compareBytes, equalBytes } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import { fingerprintOf, type OtrAccount } from './account.ts'
import { dhBytes } from './constants.ts'
import { type DhKeyPair, generateDhKeyPair, isGroupElement } from './dh.ts'
import { readDsaPublicKey, signatureBytes, verifyDsa } from './dsa.ts'
import { mpi, readMpi } from './encoding.ts'
import { type AkeSecrets, aesCounter, deriveAkeSecrets, hash, hmac, type SignatureKeys } from './key-derivation.ts'
import {
  type AkeMessage,
  type DhCommitMessage,
  type DhKeyMessage,
  encodeDhCommit,
  encodeDhKey,
  encodeRevealSignature,
  encodeSignature,
  type RevealSignatureMessage,
  type SignatureMessage,
} from './messages.ts'

type Commit = Pick<DhCommitMessage, 'encryptedGx' | 'hashedGx'>

export type AuthState =
  | { readonly kind: 'none' }
  /** We sent a D-H Commit. */
  | {
      readonly kind: 'awaiting-dh-key'
      readonly own: DhKeyPair
      readonly revealedKey: Uint8Array
      readonly commit: Commit
    }
  /** We answered a D-H Commit with a D-H Key. */
  | {
      readonly kind: 'awaiting-reveal-signature'
      readonly own: DhKeyPair
      readonly commit: Commit
      readonly peerTag: number
    }
  /** We answered a D-H Key with a Reveal Signature, kept in case the D-H Key comes again. */
  | {
      readonly kind: 'awaiting-signature'
      readonly own: DhKeyPair
      readonly gy: Uint8Array
      readonly secrets: AkeSecrets
      readonly revealSignature: Uint8Array
      readonly peerTag: number
    }

/** What both ends know after a completed exchange. */
export interface Agreement {
  readonly sessionId: Uint8Array
  readonly fingerprint: OtrFingerprint
  readonly peerTag: number
  readonly own: DhKeyPair
  readonly their: Uint8Array
  readonly theirKeyId: number
  /** Which half of the session id is ours to emphasise when people compare it. */
  readonly half: 'first' | 'second'
}

export type AkeStep =
  | { readonly kind: 'ignored'; readonly reason: string }
  | { readonly kind: 'moved'; readonly state: AuthState; readonly send: Uint8Array }
  | { readonly kind: 'agreed'; readonly agreement: Agreement; readonly send?: Uint8Array }
  /** Everything verified, but the key is not the pinned one. */
  | { readonly kind: 'refused'; readonly fingerprint: OtrFingerprint }

export interface AkeContext {
  readonly account: OtrAccount
  readonly pinned: OtrFingerprint | undefined
  readonly random: Random
}

/** The id of the key of the exchange ("Key Management"): the first of the conversation. */
const ownKeyId = 1

/** Starts an exchange from any state: a D-H Commit, addressed to whichever instance is there. */
export function beginAke(context: AkeContext): { readonly state: AuthState; readonly send: Uint8Array } {
  const own = generateDhKeyPair(context.random)
  const revealedKey = context.random.bytes(16)
  const gx = mpi(own.publicKey)
  const commit = { encryptedGx: aesCounter(revealedKey, 0n, gx), hashedGx: hash('sha256', gx) }
  const send = encodeDhCommit({ senderTag: context.account.instanceTag, receiverTag: 0, ...commit })
  return { state: { kind: 'awaiting-dh-key', own, revealedKey, commit }, send }
}

/** One message of the exchange; its tags were checked before. */
export function stepAke(state: AuthState, message: AkeMessage, context: AkeContext): AkeStep {
  switch (message.kind) {
    case 'dh-commit':
      return onDhCommit(state, message, context)
    case 'dh-key':
      return onDhKey(state, message, context)
    case 'reveal-signature':
      return onRevealSignature(state, message, context)
    case 'signature':
      return onSignature(state, message, context)
    default:
      return assertNever(message)
  }
}

function onDhCommit(state: AuthState, message: DhCommitMessage, context: AkeContext): AkeStep {
  switch (state.kind) {
    case 'awaiting-dh-key': {
      // Both ends started: the higher hash wins, the other end forgets its own.
      const order = compareBytes(state.commit.hashedGx, message.hashedGx)
      if (order === 0) return { kind: 'ignored', reason: 'own commit' }
      if (order < 0) return answerCommit(message, generateDhKeyPair(context.random), context)
      const tags = { senderTag: context.account.instanceTag, receiverTag: 0 }
      return { kind: 'moved', state, send: encodeDhCommit({ ...tags, ...state.commit }) }
    }
    case 'awaiting-reveal-signature':
      return answerCommit(message, state.own, context)
    case 'none':
    case 'awaiting-signature':
      return answerCommit(message, generateDhKeyPair(context.random), context)
    default:
      return assertNever(state)
  }
}

function answerCommit(message: DhCommitMessage, own: DhKeyPair, context: AkeContext): AkeStep {
  const { senderTag: peerTag, encryptedGx, hashedGx } = message
  const commit = { encryptedGx: encryptedGx.slice(), hashedGx: hashedGx.slice() }
  const send = encodeDhKey({ senderTag: context.account.instanceTag, receiverTag: peerTag, gy: own.publicKey })
  return { kind: 'moved', state: { kind: 'awaiting-reveal-signature', own, commit, peerTag }, send }
}

function onDhKey(state: AuthState, message: DhKeyMessage, context: AkeContext): AkeStep {
  switch (state.kind) {
    case 'none':
    case 'awaiting-reveal-signature':
      return unexpected
    case 'awaiting-signature': {
      const again = message.senderTag === state.peerTag && equalBytes(message.gy, state.gy)
      return again ? { kind: 'moved', state, send: state.revealSignature } : unexpected
    }
    case 'awaiting-dh-key': {
      if (!isGroupElement(message.gy)) return { kind: 'ignored', reason: 'bad group element' }
      const { gy, senderTag: peerTag } = message
      const { own, revealedKey } = state
      const secrets = deriveAkeSecrets(own, gy)
      const signed = sealSignature(secrets.reveal, { own: own.publicKey, their: gy }, context)
      const tags = { senderTag: context.account.instanceTag, receiverTag: peerTag }
      const send = encodeRevealSignature({ ...tags, revealedKey, ...signed })
      const next = { kind: 'awaiting-signature', own, gy, secrets, revealSignature: send, peerTag } as const
      return { kind: 'moved', state: next, send }
    }
    default:
      return assertNever(state)
  }
}

function onRevealSignature(state: AuthState, message: RevealSignatureMessage, context: AkeContext): AkeStep {
  if (state.kind !== 'awaiting-reveal-signature' || message.senderTag !== state.peerTag) return unexpected
  const { own, commit, peerTag } = state
  const gxMpi = aesCounter(message.revealedKey, 0n, commit.encryptedGx)
  if (!equalBytes(hash('sha256', gxMpi), commit.hashedGx)) return { kind: 'ignored', reason: 'bad commitment' }
  const reader = new ByteReader(gxMpi)
  const gx = readMpi(reader, dhBytes)
  if (gx === undefined || reader.remaining > 0 || !isGroupElement(gx)) {
    return { kind: 'ignored', reason: 'bad group element' }
  }
  const secrets = deriveAkeSecrets(own, gx)
  const opened = openSignature(secrets.reveal, message, { own: own.publicKey, their: gx })
  const verdict = judge(opened, context)
  if (verdict.kind !== 'good') return verdict
  const signed = sealSignature(secrets.signature, { own: own.publicKey, their: gx }, context)
  const send = encodeSignature({ senderTag: context.account.instanceTag, receiverTag: peerTag, ...signed })
  const { fingerprint, theirKeyId } = verdict
  const { sessionId } = secrets
  return {
    kind: 'agreed',
    agreement: { sessionId, fingerprint, peerTag, own, their: gx, theirKeyId, half: 'second' },
    send,
  }
}

function onSignature(state: AuthState, message: SignatureMessage, context: AkeContext): AkeStep {
  if (state.kind !== 'awaiting-signature' || message.senderTag !== state.peerTag) return unexpected
  const { own, gy, secrets, peerTag } = state
  const verdict = judge(openSignature(secrets.signature, message, { own: own.publicKey, their: gy }), context)
  if (verdict.kind !== 'good') return verdict
  const { fingerprint, theirKeyId } = verdict
  const { sessionId } = secrets
  return {
    kind: 'agreed',
    agreement: { sessionId, fingerprint, peerTag, own, their: gy, theirKeyId, half: 'first' },
  }
}

const unexpected: AkeStep = { kind: 'ignored', reason: 'unexpected in this state' }

interface PublicKeys {
  readonly own: Uint8Array
  readonly their: Uint8Array
}

interface Sealed {
  readonly encryptedSignature: Uint8Array
  readonly mac: Uint8Array
}

interface Opened {
  readonly publicKey: Uint8Array
  readonly keyId: number
}

/** X = PUBKEY ‖ INT key id ‖ SIG(M), encrypted, with its MAC. */
function sealSignature(keys: SignatureKeys, values: PublicKeys, { account, random }: AkeContext): Sealed {
  const identity = new ByteWriter(480).bytes(account.publicKey).uint32(ownKeyId)
  const message = hmac('sha256', keys.m1, mpi(values.own), mpi(values.their), identity.finish())
  const encryptedSignature = aesCounter(keys.c, 0n, identity.bytes(account.sign(message, random)).finish())
  return { encryptedSignature, mac: signatureMac(keys, encryptedSignature) }
}

/** Who signed, `undefined` unless MAC, layout and signature are right. The signer's own value comes first in M. */
function openSignature(keys: SignatureKeys, sealed: Sealed, values: PublicKeys): Opened | undefined {
  if (!equalBytes(signatureMac(keys, sealed.encryptedSignature), sealed.mac)) return undefined
  const x = aesCounter(keys.c, 0n, sealed.encryptedSignature)
  const reader = new ByteReader(x)
  const key = readDsaPublicKey(reader)
  const publicKey = x.slice(0, reader.offset)
  const keyId = reader.uint32()
  const identity = x.subarray(0, reader.offset)
  const signature = reader.bytes(signatureBytes)
  if (key === undefined || !keyId || signature === undefined || reader.remaining > 0) return undefined
  const message = hmac('sha256', keys.m1, mpi(values.their), mpi(values.own), identity)
  return verifyDsa(key, message, signature) ? { publicKey, keyId } : undefined
}

/** The first 20 bytes of HMAC-SHA-256 over the whole DATA, its length included. */
function signatureMac(keys: SignatureKeys, encryptedSignature: Uint8Array): Uint8Array {
  return hmac(
    'sha256',
    keys.m2,
    new ByteWriter(4).uint32(encryptedSignature.length).finish(),
    encryptedSignature,
  ).slice(0, 20)
}

type Verdict =
  | { readonly kind: 'good'; readonly fingerprint: OtrFingerprint; readonly theirKeyId: number }
  | Extract<AkeStep, { readonly kind: 'ignored' | 'refused' }>

function judge(opened: Opened | undefined, { account, pinned }: AkeContext): Verdict {
  if (opened === undefined) return { kind: 'ignored', reason: 'bad signature' }
  const fingerprint = fingerprintOf(opened.publicKey)
  if (equalBytes(fingerprint, account.fingerprint)) return { kind: 'ignored', reason: 'own key' }
  if (pinned !== undefined && !equalBytes(fingerprint, pinned)) return { kind: 'refused', fingerprint }
  return { kind: 'good', fingerprint, theirKeyId: opened.keyId }
}

/**
 * The post-quantum agreement on WireGuard's pre-shared key, run inside the secret channel: X25519 and ML-KEM-768
 * (FIPS 203), signed with the pinned Ed25519 identities (RFC 8032) over everything both ends have said and are bound
 * to. Our own protocol; docs/otr.md, "The inner agreement", gives the reasons. Lengths are exact, a wrong one refuses.
 */

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { type IdentityPublicKey, identityPublicKey, SecretKey } from '../api/keys.ts'
import type { KeyAgreement, KeyAgreementBinding, KeyAgreementRun, KeyAgreementStep } from '../api/roles.ts'
import { assertNever } from '../util/assert-never.ts'
import { ByteWriter } from '../util/byte-writer.ts'
import { compareBytes, concatBytes, equalBytes, fromHex, toUtf8, wipe } from '../util/bytes.ts'
import type { Random } from '../util/random.ts'

export interface PresharedKeyAgreementOptions {
  /** Ed25519 seed, 32 bytes. */
  readonly identitySeed: SecretKey
  /** The pinned identity: any other one is refused. */
  readonly peerIdentity: IdentityPublicKey
  readonly random: Random
  /** Whatever else both ends must agree on; the run is refused when they do not. */
  readonly context?: Uint8Array
}

/**
 * The initiator has the key after the response, the responder after the confirmation.
 *
 * Request, 1249 bytes, initiator to responder:
 *
 * | offset | size | field                         |
 * |      0 |    1 | type 1                        |
 * |      1 |   32 | initiator's identity          |
 * |     33 |   32 | ephemeral X25519 key          |
 * |     65 | 1184 | ML-KEM-768 encapsulation key  |
 *
 * Response, 1217 bytes, responder to initiator:
 *
 * | offset | size | field                         |
 * |      0 |    1 | type 2                        |
 * |      1 |   32 | responder's identity          |
 * |     33 |   32 | ephemeral X25519 key          |
 * |     65 | 1088 | ML-KEM-768 ciphertext         |
 * |   1153 |   64 | responder's signature         |
 *
 * Confirmation, 65 bytes, initiator to responder:
 *
 * | offset | size | field                         |
 * |      0 |    1 | type 3                        |
 * |      1 |   64 | initiator's signature         |
 */
const types = { request: 1, response: 2, confirmation: 3 } as const
const lengths = { request: 1249, response: 1217, confirmation: 65 } as const
const layout = { identity: 1, ephemeral: 33, kem: 65, responseSignature: 1153, confirmationSignature: 1 } as const

const labels = {
  response: toUtf8('punchguard/psk/v1 response'),
  confirmation: toUtf8('punchguard/psk/v1 confirmation'),
  key: toUtf8('punchguard/psk/v1'),
} as const

export class PresharedKeyAgreement implements KeyAgreement {
  readonly #options: PresharedKeyAgreementOptions

  /** @throws RangeError when the seed is not 32 bytes long */
  constructor(options: PresharedKeyAgreementOptions) {
    if (options.identitySeed.reveal().length !== 32) throw new RangeError('An identity seed has 32 bytes')
    this.#options = options
  }

  begin(binding: KeyAgreementBinding): KeyAgreementRun {
    const parties = new Parties(this.#options, binding)
    return binding.initiator
      ? new InitiatorRun(parties, this.#options.random)
      : new ResponderRun(parties, this.#options.random)
  }
}

/** The public half of an identity seed of 32 bytes. */
export function identityPublicKeyOf(seed: SecretKey): IdentityPublicKey {
  const key = identityPublicKey(rawPublicKey(createPublicKey(privateKeyOf('ed25519', seed.reveal()))))
  if (key === undefined) throw new Error('An Ed25519 key has 32 bytes')
  return key
}

/** Who agrees with whom, and what the signatures cover besides the messages. */
class Parties {
  readonly ownIdentity: IdentityPublicKey
  readonly #identityKey: KeyObject
  readonly #peerIdentity: IdentityPublicKey
  readonly #peerKey: KeyObject
  readonly #bound: Uint8Array

  constructor(options: PresharedKeyAgreementOptions, binding: KeyAgreementBinding) {
    this.ownIdentity = identityPublicKeyOf(options.identitySeed)
    this.#identityKey = privateKeyOf('ed25519', options.identitySeed.reveal())
    this.#peerIdentity = options.peerIdentity
    this.#peerKey = publicKeyOf('ed25519', options.peerIdentity)
    const fingerprints = [binding.ownFingerprint, binding.peerFingerprint].sort(compareBytes)
    const parts = [binding.sessionId, ...fingerprints, options.context ?? new Uint8Array()]
    const writer = new ByteWriter()
    for (const part of parts) writer.uint32(part.length).bytes(part)
    this.#bound = writer.finish()
  }

  isPeer(identity: Uint8Array): boolean {
    return equalBytes(identity, this.#peerIdentity)
  }

  sign(label: Uint8Array, ...messages: readonly Uint8Array[]): Uint8Array {
    return new Uint8Array(sign(null, this.#signed(label, messages), this.#identityKey))
  }

  signedByPeer(signature: Uint8Array, label: Uint8Array, ...messages: readonly Uint8Array[]): boolean {
    return verify(null, this.#signed(label, messages), this.#peerKey, signature)
  }

  /** HKDF-SHA-512 over both secrets; the salt is the hash of all that was said and bound. Wipes the secrets. */
  derive(secrets: { readonly kem: Uint8Array; readonly x25519: Uint8Array }, ...messages: Uint8Array[]): SecretKey {
    const salt = createHash('sha512').update(this.#signed(labels.key, messages)).digest()
    const secret = concatBytes(secrets.kem, secrets.x25519)
    const key = new SecretKey(new Uint8Array(hkdfSync('sha512', secret, salt, labels.key, 32)))
    wipe(secret, secrets.kem, secrets.x25519)
    return key
  }

  /** The label, what the run is bound to, and the messages, whose lengths are fixed. */
  #signed(label: Uint8Array, messages: readonly Uint8Array[]): Uint8Array {
    return concatBytes(new ByteWriter(4).uint32(label.length).finish(), label, this.#bound, ...messages)
  }
}

interface Ephemeral {
  readonly privateKey: KeyObject
  readonly publicKey: Uint8Array
}

type InitiatorState =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'awaiting-response'
      readonly request: Uint8Array
      readonly ephemeral: Ephemeral
      readonly decapsulationKey: Uint8Array
    }
  | { readonly kind: 'over' }

class InitiatorRun implements KeyAgreementRun {
  readonly #parties: Parties
  readonly #random: Random
  #state: InitiatorState = { kind: 'ready' }

  constructor(parties: Parties, random: Random) {
    this.#parties = parties
    this.#random = random
  }

  start(): KeyAgreementStep {
    if (this.#state.kind !== 'ready') return {}
    const ephemeral = generateEphemeral(this.#random)
    const { publicKey, secretKey: decapsulationKey } = ml_kem768.keygen(this.#random.bytes(64))
    const request = concatBytes(Uint8Array.of(types.request), this.#parties.ownIdentity, ephemeral.publicKey, publicKey)
    this.#state = { kind: 'awaiting-response', request, ephemeral, decapsulationKey }
    return { send: request }
  }

  receive(message: Uint8Array): KeyAgreementStep {
    const state = this.#state
    switch (state.kind) {
      case 'ready':
      case 'over':
        return { refused: 'a message that was not expected' }
      case 'awaiting-response': {
        this.#state = { kind: 'over' }
        const step = this.#onResponse(state, message)
        wipe(state.decapsulationKey)
        return step
      }
      default:
        return assertNever(state)
    }
  }

  #onResponse(
    { request, ephemeral, decapsulationKey }: Extract<InitiatorState, { kind: 'awaiting-response' }>,
    response: Uint8Array,
  ): KeyAgreementStep {
    if (!isMessage(response, 'response')) return { refused: 'a malformed response' }
    if (!this.#parties.isPeer(response.subarray(layout.identity, layout.ephemeral))) return wrongIdentity
    const unsigned = response.subarray(0, layout.responseSignature)
    const signature = response.subarray(layout.responseSignature)
    if (!this.#parties.signedByPeer(signature, labels.response, request, unsigned)) return wrongSignature
    const x25519 = agree(ephemeral, response.subarray(layout.ephemeral, layout.kem))
    if (x25519 === undefined) return { refused: 'an unusable X25519 key' }
    const kem = ml_kem768.decapsulate(response.subarray(layout.kem, layout.responseSignature), decapsulationKey)
    const confirmation = this.#parties.sign(labels.confirmation, request, response)
    return {
      send: concatBytes(Uint8Array.of(types.confirmation), confirmation),
      presharedKey: this.#parties.derive({ kem, x25519 }, request, response),
    }
  }
}

type ResponderState =
  | { readonly kind: 'awaiting-request' }
  | {
      readonly kind: 'awaiting-confirmation'
      readonly request: Uint8Array
      readonly response: Uint8Array
      readonly presharedKey: SecretKey
    }
  | { readonly kind: 'over' }

class ResponderRun implements KeyAgreementRun {
  readonly #parties: Parties
  readonly #random: Random
  #state: ResponderState = { kind: 'awaiting-request' }

  constructor(parties: Parties, random: Random) {
    this.#parties = parties
    this.#random = random
  }

  start(): KeyAgreementStep {
    return {}
  }

  receive(message: Uint8Array): KeyAgreementStep {
    const state = this.#state
    this.#state = { kind: 'over' }
    switch (state.kind) {
      case 'awaiting-request':
        return this.#onRequest(message.slice())
      case 'awaiting-confirmation':
        return this.#onConfirmation(state, message)
      case 'over':
        return { refused: 'a message that was not expected' }
      default:
        return assertNever(state)
    }
  }

  #onRequest(request: Uint8Array): KeyAgreementStep {
    if (!isMessage(request, 'request')) return { refused: 'a malformed request' }
    if (!this.#parties.isPeer(request.subarray(layout.identity, layout.ephemeral))) return wrongIdentity
    const ephemeral = generateEphemeral(this.#random)
    const x25519 = agree(ephemeral, request.subarray(layout.ephemeral, layout.kem))
    if (x25519 === undefined) return { refused: 'an unusable X25519 key' }
    const kem = encapsulate(request.subarray(layout.kem), this.#random)
    if (kem === undefined) return { refused: 'an unusable ML-KEM key' }
    const unsigned = concatBytes(
      Uint8Array.of(types.response),
      this.#parties.ownIdentity,
      ephemeral.publicKey,
      kem.cipherText,
    )
    const response = concatBytes(unsigned, this.#parties.sign(labels.response, request, unsigned))
    const presharedKey = this.#parties.derive({ kem: kem.sharedSecret, x25519 }, request, response)
    this.#state = { kind: 'awaiting-confirmation', request, response, presharedKey }
    return { send: response }
  }

  #onConfirmation(
    { request, response, presharedKey }: Extract<ResponderState, { kind: 'awaiting-confirmation' }>,
    confirmation: Uint8Array,
  ): KeyAgreementStep {
    const signature = confirmation.subarray(layout.confirmationSignature)
    const good =
      isMessage(confirmation, 'confirmation') &&
      this.#parties.signedByPeer(signature, labels.confirmation, request, response)
    if (good) return { presharedKey }
    presharedKey.wipe()
    return isMessage(confirmation, 'confirmation') ? wrongSignature : { refused: 'a malformed confirmation' }
  }
}

const wrongIdentity: KeyAgreementStep = { refused: 'another identity than the pinned one' }
const wrongSignature: KeyAgreementStep = { refused: 'a signature that does not fit this conversation' }

function isMessage(message: Uint8Array, kind: keyof typeof types): boolean {
  return message.length === lengths[kind] && message[0] === types[kind]
}

function generateEphemeral(random: Random): Ephemeral {
  const seed = random.bytes(32)
  const privateKey = privateKeyOf('x25519', seed)
  wipe(seed)
  return { privateKey, publicKey: rawPublicKey(createPublicKey(privateKey)) }
}

/** The X25519 secret, `undefined` for a point of small order (RFC 7748 §6.1: the secret would be zero). */
function agree(own: Ephemeral, theirs: Uint8Array): Uint8Array | undefined {
  try {
    return new Uint8Array(diffieHellman({ privateKey: own.privateKey, publicKey: publicKeyOf('x25519', theirs) }))
  } catch {
    return undefined
  }
}

/** `undefined` when the encapsulation key fails the check of FIPS 203 §7.2. */
function encapsulate(
  key: Uint8Array,
  random: Random,
): { readonly cipherText: Uint8Array; readonly sharedSecret: Uint8Array } | undefined {
  try {
    return ml_kem768.encapsulate(key, random.bytes(32))
  } catch {
    return undefined
  }
}

/** RFC 8410: what precedes 32 raw bytes in PKCS#8 and in SubjectPublicKeyInfo; the last OID byte tells the curve. */
const oidBytes = { x25519: '6e', ed25519: '70' } as const

function privateKeyOf(curve: keyof typeof oidBytes, seed: Uint8Array): KeyObject {
  const der = concatBytes(prefix(`302e020100300506032b65${oidBytes[curve]}04220420`), seed)
  const key = createPrivateKey({ key: Buffer.from(der.buffer), format: 'der', type: 'pkcs8' })
  wipe(der)
  return key
}

function publicKeyOf(curve: keyof typeof oidBytes, bytes: Uint8Array): KeyObject {
  const der = concatBytes(prefix(`302a300506032b65${oidBytes[curve]}032100`), bytes)
  return createPublicKey({ key: Buffer.from(der.buffer), format: 'der', type: 'spki' })
}

function rawPublicKey(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: 'der', type: 'spki' }).subarray(-32))
}

function prefix(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array()
}

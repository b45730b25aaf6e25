/**
 * The handshake Noise_IKpsk2 as WireGuard uses it, whitepaper §5.4.2 to §5.4.5: four steps as plain functions. Each works
 * on a state of its own and gives `undefined` for a message that does not fit, so a rejected message changes nothing.
 * mac1, mac2 and cookies lie around these messages, in cookie.ts.
 */

import { SecretKey } from '../../api/keys.ts'
import { toUtf8, wipe } from '../../util/bytes.ts'
import { CONSTRUCTION, IDENTIFIER } from './constants.ts'
import { type DhKeyPair, dh, hash, importKeyPair, kdf, open, seal } from './crypto.ts'
import { encodeInitiation, encodeResponse, type Initiation, type Response } from './messages.ts'

/** What a handshake needs to know about the peer. */
export interface RemoteStatic {
  readonly publicKey: Uint8Array
  /** DH(our static, its static): the same in every handshake. */
  readonly staticStatic: SecretKey
  /** 32 zero bytes when there is none. */
  readonly presharedKey: SecretKey
}

/** The keys of one session, as seen from this side. */
export interface TransportKeys {
  readonly sendKey: SecretKey
  readonly receiveKey: SecretKey
}

/** What an initiator keeps until the response comes. */
export interface SentInitiation {
  readonly state: SymmetricState
  readonly ephemeral: DhKeyPair
}

export interface IdentifiedInitiation {
  readonly state: SymmetricState
  /** The initiator's static public key, not yet proven to be its own: the timestamp is. */
  readonly initiator: Uint8Array
}

export interface ConsumedInitiation {
  readonly state: SymmetricState
  readonly timestamp: Uint8Array
  readonly ephemeral: Uint8Array
  /** The initiator's index. */
  readonly sender: number
}

export interface OwnInput {
  /** Our index. */
  readonly sender: number
  /** 32 random bytes; wiped. */
  readonly ephemeralSecret: Uint8Array
}

const empty = new Uint8Array(0)
const initialChainingKey = hash(toUtf8(CONSTRUCTION))
const initialHash = hash(initialChainingKey, toUtf8(IDENTIFIER))

/** Chaining key and hash (Noise §5.2); the cipher key never outlives one operation here. */
class SymmetricState {
  #chainingKey: Uint8Array
  #hash: Uint8Array

  constructor(chainingKey: Uint8Array, hash: Uint8Array) {
    this.#chainingKey = chainingKey
    this.#hash = hash
  }

  static begin(responderPublicKey: Uint8Array): SymmetricState {
    return new SymmetricState(Uint8Array.from(initialChainingKey), hash(initialHash, responderPublicKey))
  }

  copy(): SymmetricState {
    return new SymmetricState(Uint8Array.from(this.#chainingKey), this.#hash)
  }

  mixHash(data: Uint8Array): void {
    this.#hash = hash(this.#hash, data)
  }

  mixKey(input: Uint8Array): void {
    const [chainingKey] = kdf(1, this.#chainingKey, input)
    this.#advance(chainingKey)
  }

  /** Mixes a secret in and seals under the key that comes out. */
  mixAndSeal(secret: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const [chainingKey, key] = kdf(2, this.#chainingKey, secret)
    this.#advance(chainingKey)
    const sealed = seal(key, plaintext, this.#hash)
    wipe(key)
    this.mixHash(sealed)
    return sealed
  }

  mixAndOpen(secret: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    const [chainingKey, key] = kdf(2, this.#chainingKey, secret)
    this.#advance(chainingKey)
    const plaintext = open(key, sealed, this.#hash)
    wipe(key)
    if (plaintext !== undefined) this.mixHash(sealed)
    return plaintext
  }

  /** The psk2 step, whitepaper §5.4.3: gives the key of the empty payload. */
  mixPresharedKey(presharedKey: SecretKey): Uint8Array {
    const [chainingKey, temporary, key] = kdf(3, this.#chainingKey, presharedKey.reveal())
    this.#advance(chainingKey)
    this.mixHash(temporary)
    return key
  }

  get hash(): Uint8Array {
    return this.#hash
  }

  /** §5.4.5: the keys from initiator to responder and back. */
  split(): readonly [SecretKey, SecretKey] {
    const [forth, back] = kdf(2, this.#chainingKey, empty)
    this.wipe()
    return [new SecretKey(forth), new SecretKey(back)]
  }

  wipe(): void {
    wipe(this.#chainingKey)
  }

  #advance(chainingKey: Uint8Array): void {
    wipe(this.#chainingKey)
    this.#chainingKey = chainingKey
  }
}

export type { SymmetricState }

/** §5.4.2. The peer's public key is a usable point: that was seen when `staticStatic` was made. */
export function createInitiation(
  local: DhKeyPair,
  remote: RemoteStatic,
  own: OwnInput & { readonly timestamp: Uint8Array },
): { readonly message: Uint8Array; readonly sent: SentInitiation } {
  const ephemeral = takeEphemeral(own.ephemeralSecret)
  const state = SymmetricState.begin(remote.publicKey)
  state.mixKey(ephemeral.publicKey)
  state.mixHash(ephemeral.publicKey)
  const ephemeralStatic = dh(ephemeral, remote.publicKey)
  if (ephemeralStatic === undefined) throw new Error('The peer has a public key of low order')
  const encryptedStatic = state.mixAndSeal(ephemeralStatic, local.publicKey)
  wipe(ephemeralStatic)
  const encryptedTimestamp = state.mixAndSeal(remote.staticStatic.reveal(), own.timestamp)
  const fields = { sender: own.sender, ephemeral: ephemeral.publicKey, encryptedStatic, encryptedTimestamp }
  return { message: encodeInitiation(fields), sent: { state, ephemeral } }
}

/** The first half of reading an initiation: who claims to have sent it. */
export function identifyInitiation(local: DhKeyPair, message: Initiation): IdentifiedInitiation | undefined {
  const state = SymmetricState.begin(local.publicKey)
  state.mixKey(message.ephemeral)
  state.mixHash(message.ephemeral)
  const ephemeralStatic = dh(local, message.ephemeral)
  if (ephemeralStatic === undefined) return undefined
  const initiator = state.mixAndOpen(ephemeralStatic, message.encryptedStatic)
  wipe(ephemeralStatic)
  return initiator === undefined ? undefined : { state, initiator }
}

/** The second half: proves that the initiator holds its static key. Whether the timestamp is new is the caller's check. */
export function consumeInitiation(
  identified: IdentifiedInitiation,
  remote: RemoteStatic,
  message: Initiation,
): ConsumedInitiation | undefined {
  const { state } = identified
  const timestamp = state.mixAndOpen(remote.staticStatic.reveal(), message.encryptedTimestamp)
  if (timestamp === undefined) return undefined
  return { state, timestamp, ephemeral: Uint8Array.from(message.ephemeral), sender: message.sender }
}

/** §5.4.3, and the session's keys of the responder. Uses the consumed initiation up. */
export function createResponse(
  remote: RemoteStatic,
  initiation: ConsumedInitiation,
  own: OwnInput,
): { readonly message: Uint8Array; readonly keys: TransportKeys } | undefined {
  const { state } = initiation
  const ephemeral = takeEphemeral(own.ephemeralSecret)
  state.mixKey(ephemeral.publicKey)
  state.mixHash(ephemeral.publicKey)
  for (const theirs of [initiation.ephemeral, remote.publicKey]) {
    const shared = dh(ephemeral, theirs)
    if (shared === undefined) return undefined
    state.mixKey(shared)
    wipe(shared)
  }
  const key = state.mixPresharedKey(remote.presharedKey)
  const encryptedNothing = seal(key, empty, state.hash)
  wipe(key)
  const receiver = initiation.sender
  const message = encodeResponse({ sender: own.sender, receiver, ephemeral: ephemeral.publicKey, encryptedNothing })
  const [receiveKey, sendKey] = state.split()
  return { message, keys: { sendKey, receiveKey } }
}

/** The session's keys of the initiator; `sent` stays as it was when the response does not fit. */
export function consumeResponse(
  local: DhKeyPair,
  remote: RemoteStatic,
  exchange: { readonly sent: SentInitiation; readonly message: Response },
): TransportKeys | undefined {
  const { sent, message } = exchange
  const state = sent.state.copy()
  state.mixKey(message.ephemeral)
  state.mixHash(message.ephemeral)
  for (const own of [sent.ephemeral, local]) {
    const shared = dh(own, message.ephemeral)
    if (shared === undefined) return undefined
    state.mixKey(shared)
    wipe(shared)
  }
  const key = state.mixPresharedKey(remote.presharedKey)
  const nothing = open(key, message.encryptedNothing, state.hash)
  wipe(key)
  if (nothing === undefined) {
    state.wipe()
    return undefined
  }
  const [sendKey, receiveKey] = state.split()
  return { sendKey, receiveKey }
}

function takeEphemeral(secret: Uint8Array): DhKeyPair {
  const ephemeral = importKeyPair(secret)
  wipe(secret)
  return ephemeral
}

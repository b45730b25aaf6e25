/**
 * The Diffie-Hellman keys of an encrypted conversation ("Key Management"): the two newest of ours and of theirs, the
 * session keys of their pairs, and the MAC keys to be revealed. A key is replaced once the other end has used it.
 */

import { wipe } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import { maximumOldMacKeys } from './constants.ts'
import { type DhKeyPair, generateDhKeyPair } from './dh.ts'
import { type DataKeys, deriveDataKeys } from './key-derivation.ts'

/** The keys between one key of ours and one of theirs. */
export interface KeyPairing {
  readonly ownKeyId: number
  readonly theirKeyId: number
  readonly keys: DataKeys
  /** Counter of the last message sent and of the last one received under these keys. */
  sent: bigint
  received: bigint
}

export class KeyRing {
  readonly #random: Random
  #ownKeyId = 2
  #ownPrevious: DhKeyPair
  #ownNewest: DhKeyPair
  #theirKeyId: number
  #theirPrevious: Uint8Array | undefined
  #theirNewest: Uint8Array
  #pairings: KeyPairing[] = []
  #oldMacKeys: Uint8Array[] = []

  /** `own` is the key of the AKE and gets id 1; `their` likewise has the id they named. */
  constructor(options: {
    readonly own: DhKeyPair
    readonly their: Uint8Array
    readonly theirKeyId: number
    readonly random: Random
  }) {
    this.#random = options.random
    this.#ownPrevious = options.own
    this.#ownNewest = generateDhKeyPair(options.random)
    this.#theirKeyId = options.theirKeyId
    this.#theirNewest = options.their
  }

  /** The public key that the next message announces. */
  get nextPublicKey(): Uint8Array {
    return this.#ownNewest.publicKey
  }

  get keyIds(): { readonly own: number; readonly their: number } {
    return { own: this.#ownKeyId, their: this.#theirKeyId }
  }

  /** The keys for the next message to them; its counter is `sent` + 1. */
  forSending(): KeyPairing {
    return this.#pairing(this.#ownKeyId - 1, this.#ownPrevious, { id: this.#theirKeyId, key: this.#theirNewest })
  }

  /** The keys of a message from them, `undefined` when one of the ids is not in use. */
  forReceiving(ids: { readonly recipientKeyId: number; readonly senderKeyId: number }): KeyPairing | undefined {
    const own = this.#own(ids.recipientKeyId)
    const key = this.#theirs(ids.senderKeyId)
    return own && key && this.#pairing(ids.recipientKeyId, own, { id: ids.senderKeyId, key })
  }

  /** Takes note of a verified message: its counter, and that they know our newest key or have a newer one. */
  accept(pairing: KeyPairing, message: { readonly counter: bigint; readonly nextDh: Uint8Array }): void {
    pairing.received = message.counter
    if (pairing.ownKeyId === this.#ownKeyId) this.#replaceOwn()
    if (pairing.theirKeyId === this.#theirKeyId) this.#replaceTheirs(message.nextDh)
  }

  /** The MAC keys nothing will be verified with any more, for the next message; they are handed out once. */
  takeOldMacKeys(): Uint8Array[] {
    const keys = this.#oldMacKeys
    this.#oldMacKeys = []
    return keys
  }

  wipe(): void {
    wipe(this.#ownPrevious.privateKey, this.#ownNewest.privateKey, ...this.#oldMacKeys)
    for (const pairing of this.#pairings) wipeKeys(pairing.keys)
    this.#pairings = []
  }

  #own(id: number): DhKeyPair | undefined {
    if (id === this.#ownKeyId) return this.#ownNewest
    return id === this.#ownKeyId - 1 ? this.#ownPrevious : undefined
  }

  #theirs(id: number): Uint8Array | undefined {
    if (id === this.#theirKeyId) return this.#theirNewest
    return id === this.#theirKeyId - 1 ? this.#theirPrevious : undefined
  }

  #pairing(ownKeyId: number, own: DhKeyPair, their: { readonly id: number; readonly key: Uint8Array }): KeyPairing {
    const known = this.#pairings.find((other) => other.ownKeyId === ownKeyId && other.theirKeyId === their.id)
    if (known !== undefined) return known
    const keys = deriveDataKeys(own, their.key)
    const pairing = { ownKeyId, theirKeyId: their.id, keys, sent: 0n, received: 0n }
    this.#pairings.push(pairing)
    return pairing
  }

  #replaceOwn(): void {
    this.#forget((pairing) => pairing.ownKeyId < this.#ownKeyId)
    wipe(this.#ownPrevious.privateKey)
    this.#ownPrevious = this.#ownNewest
    this.#ownNewest = generateDhKeyPair(this.#random)
    this.#ownKeyId += 1
  }

  #replaceTheirs(nextDh: Uint8Array): void {
    this.#forget((pairing) => pairing.theirKeyId < this.#theirKeyId)
    this.#theirPrevious = this.#theirNewest
    this.#theirNewest = nextDh
    this.#theirKeyId += 1
  }

  /**
   * "Revealing MAC keys": only a key that verified a message is worth revealing. When a peer never gives us a chance
   * to send, the oldest are let go.
   */
  #forget(isOld: (pairing: KeyPairing) => boolean): void {
    for (const { keys, received } of this.#pairings.filter(isOld)) {
      if (received > 0n) this.#oldMacKeys.push(keys.receivingMac.slice())
      wipeKeys(keys)
    }
    this.#pairings = this.#pairings.filter((pairing) => !isOld(pairing))
    this.#oldMacKeys = this.#oldMacKeys.slice(-maximumOldMacKeys)
  }
}

function wipeKeys(keys: DataKeys): void {
  wipe(keys.sendingAes, keys.sendingMac, keys.receivingAes, keys.receivingMac)
}

/**
 * What friends and strangers send each other through storing nodes (Tox specification, "Data to route"): sealed for the
 * onion data key and the long-term key of the receiver, opened with ours.
 */

import type { Random } from '../../../util/random.ts'
import { createKeyPair, type KeyPair, type LongTermPublicKey, nonceBytes, seal, sharedKey } from '../crypto.ts'
import {
  decodeDataOuterPlain,
  decodeDataResponse,
  encodeDataOuterPlain,
  encodeDataRequest,
} from '../packets/onion-data.ts'
import { PeerBox } from '../peer-box.ts'

export interface OpenedMail {
  readonly sender: LongTermPublicKey
  /** Begins with its id. */
  readonly plain: Uint8Array
}

export class OnionMail {
  /** Its public half goes to the nodes that store us; fresh in every run. */
  readonly dataKey: Uint8Array
  readonly #ownKey: LongTermPublicKey
  readonly #box: PeerBox
  readonly #dataBox: PeerBox
  readonly #random: Random

  constructor(options: {
    readonly keyPair: KeyPair<LongTermPublicKey>
    /** Boxes of the long-term key pair. */
    readonly box: PeerBox
    readonly random: Random
  }) {
    const { publicKey, secretKey } = createKeyPair(options.random)
    this.dataKey = publicKey
    this.#ownKey = options.keyPair.publicKey
    this.#box = options.box
    this.#dataBox = new PeerBox({ secretKey, unknownKeysPerSecond: 100, capacity: 16 })
    this.#random = options.random
  }

  /** The data request for a node that stores the receiver; `undefined` when a key is of low order. */
  seal(receiver: LongTermPublicKey, dataKey: Uint8Array, plain: Uint8Array): Uint8Array | undefined {
    const nonce = this.#random.bytes(nonceBytes)
    const inner = this.#box.seal(receiver, nonce, plain)
    const temporary = createKeyPair(this.#random)
    const outerKey = sharedKey(dataKey, temporary.secretKey)
    temporary.secretKey.wipe()
    if (inner === undefined || outerKey === undefined) return undefined
    const boxed = seal(outerKey, nonce, encodeDataOuterPlain({ sender: this.#ownKey, boxed: inner }))
    return encodeDataRequest({ destination: receiver, nonce, sender: temporary.publicKey, boxed })
  }

  /** Reads a data response. */
  open(bytes: Uint8Array, now: number): OpenedMail | 'malformed' | 'undecryptable' {
    const response = decodeDataResponse(bytes)
    if (response === undefined) return 'malformed'
    const outerPlain = this.#dataBox.open(response.sender, response, now)
    if (outerPlain === undefined) return 'undecryptable'
    const outer = decodeDataOuterPlain(outerPlain)
    if (outer === undefined) return 'malformed'
    const plain = this.#box.open(outer.sender, { nonce: response.nonce, boxed: outer.boxed }, now)
    return plain === undefined ? 'undecryptable' : { sender: outer.sender, plain }
  }
}

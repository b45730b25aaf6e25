/**
 * The keys of one session: seals with our base nonce, opens with the peer's. Tox protocol specification, "net_crypto",
 * crypto data packet. A packet tells the last 16 bits of its nonce only; the window around the saved nonce gives the
 * rest. The counter of our own packets only grows, far from the end of its 24 bytes: a nonce never repeats.
 */

import { wipe } from '../../../util/bytes.ts'
import { incrementNonce } from '../crypto.ts'
import { type CryptoData, decodeCryptoData, encodeCryptoData, nonceEnd } from './crypto-data.ts'
import { ReplayWindow } from './replay-window.ts'

/** From the specification: a third of 2^16; the saved nonce follows in steps of this. */
const step = 21_845

export interface OpenedPacket {
  readonly data: CryptoData
  /** How many packets its sender had sent before. */
  readonly counter: number
}

export class SessionCipher {
  readonly #key: Uint8Array
  readonly #ownBase: Uint8Array
  #sent = 0
  /** The peer's base nonce plus `#savedCounter`. */
  #savedNonce: Uint8Array
  #savedCounter = 0
  readonly #window = new ReplayWindow()

  constructor(options: {
    readonly key: Uint8Array
    readonly ownBaseNonce: Uint8Array
    readonly peerBaseNonce: Uint8Array
  }) {
    this.#key = options.key
    this.#ownBase = options.ownBaseNonce
    this.#savedNonce = options.peerBaseNonce
  }

  seal(data: CryptoData): Uint8Array {
    const nonce = incrementNonce(this.#ownBase, this.#sent)
    this.#sent += 1
    return encodeCryptoData(data, { key: this.#key, nonce })
  }

  /** Opens a packet seen for the first time; changes nothing. */
  open(bytes: Uint8Array): OpenedPacket | 'replayed' | 'empty' | undefined {
    const end = nonceEnd(bytes)
    if (end === undefined) return undefined
    const ahead = this.#ahead(end)
    const opened = decodeCryptoData(bytes, { key: this.#key, nonce: incrementNonce(this.#savedNonce, ahead) })
    if (opened === undefined) return undefined
    const counter = this.#savedCounter + ahead
    if (!this.#window.isNew(counter)) return 'replayed'
    return opened.kind === 'empty' ? 'empty' : { data: opened.data, counter }
  }

  /** Remembers an opened packet as seen; true when none sent later was seen before. */
  accept(packet: OpenedPacket): boolean {
    if (packet.counter - this.#savedCounter > 2 * step) {
      this.#savedNonce = incrementNonce(this.#savedNonce, step)
      this.#savedCounter += step
    }
    return this.#window.add(packet.counter)
  }

  wipe(): void {
    wipe(this.#key)
  }

  #ahead(end: number): number {
    const saved = ((this.#savedNonce[22] ?? 0) << 8) | (this.#savedNonce[23] ?? 0)
    return (end - saved) & 0xffff
  }
}

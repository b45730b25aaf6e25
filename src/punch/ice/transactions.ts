/**
 * The checks we sent and still take an answer for, by transaction id. Every send is a transaction of its own, so an
 * answer tells which send it answers: its round trip is exact, and a late one still counts.
 */

import { toHex } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import { transactionLifetime } from './constants.ts'

/** Bounds memory when many checks go unanswered: at our paces, more than a lifetime's worth. */
const maximumTransactions = 512

export class CheckTransactions<Check extends { readonly sentAt: number }> {
  readonly #random: Random
  readonly #checks: Map<string, Check> = new Map()

  constructor(random: Random) {
    this.#random = random
  }

  /** The 12 bytes of a new transaction id. Forgets what is too old to be answered. */
  open(check: Check): Uint8Array {
    for (const [id, older] of this.#checks) {
      if (check.sentAt - older.sentAt < transactionLifetime && this.#checks.size < maximumTransactions) break
      this.#checks.delete(id)
    }
    const transactionId = this.#random.bytes(12)
    this.#checks.set(toHex(transactionId), check)
    return transactionId
  }

  find(transactionId: Uint8Array): Check | undefined {
    return this.#checks.get(toHex(transactionId))
  }

  /** A check is answered once. */
  close(transactionId: Uint8Array): void {
    this.#checks.delete(toHex(transactionId))
  }

  clear(): void {
    this.#checks.clear()
  }
}

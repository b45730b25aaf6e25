/** Two OTR conversations with wires between them that a test can cut, and accounts with keys made in advance. */

import { SecretKey } from '../../api/keys.ts'
import { compareBytes, fromBase64 } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import { type OtrAccount, otrAccount } from './account.ts'
import { OtrConversation, type OtrEffect, type OtrEffects } from './conversation.ts'

/** Throw-away DSA-1024/160 keys, made once with OpenSSL: PKCS#8 DER. */
const keys = [
  [
    'MIIBTAIBADCCASwGByqGSM44BAEwggEfAoGBAOhDGmLk2VGIZCwaPBHg9HSWpsJ+Lqfr+s25goMSFs3VVjmUrtHu+MFfpafADSS3rbtbIG6N',
    'OT7o4G33hAssNfP2ndMnmd7rsdC4YsbZd6KbIdCQQ9X2sbkrsTReRXNe6PHrfpp3kWR/7UHbepa4Rqjr0w/5+ag2LiARZRPjkym9AhUA8laY',
    'LtDhloalen5Nz4ZUGdK8FbECgYEAuVId+qQhYC9H+inn/H+snnJQSZ4Ou08KWv6xz+IacxuAt4+9WQjJOH9mdOlblfMBlIJ751XfUBdpfQTR',
    'r4r2UNVCrO8WSTgDz7plRAAJIeDjN8tr3I49w8T1ORhxWTG+coB5xjPAzqaa1/uqYWYx+3yEuLbq1Igv8V+tWxDhMxQEFwIVAJp12lnLdV7l',
    'VgZQVXiffh8EEjrb',
  ],
  [
    'MIIBSgIBADCCASsGByqGSM44BAEwggEeAoGBAPJCnol/8hgSa6oVsdkZ1SlYv/pA8wljWXpsDKa5H2h3Zz9m0H4pIBCV9IzF28wLZZxolXS+',
    'pLPrLPhb16dx77pL+lZ7u7FWlctkONAvx0w/YpUtbwydEEEOlJHZtEXlQtJHQphxjMbUarGRBLDINO+e29k40cluFsjAuGxhOeaHAhUAuWG2',
    'l+87L7sAvvS3w5MZLGWTr30CgYBy2dDPVT6BGrxtcsVMuPRu8lK75zXVXJIt6NvDt1kllbYtJ9y7Hi7J7+Rdz81u/P9MK78FZW3gOyATuzU7',
    'dmlkM3oORv+PmNl7c31SYc/0K842ThmtkvDpMnRqVbOcF9QCsmgsxnzgUVmftXLslqyANfk5jAJJdsgZarI1vh2WiQQWAhQV0SFLooeiwchM',
    '/xHgWhE5H1v+7Q==',
  ],
  [
    'MIIBTAIBADCCASwGByqGSM44BAEwggEfAoGBANMGbB7MulgG41kIxyZoKsoYy7uaXNf/uSNCt2fb3+UCUVXWZWyM9YqwlWWcqAY8sRpY1Tzv',
    'aVVS9BwVAd4y4B8xbROMmGe8k+lUg1vmh3/2aixrr1QE57pSknz/X7avjbT5QORb2syy4eiMmywowO5E4pLdMIT5PBCnp3WNas4NAhUAojnA',
    'SamV8WnhUAGttMZBndkTpzUCgYEAwy6ZBz/fY8EfuyU6IAmdaV/+oCEXlih4UfHENiXff/pocmH8BSyiKmx9gAb6KGM5BGwBxWajxkkWjKry',
    'wdEHNT9yqxkCLuIic/xfebOZpKP52Ci09VOEcSoT1oT0l+z4DYjVjr9OILRq96TiRnqZiJ35KdsTiwh+Sd3Yd7kgpJIEFwIVAJcqw+h/X3Ex',
    'AsvbxIs1gV68QK+8',
  ],
].map((lines) => lines.join(''))

/** A repeatable source (xorshift). */
export class TestRandom implements Random {
  #word: number

  constructor(seed: number) {
    this.#word = (seed * 0x9e37_79b1) >>> 0 || 1
  }

  uint32(): number {
    this.#word ^= this.#word << 13
    this.#word ^= this.#word >>> 17
    this.#word ^= this.#word << 5
    this.#word >>>= 0
    return this.#word
  }

  /** Uniform enough over 0..limit-1. */
  below(limit: number): number {
    return this.uint32() % limit
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.uint32() >>> 24)
  }
}

export function storedKey(index: number): SecretKey {
  return new SecretKey(fromBase64(keys[index] ?? '') ?? new Uint8Array())
}

const accounts = keys
  .map((_, index) => otrAccount({ privateKey: storedKey(index), instanceTag: 0x1000 + index }))
  .sort((one, other) => compareBytes(one.fingerprint, other.fingerprint))

function accountAt(index: number): OtrAccount {
  const account = accounts[index]
  if (account === undefined) throw new Error('There are three keys')
  return account
}

/** The lowest fingerprint is Alice's, so that she leads; the highest is nobody's friend's. */
export const alice: OtrAccount = accountAt(0)
export const bob: OtrAccount = accountAt(1)
export const stranger: OtrAccount = accountAt(2)

export type EndName = 'alice' | 'bob'

export class End {
  readonly conversation: OtrConversation
  /** Texts on their way to the other end. */
  readonly sent: string[] = []
  /** What happened besides sending. */
  readonly events: Exclude<OtrEffect, { readonly kind: 'send' }>[] = []

  constructor(conversation: OtrConversation) {
    this.conversation = conversation
  }

  apply(effects: OtrEffects | undefined): void {
    for (const effect of effects ?? []) {
      if (effect.kind === 'send') this.sent.push(...effect.texts)
      else this.events.push(effect)
    }
  }

  get kinds(): string[] {
    return this.events.map((event) => event.kind)
  }

  get messages(): string[] {
    return this.events.flatMap((event) => (event.kind === 'message' ? [event.text] : []))
  }

  get secure(): boolean {
    return this.conversation.state.kind === 'encrypted'
  }

  get dropped(): Readonly<Record<string, number>> {
    return this.conversation.stats().dropped
  }
}

export interface TwoEndsOptions {
  readonly seed?: number
  readonly maximumTextBytes?: number
  /** Both ends pin each other unless told otherwise. */
  readonly pin?: boolean
}

export class TwoEnds {
  readonly #options: TwoEndsOptions
  readonly #random: TestRandom
  alice: End
  bob: End
  now = 0

  constructor(options: TwoEndsOptions = {}) {
    this.#options = options
    this.#random = new TestRandom(options.seed ?? 1)
    this.alice = this.fresh('alice')
    this.bob = this.fresh('bob')
  }

  /** An end that knows nothing of the past. */
  fresh(name: EndName, account: OtrAccount = name === 'alice' ? alice : bob): End {
    const { maximumTextBytes = 1372, pin = true } = this.#options
    const pinned = pin ? (name === 'alice' ? bob : alice).fingerprint : undefined
    return new End(new OtrConversation({ account, pinned, random: this.#random, maximumTextBytes }))
  }

  start(): this {
    this.alice.apply(this.alice.conversation.start(this.now))
    this.bob.apply(this.bob.conversation.start(this.now))
    return this
  }

  /** Carries one round of texts each way, all sent before anything is answered; true when there were any. */
  exchange(pass: (text: string, to: EndName) => boolean = () => true): boolean {
    const toBob = this.alice.sent.splice(0)
    const toAlice = this.bob.sent.splice(0)
    for (const text of toBob) {
      if (pass(text, 'bob')) this.bob.apply(this.bob.conversation.receive(text, this.now))
    }
    for (const text of toAlice) {
      if (pass(text, 'alice')) this.alice.apply(this.alice.conversation.receive(text, this.now))
    }
    return toBob.length + toAlice.length > 0
  }

  /** Carries texts until there are none. */
  settle(pass?: (text: string, to: EndName) => boolean): this {
    for (let rounds = 0; this.exchange(pass); rounds++) {
      if (rounds > 100) throw new Error('The two ends never come to rest')
    }
    return this
  }

  /** Lets timers run until both are secure or `limit` ms have passed; texts need no time. */
  untilSecure(limit: number): boolean {
    return this.#run(limit, () => this.alice.secure && this.bob.secure)
  }

  /** Lets so many ms pass, with everything that falls due in them. */
  pass(milliseconds: number): void {
    this.#run(milliseconds, () => false)
  }

  #run(limit: number, done: () => boolean): boolean {
    const end = this.now + limit
    for (;;) {
      this.settle()
      if (done()) return true
      const due = [this.alice.conversation.deadline, this.bob.conversation.deadline].filter((at) => at !== undefined)
      const next = Math.min(...due)
      this.now = Math.max(this.now, Math.min(next, end))
      if (next > end) return false
      for (const side of [this.alice, this.bob]) side.apply(side.conversation.tick(this.now))
    }
  }

  say(from: EndName, text: string): void {
    const side = this[from]
    const effects = side.conversation.send(text, this.now)
    if (effects === undefined) throw new Error(`${from} is not secure`)
    side.apply(effects)
  }
}

/** Two ends that have just agreed, with no traffic on the wires and no events noted. */
export function securedEnds(options: TwoEndsOptions = {}): TwoEnds {
  const ends = new TwoEnds(options).start().settle()
  if (!ends.alice.secure || !ends.bob.secure) throw new Error('The two ends did not agree')
  ends.alice.events.length = 0
  ends.bob.events.length = 0
  return ends
}

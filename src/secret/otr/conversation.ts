/**
 * One OTR v3 conversation, pure: texts and the time in, effects out ("The protocol state machine"). Message state, auth
 * state and the run of the SMP live here; agreeing, encrypting and proving are in ake.ts, data-message.ts and
 * smp-machine.ts.
 *
 * Left out: versions 1 and 2, plaintext in either direction, the extra symmetric key. docs/otr.md says why.
 */

import type { OtrFingerprint } from '../../api/keys.ts'
import { assertNever } from '../../util/assert-never.ts'
import { compareBytes } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import type { OtrAccount } from './account.ts'
import { type Agreement, type AuthState, beginAke, stepAke } from './ake.ts'
import {
  errorReplyInterval,
  heartbeatAfter,
  hintInterval,
  ignoreUnreadable,
  maximumOldMacKeys,
  minimumInstanceTag,
  tlvTypes,
} from './constants.ts'
import { openData, sealData } from './data-message.ts'
import { fragmentText, longestText, Reassembly } from './fragment.ts'
import { KeyRing } from './key-ring.ts'
import { type AkeMessage, type DataMessage, decodeMessage, type InstanceTags } from './messages.ts'
import { abortSmp, answerSmp, isSmp, noSmp, receiveSmp, type SmpState, type SmpStep, startSmp } from './smp-machine.ts'
import { smpSecret } from './smp-values.ts'
import { formatEncoded, formatError, parseText, queryText } from './text.ts'
import type { Payload, Tlv } from './tlv.ts'
import { Watchdog } from './watchdog.ts'

export type OtrEffect =
  /** One message, in the pieces it must be sent in. */
  | { readonly kind: 'send'; readonly texts: readonly string[] }
  /** An exchange has completed, perhaps in place of an earlier one. */
  | {
      readonly kind: 'secure'
      readonly fingerprint: OtrFingerprint
      readonly sessionId: Uint8Array
      /** Which half of the session id is ours to emphasise. */
      readonly half: 'first' | 'second'
    }
  | { readonly kind: 'message'; readonly text: string }
  /** The other end has ended the conversation. */
  | { readonly kind: 'finished' }
  /** The other end holds another key than the pinned one. */
  | { readonly kind: 'refused'; readonly fingerprint: OtrFingerprint }
  /** The other end asks for the secret: `answerSmp` or `abortSmp` is to follow. */
  | { readonly kind: 'smp-asked'; readonly question: string | undefined }
  /** A run of the SMP has ended. */
  | { readonly kind: 'smp-result'; readonly equal: boolean }

export type OtrEffects = readonly OtrEffect[]

export type MessageState =
  /** `open`: an agreement is wanted, because the other end is online. */
  | { readonly kind: 'plaintext'; readonly open: boolean }
  | {
      readonly kind: 'encrypted'
      readonly ring: KeyRing
      readonly agreement: Agreement
      readonly smp: SmpState
      readonly lastSentAt: number
    }
  | { readonly kind: 'finished' }
  | { readonly kind: 'refused'; readonly fingerprint: OtrFingerprint }

export interface OtrConversationOptions {
  readonly account: OtrAccount
  /** The only key we agree with; without one, any. */
  readonly pinned?: OtrFingerprint | undefined
  readonly random: Random
  /** Longest text the transport takes, in bytes. */
  readonly maximumTextBytes: number
}

export interface OtrStats {
  /** Exchanges begun by a D-H Commit or a query of ours, and exchanges completed. */
  readonly attempts: number
  readonly agreements: number
  readonly errorReplies: number
  readonly messagesSent: number
  readonly messagesReceived: number
  /** What was not acted on, by reason. */
  readonly dropped: Readonly<Record<string, number>>
}

export class OtrConversation {
  readonly #account: OtrAccount
  readonly #pinned: OtrFingerprint | undefined
  readonly #random: Random
  readonly #maximumTextBytes: number
  readonly #reassembly: Reassembly = new Reassembly()
  readonly #watchdog: Watchdog
  #state: MessageState = { kind: 'plaintext', open: false }
  #auth: AuthState = { kind: 'none' }
  #lastAttemptAt = Number.NEGATIVE_INFINITY
  #lastErrorAt = Number.NEGATIVE_INFINITY
  #counts = { attempts: 0, agreements: 0, errorReplies: 0, messagesSent: 0, messagesReceived: 0 }
  #dropped: Record<string, number> = {}

  constructor(options: OtrConversationOptions) {
    this.#account = options.account
    this.#pinned = options.pinned
    this.#random = options.random
    this.#maximumTextBytes = options.maximumTextBytes
    this.#watchdog = new Watchdog(options.random)
  }

  get state(): MessageState {
    return this.#state
  }

  get authState(): AuthState['kind'] {
    return this.#auth.kind
  }

  /** When `tick` is due, monotonic ms. */
  get deadline(): number | undefined {
    return this.#watchdog.deadline
  }

  /** Longest text that `send` takes, in bytes of UTF-8. */
  get maximumMessageBytes(): number {
    // The fields around the ciphertext: 252 bytes and what the MAC keys to be revealed may take.
    const binary = Math.floor((longestText(this.#maximumTextBytes) - 6) / 4) * 3
    return binary - 256 - 20 * maximumOldMacKeys
  }

  stats(): OtrStats {
    return { ...this.#counts, dropped: { ...this.#dropped } }
  }

  /**
   * The other end came online: agree. The end with the lower fingerprint sends a D-H Commit at once, which needs no
   * query; the other one sends a query, so that the first one starts even if it had not noticed.
   */
  start(now: number): OtrEffects {
    if (this.#state.kind === 'refused') return []
    if (this.#state.kind !== 'encrypted') this.#state = { kind: 'plaintext', open: true }
    if (this.#auth.kind !== 'none') return []
    this.#watchdog.stop()
    return this.#attempt(now, this.#leads() ? 'commit' : 'query')
  }

  /** The other end went offline: all keys are forgotten, `start` begins anew. */
  stop(): OtrEffects {
    const effects = this.#leave()
    if (this.#state.kind !== 'refused') this.#state = { kind: 'plaintext', open: false }
    return effects
  }

  /** Tells the other end that the conversation is over, and forgets the keys. */
  end(now: number): OtrEffects {
    const goodbye =
      this.#state.kind === 'encrypted'
        ? this.#seal({ text: '', tlvs: [{ type: tlvTypes.disconnected, value: new Uint8Array() }] }, now)
        : []
    return [...goodbye, ...this.stop()]
  }

  /**
   * Encrypts one text without a NUL; `undefined` when the conversation is not encrypted.
   * @throws RangeError when it is longer than `maximumMessageBytes`
   */
  send(text: string, now: number): OtrEffects | undefined {
    if (Buffer.byteLength(text) > this.maximumMessageBytes) throw new RangeError('The message is too long')
    if (text.includes('\0')) throw new RangeError('The message contains a NUL')
    if (this.#state.kind !== 'encrypted') return undefined
    this.#counts.messagesSent += 1
    return this.#seal({ text, tlvs: [] }, now)
  }

  /** Starts the SMP; when the conversation is not encrypted the run has failed before it began. */
  startSmp(options: { readonly secret: Uint8Array; readonly question?: string | undefined }, now: number): OtrEffects {
    const x = this.#smpSecret(options.secret, 'initiator')
    if (this.#state.kind !== 'encrypted' || x === undefined) return [{ kind: 'smp-result', equal: false }]
    return this.#applySmp(startSmp(this.#state.smp, { x, question: options.question, random: this.#random }), now)
  }

  answerSmp(secret: Uint8Array, now: number): OtrEffects {
    const y = this.#smpSecret(secret, 'responder')
    if (this.#state.kind !== 'encrypted' || y === undefined) return []
    return this.#applySmp(answerSmp(this.#state.smp, y, this.#random), now)
  }

  abortSmp(now: number): OtrEffects {
    return this.#state.kind === 'encrypted' ? this.#applySmp(abortSmp(this.#state.smp), now) : []
  }

  tick(now: number): OtrEffects {
    const due = this.#watchdog.deadline
    if (due === undefined || now < due) return []
    if (this.#state.kind === 'plaintext') return this.#attempt(now, this.#leads() ? 'commit' : 'query')
    // Encrypted or finished: an exchange that the other end began is the other end's to try again.
    if (this.#auth.kind !== 'awaiting-reveal-signature') return this.#attempt(now, 'commit')
    this.#auth = { kind: 'none' }
    this.#watchdog.stop()
    return []
  }

  receive(text: string, now: number): OtrEffects {
    if (this.#state.kind === 'refused') return this.#drop('refused')
    if (this.#state.kind === 'plaintext' && !this.#state.open) return this.#drop('closed')
    const parsed = parseText(text)
    if (parsed.kind !== 'fragment') {
      this.#reassembly.forget()
      return parsed.kind === 'encoded' ? this.#onEncoded(parsed.bytes, now) : this.#onMarker(parsed, now)
    }
    const { fragment } = parsed
    const reason = this.#wrongTags(fragment, true)
    if (reason !== undefined) return this.#drop(reason)
    const added = this.#reassembly.add(fragment)
    if (added.kind === 'pending') return []
    if (added.kind === 'dropped') return this.#drop('fragment out of order')
    const whole = parseText(added.text)
    return whole.kind === 'encoded' ? this.#onEncoded(whole.bytes, now) : this.#drop('malformed')
  }

  #onMarker(parsed: Exclude<ReturnType<typeof parseText>, { kind: 'fragment' | 'encoded' }>, now: number): OtrEffects {
    switch (parsed.kind) {
      case 'offer':
        return parsed.offersVersion3 ? this.#attempt(now, 'commit') : this.#drop('other version')
      case 'error':
        this.#drop('error message')
        return this.#onHint(now)
      case 'plaintext':
      case 'malformed':
        return this.#drop(parsed.kind)
      default:
        return assertNever(parsed)
    }
  }

  #onEncoded(bytes: Uint8Array, now: number): OtrEffects {
    const message = decodeMessage(bytes)
    if (message === undefined) return this.#drop('malformed')
    const reason = this.#wrongTags(message, message.kind === 'dh-commit')
    if (reason !== undefined) return this.#drop(reason)
    return message.kind === 'data' ? this.#onData(message, now) : this.#onAke(message, now)
  }

  /** "Instance Tags": who may have sent this, and to whom. 0 is allowed where the receiver may not be known yet. */
  #wrongTags({ senderTag, receiverTag }: InstanceTags, zeroAllowed: boolean): string | undefined {
    if (senderTag < minimumInstanceTag) return 'bad instance tag'
    if (senderTag === this.#account.instanceTag) return 'own instance tag'
    if (receiverTag === this.#account.instanceTag || (receiverTag === 0 && zeroAllowed)) return undefined
    return receiverTag < minimumInstanceTag ? 'bad instance tag' : 'other instance'
  }

  // ------------------------------------------------------------------------------------------ agreeing

  #leads(): boolean {
    return this.#pinned === undefined || compareBytes(this.#account.fingerprint, this.#pinned) < 0
  }

  #attempt(now: number, by: 'commit' | 'query'): OtrEffects {
    this.#counts.attempts += 1
    this.#lastAttemptAt = now
    this.#watchdog.attempted(now)
    if (by === 'query') {
      this.#auth = { kind: 'none' }
      return [{ kind: 'send', texts: [queryText] }]
    }
    const { state, send } = beginAke(this.#context())
    this.#auth = state
    return [this.#encoded(send, 0)]
  }

  /**
   * Something unauthenticated says that the other end lacks our keys. An exchange that is under way decides: on a slow
   * transport what was sent before it keeps coming in for a while, and must not make us begin again and again.
   */
  #onHint(now: number): OtrEffects {
    if (this.#state.kind === 'finished' || this.#auth.kind !== 'none') return []
    const allowedAt = this.#lastAttemptAt + hintInterval
    if (now >= allowedAt) return this.#attempt(now, 'commit')
    this.#watchdog.noLaterThan(allowedAt)
    return []
  }

  #onAke(message: AkeMessage, now: number): OtrEffects {
    const step = stepAke(this.#auth, message, this.#context())
    switch (step.kind) {
      case 'ignored':
        return this.#drop(step.reason)
      case 'moved':
        this.#auth = step.state
        this.#watchdog.progressed(now)
        return [this.#encoded(step.send, message.senderTag)]
      case 'agreed':
        return this.#agreed(step.agreement, { now, send: step.send })
      case 'refused':
        // A running conversation with the pinned key is worth more than what a stranger says.
        if (this.#state.kind === 'encrypted') return this.#drop('wrong key')
        this.#leave()
        this.#state = { kind: 'refused', fingerprint: step.fingerprint }
        return [{ kind: 'refused', fingerprint: step.fingerprint }]
      default:
        return assertNever(step)
    }
  }

  #agreed(agreement: Agreement, options: { readonly now: number; readonly send: Uint8Array | undefined }): OtrEffects {
    const { own, their, theirKeyId, fingerprint, sessionId, half } = agreement
    const ring = new KeyRing({ own, their, theirKeyId, random: this.#random })
    const cut = this.#leave()
    this.#lastAttemptAt = options.now
    this.#state = { kind: 'encrypted', ring, agreement, smp: noSmp, lastSentAt: options.now }
    this.#counts.agreements += 1
    const reply = options.send === undefined ? [] : [this.#encoded(options.send, agreement.peerTag)]
    return [...reply, ...cut, { kind: 'secure', fingerprint, sessionId, half }]
  }

  /** Forgets the keys and whatever was under way. */
  #leave(): OtrEffect[] {
    this.#auth = { kind: 'none' }
    this.#watchdog.stop()
    this.#reassembly.forget()
    if (this.#state.kind !== 'encrypted') return []
    this.#state.ring.wipe()
    return this.#state.smp.kind === 'expect-1' ? [] : [{ kind: 'smp-result', equal: false }]
  }

  #context(): Parameters<typeof beginAke>[0] {
    return { account: this.#account, pinned: this.#pinned, random: this.#random }
  }

  // ------------------------------------------------------------------------------------------ data messages

  #onData(message: DataMessage, now: number): OtrEffects {
    const state = this.#state
    if (state.kind !== 'encrypted') return this.#onUnreadable(message, { reason: 'not encrypted', now })
    if (message.senderTag !== state.agreement.peerTag) return this.#drop('other instance')
    const opened = openData(state.ring, message)
    if (opened.kind === 'unreadable') return this.#onUnreadable(message, { reason: opened.reason, now })
    return this.#onPayload(opened.payload, now)
  }

  /** The other end and we do not have the same keys, or somebody is playing with the channel. */
  #onUnreadable(message: DataMessage, { reason, now }: { readonly reason: string; readonly now: number }): OtrEffects {
    this.#drop(reason)
    if ((message.flags & ignoreUnreadable) !== 0) return []
    if (this.#state.kind === 'plaintext') return this.#onHint(now)
    if (now - this.#lastErrorAt < errorReplyInterval) return []
    this.#lastErrorAt = now
    this.#counts.errorReplies += 1
    return [{ kind: 'send', texts: [formatError('This message could not be read.')] }]
  }

  #onPayload(payload: Payload, now: number): OtrEffects {
    const effects: OtrEffect[] = []
    if (payload.text !== '') {
      this.#counts.messagesReceived += 1
      effects.push({ kind: 'message', text: payload.text })
    }
    for (const tlv of payload.tlvs) {
      if (this.#state.kind !== 'encrypted') break
      if (tlv.type === tlvTypes.disconnected) {
        effects.push(...this.#leave(), { kind: 'finished' })
        this.#state = { kind: 'finished' }
      } else if (isSmp(tlv.type)) {
        effects.push(...this.#applySmp(receiveSmp(this.#state.smp, tlv, this.#random), now))
      }
    }
    if (this.#state.kind === 'encrypted' && now - this.#state.lastSentAt >= heartbeatAfter) {
      effects.push(...this.#seal({ text: '', tlvs: [] }, now))
    }
    return effects
  }

  #applySmp(step: SmpStep, now: number): OtrEffects {
    if (this.#state.kind !== 'encrypted') return []
    this.#state = { ...this.#state, smp: step.state }
    const effects: OtrEffect[] = step.send.flatMap((tlv: Tlv) => this.#seal({ text: '', tlvs: [tlv] }, now))
    if (step.result !== undefined) effects.push({ kind: 'smp-result', equal: step.result })
    if (step.asked !== undefined) effects.push({ kind: 'smp-asked', question: step.asked.question })
    return effects
  }

  #smpSecret(secret: Uint8Array, role: 'initiator' | 'responder'): bigint | undefined {
    if (this.#state.kind !== 'encrypted') return undefined
    const { fingerprint: their, sessionId } = this.#state.agreement
    const own = this.#account.fingerprint
    const [initiator, responder] = role === 'initiator' ? [own, their] : [their, own]
    return smpSecret({ initiator, responder, sessionId, secret })
  }

  #seal(payload: Payload, now: number): OtrEffect[] {
    if (this.#state.kind !== 'encrypted') return []
    const { ring, agreement } = this.#state
    this.#state = { ...this.#state, lastSentAt: now }
    const tags = { senderTag: this.#account.instanceTag, receiverTag: agreement.peerTag }
    const flags = payload.text === '' ? ignoreUnreadable : 0
    return [this.#encoded(sealData(ring, payload, { tags, flags }), agreement.peerTag)]
  }

  #encoded(bytes: Uint8Array, receiverTag: number): OtrEffect {
    const tags = { senderTag: this.#account.instanceTag, receiverTag }
    const options = { ...tags, maximumBytes: this.#maximumTextBytes }
    return { kind: 'send', texts: fragmentText(formatEncoded(bytes), options) }
  }

  #drop(reason: string): [] {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1
    return []
  }
}

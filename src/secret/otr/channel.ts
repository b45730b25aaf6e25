/**
 * The secret channel of api/roles.ts: an OTR conversation over a signal channel. Application messages are bytes, OTR
 * carries text: they travel as base64. Only this file takes the time and sends.
 */

import type { OtrFingerprint } from '../../api/keys.ts'
import type { SecretChannel, SecretEvent, SecretState, SignalChannel, SignalEvent } from '../../api/roles.ts'
import { assertNever } from '../../util/assert-never.ts'
import { fromBase64, toBase64, wipe } from '../../util/bytes.ts'
import type { Clock } from '../../util/clock.ts'
import { DeadlineTimer } from '../../util/deadline-timer.ts'
import { Listeners } from '../../util/listeners.ts'
import { type Logger, silentLogger } from '../../util/logger.ts'
import type { Random } from '../../util/random.ts'
import type { OtrAccount } from './account.ts'
import { OtrConversation, type OtrEffect, type OtrEffects, type OtrStats } from './conversation.ts'

export interface OtrChannelOptions {
  /** Stays the caller's: disposing of the secret channel leaves it open. */
  readonly channel: SignalChannel
  readonly account: OtrAccount
  /** The only key we agree with; without one, any. */
  readonly pinned?: OtrFingerprint | undefined
  readonly clock: Clock
  readonly random: Random
  readonly logger?: Logger
}

export class OtrChannel implements SecretChannel {
  readonly #channel: SignalChannel
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #conversation: OtrConversation
  readonly #listeners: Listeners<SecretEvent> = new Listeners()
  readonly #timer: DeadlineTimer
  readonly #subscription: Disposable
  readonly #waiting: SignalEvent[] = []
  #busy = false
  #disposed = false
  #closedReason = 'the device is offline'
  #expected: Uint8Array | undefined
  #undecodable = 0

  constructor(options: OtrChannelOptions) {
    const { channel, account, pinned, clock, random, logger = silentLogger } = options
    this.#channel = channel
    this.#clock = clock
    this.#logger = logger
    this.#conversation = new OtrConversation({ account, pinned, random, maximumTextBytes: channel.maximumTextBytes })
    this.#timer = new DeadlineTimer(clock, () => this.#run(() => this.#conversation.tick(clock.now())))
    this.#subscription = channel.subscribe((event) => this.#onSignal(event))
    if (channel.online) this.#onSignal({ kind: 'online' })
  }

  get state(): SecretState {
    const { state } = this.#conversation
    switch (state.kind) {
      case 'encrypted':
        return {
          kind: 'secure',
          fingerprint: state.agreement.fingerprint,
          sessionId: state.agreement.sessionId,
        }
      case 'refused':
        return { kind: 'refused', fingerprint: state.fingerprint }
      case 'finished':
        return { kind: 'closed', reason: this.#closedReason }
      case 'plaintext':
        return state.open ? { kind: 'agreeing' } : { kind: 'closed', reason: this.#closedReason }
      default:
        return assertNever(state)
    }
  }

  /** Longest message that `send` takes, in bytes. */
  get maximumMessageBytes(): number {
    return Math.floor(this.#conversation.maximumMessageBytes / 4) * 3
  }

  stats(): OtrStats & { readonly undecodable: number } {
    return { ...this.#conversation.stats(), undecodable: this.#undecodable }
  }

  /** @throws RangeError when the message is empty or longer than `maximumMessageBytes` */
  send(message: Uint8Array): boolean {
    if (message.length === 0) throw new RangeError('An empty message cannot be sent')
    const effects = this.#conversation.send(toBase64(message), this.#clock.now())
    return effects !== undefined && this.#run(() => effects)
  }

  /** When the channel is not secure, or the conversation is replaced before the end, the proof has failed. */
  prove(secret: Uint8Array): void {
    this.#run(() => this.#conversation.startSmp({ secret }, this.#clock.now()))
  }

  expectProof(secret: Uint8Array | undefined): void {
    if (this.#expected !== undefined) wipe(this.#expected)
    this.#expected = secret?.slice()
  }

  subscribe(listener: (event: SecretEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  /** Tells the device that the conversation is over, and forgets all keys. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return
    this.#run(() => this.#conversation.end(this.#clock.now()))
    this.#disposed = true
    this.#closedReason = 'the channel was closed'
    this.#subscription[Symbol.dispose]()
    this.#timer[Symbol.dispose]()
    this.expectProof(undefined)
  }

  /** A signal channel may answer inside our own `send`: what comes meanwhile waits, so that events keep their order. */
  #onSignal(event: SignalEvent): void {
    this.#waiting.push(event)
    this.#run(() => [])
  }

  #run(act: () => OtrEffects): boolean {
    if (this.#disposed) return false
    const outermost = !this.#busy
    this.#busy = true
    try {
      const taken = this.#apply(act())
      if (!outermost) return taken
      for (let event = this.#waiting.shift(); event !== undefined; event = this.#waiting.shift()) this.#handle(event)
      return taken
    } finally {
      if (outermost) this.#busy = false
      if (!this.#disposed) this.#timer.set(this.#conversation.deadline)
    }
  }

  #handle(event: SignalEvent): void {
    if (this.#disposed) return
    const now = this.#clock.now()
    switch (event.kind) {
      case 'online':
        this.#apply(this.#conversation.start(now))
        return
      case 'offline': {
        const wasSecure = this.#conversation.state.kind === 'encrypted'
        this.#closedReason = event.reason
        this.#apply(this.#conversation.stop())
        if (wasSecure) this.#listeners.emit({ kind: 'insecure', reason: event.reason })
        return
      }
      case 'text':
        this.#apply(this.#conversation.receive(event.text, now))
        return
      default:
        assertNever(event)
    }
  }

  /** First everything is sent, in the order it was made, then told: a listener that sends comes after it. */
  #apply(effects: OtrEffects): boolean {
    let taken = true
    for (const effect of effects) {
      if (effect.kind === 'send') taken = effect.texts.every((text) => this.#channel.send(text)) && taken
    }
    for (const effect of effects) this.#tell(effect)
    return taken
  }

  #tell(effect: OtrEffect): void {
    switch (effect.kind) {
      case 'send':
        return
      case 'secure':
        this.#logger.info('secret channel is secure', { agreements: this.#conversation.stats().agreements })
        this.#listeners.emit({ kind: 'secure', fingerprint: effect.fingerprint, sessionId: effect.sessionId })
        return
      case 'message':
        this.#onMessage(effect.text)
        return
      case 'finished':
        this.#closedReason = 'the device ended the conversation'
        this.#listeners.emit({ kind: 'insecure', reason: this.#closedReason })
        return
      case 'refused':
        this.#logger.warn('secret channel refused: another key than the pinned one')
        this.#listeners.emit({ kind: 'refused', fingerprint: effect.fingerprint })
        return
      case 'smp-asked':
        this.#apply(this.#answer())
        return
      case 'smp-result':
        this.#listeners.emit({ kind: 'proof', ok: effect.equal })
        return
      default:
        assertNever(effect)
    }
  }

  #onMessage(text: string): void {
    const message = fromBase64(text)
    if (message === undefined) this.#undecodable += 1
    else this.#listeners.emit({ kind: 'message', message })
  }

  #answer(): OtrEffects {
    const now = this.#clock.now()
    if (this.#expected === undefined) return this.#conversation.abortSmp(now)
    return this.#conversation.answerSmp(this.#expected, now)
  }
}

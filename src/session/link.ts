/**
 * The link to one peer: the signal channel, the secret channel on it, and what is said over them whatever the tunnel
 * does. It lives as long as the peer is pinned, so that a path can be re-opened at any time. Whenever it becomes
 * secure, both ends say hello and run the inner key agreement.
 */

import { formatFingerprint, type OtrFingerprint, type SecretKey } from '../api/keys.ts'
import type { KeyAgreement, KeyAgreementRun, PunchExchange, SecretChannel, SignalChannel } from '../api/roles.ts'
import { assertNever } from '../util/assert-never.ts'
import { equalBytes } from '../util/bytes.ts'
import type { Clock } from '../util/clock.ts'
import { DeadlineTimer } from '../util/deadline-timer.ts'
import { Listeners } from '../util/listeners.ts'
import type { Logger } from '../util/logger.ts'
import { decodeSessionMessage, encodeSessionMessage, type SessionMessage } from './messages.ts'
import { PunchMailbox } from './punch-mailbox.ts'

export type Hello = Extract<SessionMessage, { readonly kind: 'hello' }>

export type LinkState =
  | { readonly kind: 'offline'; readonly reason: string }
  | { readonly kind: 'securing' }
  | { readonly kind: 'secure'; readonly hello: Hello | undefined }
  /** For good: the peer is not who was pinned. */
  | { readonly kind: 'refused'; readonly reason: string }

export type LinkEvent =
  /** `state` has changed. */
  | { readonly kind: 'state' }
  /** A key agreement has completed at this end. */
  | { readonly kind: 'agreed'; readonly presharedKey: SecretKey }
  /** The peer began to open a new path. */
  | { readonly kind: 'punch-restarted' }

export interface PeerLinkOptions {
  readonly channel: SignalChannel
  readonly secret: SecretChannel
  /** Messages of the running conversation that arrived before the link was made. */
  readonly missed?: readonly Uint8Array[]
  readonly agreement: KeyAgreement
  readonly ownFingerprint: OtrFingerprint
  readonly pinned: OtrFingerprint
  /** Exactly one end: it starts the key agreement and is ICE's controlling agent. */
  readonly initiator: boolean
  /** What our hello says. */
  readonly hello: () => Omit<Hello, 'kind' | 'wallTime'>
  readonly clock: Clock
  readonly logger: Logger
}

/** An agreement that takes longer has lost a message: the initiator starts another. */
const agreementTimeout = 8000

/** Clocks that differ more deserve a warning, ms. */
const largestHarmlessSkew = 300_000

export class PeerLink implements AsyncDisposable {
  readonly #options: PeerLinkOptions
  readonly #listeners: Listeners<LinkEvent> = new Listeners()
  readonly #subscriptions: Disposable[] = []
  readonly #agreementTimer: DeadlineTimer
  readonly #mailbox: PunchMailbox = new PunchMailbox()
  #state: LinkState = { kind: 'offline', reason: 'not found yet' }
  /** Of the running conversation. */
  #sessionId: Uint8Array = new Uint8Array(0)
  #run: KeyAgreementRun | undefined
  #agreed = false
  #clockSkew = 0
  #unreadable = 0

  constructor(options: PeerLinkOptions) {
    this.#options = options
    this.#agreementTimer = new DeadlineTimer(options.clock, () => this.#beginAgreement())
    this.#subscriptions.push(
      options.channel.subscribe((event) => {
        if (event.kind === 'online' && this.#state.kind === 'offline') this.#enter({ kind: 'securing' })
        if (event.kind === 'offline') this.#onInsecure(event.reason)
      }),
      options.secret.subscribe((event) => {
        switch (event.kind) {
          case 'secure':
            return this.#onSecure(event.fingerprint, event.sessionId)
          case 'insecure':
            return this.#onInsecure(event.reason)
          case 'refused':
            return this.#refuse(`its key is ${formatFingerprint(event.fingerprint)}`)
          case 'message':
            return this.#onMessage(event.message)
          case 'proof':
            return undefined
          default:
            return assertNever(event)
        }
      }),
    )
    const { state } = options.secret
    if (state.kind === 'secure') this.#onSecure(state.fingerprint, state.sessionId)
    else if (state.kind === 'refused') this.#refuse(`its key is ${formatFingerprint(state.fingerprint)}`)
    else if (options.channel.online) this.#enter({ kind: 'securing' })
    for (const message of options.missed ?? []) this.#onMessage(message)
  }

  get state(): LinkState {
    return this.#state
  }

  get initiator(): boolean {
    return this.#options.initiator
  }

  /** Whether the key agreement of the running conversation is complete at this end. */
  get agreed(): boolean {
    return this.#agreed
  }

  /** Whether the peer has begun to open a path that no attempt of ours has answered. */
  get punchWaiting(): boolean {
    return this.#mailbox.waiting
  }

  /** By how many ms the peer's clock is ahead of ours; 0 while the difference is harmless. */
  get clockSkew(): number {
    return this.#clockSkew
  }

  /** Messages that could not be read. */
  get unreadable(): number {
    return this.#unreadable
  }

  subscribe(listener: (event: LinkEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  /** Resolves when `condition` holds; rejects with the signal's reason. */
  until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      if (condition()) return resolve()
      const finish = (): void => {
        subscription[Symbol.dispose]()
        signal.removeEventListener('abort', onAbort)
      }
      const onAbort = (): void => {
        finish()
        reject(signal.reason)
      }
      const subscription = this.subscribe(() => {
        if (!condition()) return
        finish()
        resolve()
      })
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** What one attempt to open a path says and hears. */
  punchExchange(): PunchExchange {
    return this.#mailbox.exchange((message) => void this.#send({ kind: 'punch', message }))
  }

  /** Tells the peer what our hello says now. */
  announce(): void {
    if (this.#state.kind === 'secure') this.#sendHello()
  }

  /** The network may have changed: look for the peer now. */
  nudge(): void {
    this.#options.channel.nudge()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]()
    this.#agreementTimer[Symbol.dispose]()
    await this.#options.secret[Symbol.asyncDispose]()
    await this.#options.channel[Symbol.asyncDispose]()
  }

  #onSecure(fingerprint: OtrFingerprint, sessionId: Uint8Array): void {
    if (!equalBytes(fingerprint, this.#options.pinned)) {
      this.#refuse(`its key is ${formatFingerprint(fingerprint)}`)
      return
    }
    this.#mailbox.reset()
    this.#agreed = false
    this.#run = undefined
    this.#sessionId = sessionId
    this.#state = { kind: 'secure', hello: undefined }
    this.#sendHello()
    this.#beginAgreement()
    this.#listeners.emit({ kind: 'state' })
  }

  #onInsecure(reason: string): void {
    if (this.#state.kind === 'refused') return
    this.#agreementTimer.set(undefined)
    this.#run = undefined
    this.#enter(this.#options.channel.online ? { kind: 'securing' } : { kind: 'offline', reason })
  }

  #beginAgreement(): void {
    const { agreement, initiator, ownFingerprint, pinned, clock } = this.#options
    const binding = { initiator, sessionId: this.#sessionId, ownFingerprint, peerFingerprint: pinned }
    this.#run = agreement.begin(binding)
    if (!initiator) return
    this.#agreementTimer.set(clock.now() + agreementTimeout)
    const { send } = this.#run.start()
    if (send !== undefined) this.#send({ kind: 'key-agreement', message: send })
  }

  #onMessage(bytes: Uint8Array): void {
    if (this.#state.kind !== 'secure') return
    const message = decodeSessionMessage(bytes)
    switch (message?.kind) {
      case undefined:
        this.#unreadable++
        return
      case 'hello': {
        const skew = message.wallTime - this.#options.clock.wallTime()
        this.#clockSkew = Math.abs(skew) > largestHarmlessSkew ? skew : 0
        this.#enter({ kind: 'secure', hello: message })
        return
      }
      case 'key-agreement':
        this.#onAgreementMessage(message.message)
        return
      case 'punch':
        if (this.#mailbox.receive(message.message)) this.#listeners.emit({ kind: 'punch-restarted' })
        return
      case 'pairing-card':
        // The peer pairs again with an invite of ours: it is pinned already.
        this.#send({ kind: 'pairing-pinned' })
        return
      case 'pairing-pinned':
      case 'pairing-refused':
        return
      default:
        assertNever(message)
    }
  }

  #onAgreementMessage(message: Uint8Array): void {
    let step = this.#run?.receive(message)
    if (step?.refused !== undefined && !this.#options.initiator) {
      // The initiator may have started anew after a loss: its first message needs a fresh run.
      this.#beginAgreement()
      step = this.#run?.receive(message)
    }
    if (step === undefined) return
    if (step.refused !== undefined) {
      this.#options.logger.warn('key agreement refused', { reason: step.refused })
      return
    }
    if (step.send !== undefined) this.#send({ kind: 'key-agreement', message: step.send })
    if (step.presharedKey === undefined) return
    this.#agreementTimer.set(undefined)
    this.#agreed = true
    this.#listeners.emit({ kind: 'agreed', presharedKey: step.presharedKey })
  }

  #sendHello(): void {
    const { hello, clock } = this.#options
    this.#send({ kind: 'hello', wallTime: clock.wallTime(), ...hello() })
  }

  #send(message: SessionMessage): void {
    const taken = this.#options.secret.send(encodeSessionMessage(message))
    if (!taken) this.#options.logger.debug('message to the peer was not taken', { message: message.kind })
  }

  #refuse(reason: string): void {
    this.#agreementTimer.set(undefined)
    this.#enter({ kind: 'refused', reason })
  }

  #enter(state: LinkState): void {
    this.#state = state
    this.#listeners.emit({ kind: 'state' })
  }
}

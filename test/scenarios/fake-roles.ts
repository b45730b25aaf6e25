/**
 * The four roles, played by a few lines each, for tests of the session alone: who is reachable, which path opens and
 * what answers on it is up to the test.
 */

import { createHash } from 'node:crypto'
import type { Endpoint } from '../../src/api/endpoint.ts'
import { type OtrFingerprint, SecretKey } from '../../src/api/keys.ts'
import type {
  GuardEvent,
  GuardPeer,
  GuardPeerStats,
  KeyAgreement,
  KeyAgreementRun,
  KeyAgreementStep,
  Path,
  PathKind,
  Puncher,
  PunchOptions,
  ResumeOptions,
  SecretChannel,
  SecretEvent,
  SecretState,
  SignalChannel,
} from '../../src/api/roles.ts'
import { fromBase64, toBase64, toHex } from '../../src/util/bytes.ts'
import type { Clock } from '../../src/util/clock.ts'
import { Listeners } from '../../src/util/listeners.ts'

/** Secure as soon as the channel is online. Not secret at all. */
export class FakeSecret implements SecretChannel {
  readonly #channel: SignalChannel
  readonly #peer: OtrFingerprint
  readonly #listeners: Listeners<SecretEvent> = new Listeners()
  state: SecretState = { kind: 'closed', reason: 'not found yet' }

  constructor(options: { readonly channel: SignalChannel; readonly peer: OtrFingerprint }) {
    this.#channel = options.channel
    this.#peer = options.peer
    options.channel.subscribe((event) => {
      if (event.kind === 'online') this.#secure()
      else if (event.kind === 'offline') {
        this.state = { kind: 'closed', reason: event.reason }
        this.#listeners.emit({ kind: 'insecure', reason: event.reason })
      } else {
        const message = fromBase64(event.text)
        if (message !== undefined) this.#listeners.emit({ kind: 'message', message })
      }
    })
    if (options.channel.online) this.#secure()
  }

  send(message: Uint8Array): boolean {
    return this.state.kind === 'secure' && this.#channel.send(toBase64(message))
  }

  prove(): void {}

  expectProof(): void {}

  subscribe(listener: (event: SecretEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #secure(): void {
    const sessionId = new Uint8Array(8)
    this.state = { kind: 'secure', fingerprint: this.#peer, sessionId }
    this.#listeners.emit({ kind: 'secure', fingerprint: this.#peer, sessionId })
  }
}

/** Three messages, the key after the second and the third, like the real one. `lose` eats messages. */
export class FakeAgreement implements KeyAgreement {
  runs = 0
  lose = 0

  begin(binding: { readonly initiator: boolean }): KeyAgreementRun {
    this.runs++
    const key = (): SecretKey => new SecretKey(new Uint8Array(createHash('sha256').update('psk').digest()))
    const step = (number: number): KeyAgreementStep => {
      if (this.lose > 0) {
        this.lose--
        return {}
      }
      return { send: Uint8Array.of(number) }
    }
    return {
      start: () => (binding.initiator ? step(1) : {}),
      receive: (message) => {
        if (message[0] === 1 && !binding.initiator) return step(2)
        if (message[0] === 2 && binding.initiator) return { ...step(3), presharedKey: key() }
        if (message[0] === 3 && !binding.initiator) return { presharedKey: key() }
        return { refused: 'out of turn' }
      },
    }
  }
}

export class FakePath implements Path {
  readonly lost: Promise<string>
  readonly #kind: PathKind
  #remote: Endpoint
  readonly #moves: Listeners<Endpoint> = new Listeners()
  #lose: (reason: string) => void = () => {}
  closed = false
  checks = 0

  constructor(kind: PathKind, remote: Endpoint) {
    this.#kind = kind
    this.#remote = remote
    this.lost = new Promise((resolve) => {
      this.#lose = resolve
    })
  }

  status(): ReturnType<Path['status']> {
    return { kind: this.#kind, remote: this.#remote, mapped: undefined, roundTrip: 20 }
  }

  lose(reason: string): void {
    this.#lose(reason)
  }

  move(remote: Endpoint): void {
    this.#remote = remote
    this.#moves.emit(remote)
  }

  subscribe(listener: (remote: Endpoint) => void): Disposable {
    return this.#moves.add(listener)
  }

  check(): void {
    this.checks++
  }

  acceptResume(): Disposable {
    return { [Symbol.dispose]: () => {} }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closed = true
  }
}

const anywhere: Endpoint = { address: '203.0.113.9', port: 40_000 }

/** Opens a path 50 ms after both descriptions are there, unless told that there is none. */
export class FakePuncher implements Puncher {
  readonly #clock: Clock
  #generation = 0
  opened: FakePath[] = []
  resumes = 0
  /** Whether the NATs let us through. */
  passable = true
  /** Whether the cached endpoint answers. */
  cachedAnswers = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  open(options: PunchOptions): Promise<Path> {
    const { exchange, signal } = options
    const generation = ++this.#generation
    return new Promise((resolve, reject) => {
      const subscription = exchange.subscribe((message) => {
        if (message.kind !== 'description' || !this.passable) return
        this.#clock.after(50, () => {
          if (!signal.aborted) finish(() => resolve(this.#path('server-reflexive')))
        })
      })
      const onAbort = (): void => finish(() => reject(signal.reason))
      const finish = (settle: () => void): void => {
        subscription[Symbol.dispose]()
        signal.removeEventListener('abort', onAbort)
        settle()
      }
      signal.addEventListener('abort', onAbort, { once: true })
      exchange.send({ kind: 'description', generation, ufrag: 'fake', password: 'fakefakefakefakefakefake' })
    })
  }

  resume(options: ResumeOptions): Promise<Path> {
    this.resumes++
    const { signal } = options
    return new Promise((resolve, reject) => {
      if (this.cachedAnswers) this.#clock.after(20, () => resolve(this.#path('cached')))
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #path(kind: PathKind): FakePath {
    const path = new FakePath(kind, anywhere)
    this.opened.push(path)
    return path
  }
}

/** Establishes 40 ms after a path is used, unless told not to. */
export class FakeGuardPeer implements GuardPeer {
  readonly #clock: Clock
  readonly #listeners: Listeners<GuardEvent> = new Listeners()
  readonly interfaceName = 'fake0'
  answers = true
  uses: { readonly path: Path | undefined; readonly initiate: boolean }[] = []
  keys = 0
  /** What was told of the peer's guard, and how many paths had been used by then. */
  met: { readonly parameters: string; readonly uses: number }[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  use(path: Path | undefined, options: { readonly initiate?: boolean } = {}): void {
    this.uses.push({ path, initiate: options.initiate ?? false })
    if (path !== undefined && this.answers) this.#clock.after(40, () => this.#listeners.emit({ kind: 'established' }))
  }

  setPresharedKey(): void {
    this.keys++
  }

  async setAllowedIps(): Promise<void> {}

  meet(parameters: Uint8Array): void {
    this.met.push({ parameters: toHex(parameters), uses: this.uses.length })
  }

  stats(): GuardPeerStats {
    return {
      receivedBytes: 0,
      sentBytes: 0,
      lastHandshakeAt: undefined,
      lastReceivedAt: undefined,
      endpoint: undefined,
      dropped: {},
    }
  }

  subscribe(listener: (event: GuardEvent) => void): Disposable {
    return this.#listeners.add(listener)
  }

  fallSilent(): void {
    this.#listeners.emit({ kind: 'unanswered' })
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

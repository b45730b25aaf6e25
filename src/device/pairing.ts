/**
 * How two devices pin each other (docs/pairing.md). The joiner knows the inviter's keys from the invite; the inviter
 * knows nothing of the joiner but that it proves, by SMP inside the secret channel, to hold the invite's one-time
 * secret. The joiner's card travels in that channel before the proof, so the proof covers it.
 */

import { PunchGuardError } from '../api/errors.ts'
import type { Introduction, SecretChannel, SecretEvent, SignalChannel } from '../api/roles.ts'
import { type Card, formatCard, parseCard } from '../pairing/card.ts'
import { type Invite, type InviteRecord, inviteExpired, inviteUsed } from '../pairing/invite.ts'
import {
  decodeSessionMessage,
  encodeSessionMessage,
  type PairingRefusal,
  type SessionMessage,
} from '../session/messages.ts'
import { assertNever } from '../util/assert-never.ts'
import { equalBytes, fromHex, toHex } from '../util/bytes.ts'
import { delay } from '../util/clock.ts'
import { EventQueue } from '../util/event-queue.ts'
import type { DeviceParts } from './parts.ts'

/** A conversation that ended in a pinned peer; its channels live on as the peer's link. */
export interface PairedChannels {
  readonly card: Card
  readonly channel: SignalChannel
  readonly secret: SecretChannel
  /** Ends the listening of the pairing; what the other end, already a peer, has said since is the link's. */
  readonly takeOver: () => readonly Uint8Array[]
}

export type PairingReport = (step: 'reaching' | 'reached' | 'secured' | 'proved', text: string) => void

type PairingParts = Pick<DeviceParts, 'network' | 'openSecret' | 'card' | 'clock'>

const introductionPrefix = 'punchguard pairing 1 '

/** How long a refusal may take to reach the other end before the channel is closed, ms. */
const refusalLinger = 3000

/** The id of the invite that an introduction is about. */
export function invitedBy(introduction: Introduction): Uint8Array | undefined {
  const { text } = introduction
  return text.startsWith(introductionPrefix) ? fromHex(text.slice(introductionPrefix.length)) : undefined
}

/**
 * The joiner's half; resolves when the inviter has pinned us.
 * @throws PunchGuardError INVITE_USED, INVITE_EXPIRED, INVITE_INVALID, PEER_REFUSED; the signal's reason
 */
export async function joinInvite(
  parts: PairingParts,
  options: { readonly invite: Invite; readonly report: PairingReport; readonly signal: AbortSignal },
): Promise<PairedChannels> {
  const { invite, report, signal } = options
  const { name, otrFingerprint, toxId } = invite.card
  report('reaching', `looking for ${name} over ${parts.network.name}`)
  const introduction = introductionPrefix + toHex(invite.id)
  const channel = parts.network.open(toHex(toxId).toUpperCase(), { introduction })
  const secret = parts.openSecret(channel, otrFingerprint)
  const conversation = new Conversation({ channel, secret, name, report })
  try {
    for (;;) {
      const event = await conversation.next(signal)
      switch (event.kind) {
        case 'secure':
          conversation.send({ kind: 'pairing-card', card: formatCard(parts.card) })
          secret.prove(invite.secret.reveal())
          break
        case 'refused':
          throw new PunchGuardError('PEER_REFUSED', 'the device that answered does not hold the keys of the invite', {
            hint: `somebody may pose as ${name}: make a new invite there and bring it over by a safe way`,
          })
        case 'message': {
          const message = decodeSessionMessage(event.message)
          if (message?.kind === 'pairing-pinned') {
            return { card: invite.card, channel, secret, takeOver: () => conversation.end() }
          }
          if (message?.kind === 'pairing-refused') throw refusalError(message.reason, invite)
          break
        }
        case 'proof':
          // The inviter says itself what a failed proof means for it; a good one is news for a person.
          if (event.ok) report('proved', `${name} knows the secret of the invite`)
          break
        case 'insecure':
          break
        default:
          assertNever(event)
      }
    }
  } catch (error) {
    conversation.end()
    await secret[Symbol.asyncDispose]()
    await channel[Symbol.asyncDispose]()
    throw error
  }
}

/**
 * The inviter's half: talks to a device that named one of our invites. `pin` is called once the proof is good and
 * before the joiner is told.
 * @throws PunchGuardError INVITE_USED, INVITE_EXPIRED, CARD_INVALID, PEER_REFUSED; the signal's reason
 */
export async function admitJoiner(
  parts: PairingParts,
  options: {
    readonly introduction: Introduction
    readonly record: InviteRecord
    readonly pin: (card: Card) => Promise<void>
    readonly report: PairingReport
    readonly signal: AbortSignal
  },
): Promise<PairedChannels> {
  const { introduction, record, report, signal } = options
  const channel = parts.network.open(introduction.address)
  const secret = parts.openSecret(channel, undefined)
  if (record.state.kind === 'open') secret.expectProof(record.state.secret.reveal())
  let card: Card | undefined
  const conversation = new Conversation({ channel, secret, name: 'the other device', report })
  try {
    for (;;) {
      const event = await conversation.next(signal)
      switch (event.kind) {
        case 'secure':
          if (record.state.kind !== 'open') throw recordError(record, parts.clock.wallTime())
          break
        case 'message': {
          const message = decodeSessionMessage(event.message)
          if (message?.kind === 'pairing-card') card = cardOf(message.card, secret)
          break
        }
        case 'proof':
          if (!event.ok || card === undefined) throw proofFailed()
          report('proved', `${card.name} knows the secret of the invite`)
          await options.pin(card)
          conversation.send({ kind: 'pairing-pinned' })
          return { card, channel, secret, takeOver: () => conversation.end() }
        case 'insecure':
          break
        case 'refused':
          throw proofFailed()
        default:
          assertNever(event)
      }
    }
  } catch (error) {
    conversation.end()
    const reason = refusalFor(error)
    if (reason !== undefined && secret.send(encodeSessionMessage({ kind: 'pairing-refused', reason }))) {
      await delay(parts.clock, refusalLinger)
    }
    await secret[Symbol.asyncDispose]()
    await channel[Symbol.asyncDispose]()
    throw error
  }
}

/** The events of one pairing conversation, in order, and its steps told to a person. */
class Conversation {
  readonly #secret: SecretChannel
  readonly #events: EventQueue<SecretEvent> = new EventQueue()
  readonly #subscriptions: readonly Disposable[]

  constructor(options: {
    readonly channel: SignalChannel
    readonly secret: SecretChannel
    readonly name: string
    readonly report: PairingReport
  }) {
    const { channel, secret, name, report } = options
    this.#secret = secret
    this.#subscriptions = [
      channel.subscribe((event) => {
        if (event.kind === 'online') report('reached', `found ${name}`)
      }),
      secret.subscribe((event) => {
        if (event.kind === 'secure') report('secured', `talking to ${name} in secret`)
        this.#events.push(event)
      }),
    ]
    const { state } = secret
    if (state.kind === 'secure' || state.kind === 'refused') this.#events.push(state)
  }

  next(signal: AbortSignal): Promise<SecretEvent> {
    return this.#events.next(signal)
  }

  send(message: SessionMessage): void {
    this.#secret.send(encodeSessionMessage(message))
  }

  /** Stops listening; gives the messages that nobody took. */
  end(): readonly Uint8Array[] {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]()
    return this.#events.drain().flatMap((event) => (event.kind === 'message' ? [event.message] : []))
  }
}

/** The joiner's card, which must be of the very device we talk to. */
function cardOf(text: string, secret: SecretChannel): Card {
  const card = parseCard(text)
  if (secret.state.kind !== 'secure' || !equalBytes(card.otrFingerprint, secret.state.fingerprint)) {
    throw new PunchGuardError('CARD_INVALID', 'the joining device sent the card of another device', {
      hint: 'make a new invite and use it on the device itself',
    })
  }
  return card
}

function recordError(record: InviteRecord, now: number): PunchGuardError {
  return record.state.kind === 'used' ? inviteUsed() : inviteExpired(now - record.expires)
}

function proofFailed(): PunchGuardError {
  return new PunchGuardError('INVITE_INVALID', 'a device used the invite without knowing its secret', {
    hint: 'somebody may have seen part of it: make a new invite',
  })
}

function refusalFor(error: unknown): PairingRefusal | undefined {
  if (!(error instanceof PunchGuardError)) return undefined
  switch (error.code) {
    case 'INVITE_USED':
      return 'invite used'
    case 'INVITE_EXPIRED':
      return 'invite expired'
    case 'INVITE_INVALID':
      return 'proof failed'
    default:
      return 'card invalid'
  }
}

function refusalError(reason: PairingRefusal, invite: Invite): PunchGuardError {
  const { name } = invite.card
  switch (reason) {
    case 'invite used':
      return inviteUsed()
    case 'invite expired':
      return new PunchGuardError('INVITE_EXPIRED', `${name} says that this invite has expired`, {
        hint: `make a new one on ${name}: punchguard pair; if it was a fresh one, compare the clocks of both devices`,
      })
    case 'proof failed':
      return new PunchGuardError('INVITE_INVALID', `${name} does not accept this invite`, {
        hint: `make a new one on ${name}: punchguard pair`,
      })
    case 'card invalid':
      return new PunchGuardError('PEER_REFUSED', `${name} does not accept this device's card`, {
        hint: `if this device was set up anew, run punchguard forget on ${name} and pair again`,
      })
    default:
      return assertNever(reason)
  }
}

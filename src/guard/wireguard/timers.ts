/**
 * When a peer has to do something of itself, whitepaper §6: a pure table of rules. Each rule names the moment at which it
 * is due, from how things stand; nothing is armed or cancelled, so a late or repeated report cannot leave a timer behind.
 */

import type { PeerActivity } from '../dataplane/data-plane.ts'
import {
  KEEPALIVE_TIMEOUT,
  REJECT_AFTER_TIME,
  REKEY_AFTER_TIME,
  REKEY_ATTEMPT_TIME,
  REKEY_TIMEOUT,
  UNANSWERED_AFTER,
} from './constants.ts'
import type { Keypair } from './keypair.ts'

/** An initiation that waits for its response. */
export interface Attempt {
  /** When the first initiation of this series was sent. */
  readonly since: number
  readonly sentAt: number
  /** How long after `sentAt` the next one follows. */
  readonly retryAfter: number
}

/** How things stand with one peer. All times monotonic ms. */
export interface Standing {
  /** Whether there is an endpoint to send to. */
  readonly reachable: boolean
  readonly attempt: Attempt | undefined
  /** Our last initiation or response: both make new keys likely, so no initiation follows them at once. */
  readonly lastHandshakeSentAt: number | undefined
  readonly current: Keypair | undefined
  readonly activity: PeerActivity
  /** The last handshake that completed or was given up: what happened before it asks for no other. */
  readonly settledAt: number
  /** The last authenticated handshake message of the peer. */
  readonly heardAt: number
  /** When the youngest keypair was made, as long as any is held. */
  readonly keysSince: number | undefined
  /** The last keepalive that was ordered from the data plane. */
  readonly keepaliveAt: number
  /** The last time the path was reported as doubtful. */
  readonly doubtedAt: number
  /** ms, 0 for none. */
  readonly persistentKeepalive: number
  /** ms, drawn anew with each initiation. */
  readonly jitter: number
}

/** In order of precedence, for rules that are due together. */
export const timerNames = [
  'rekey-attempt-time',
  'retransmit-handshake',
  'zero-key-material',
  'no-session',
  'rekey-after-messages',
  'rekey-after-time',
  'rekey-before-reject',
  'new-handshake',
  'send-keepalive',
  'persistent-keepalive',
  'doubt-path',
] as const

export type TimerName = (typeof timerNames)[number]

const never = Number.POSITIVE_INFINITY

const rules: Readonly<Record<TimerName, (standing: Standing) => number>> = {
  /** Initiations cease REKEY_ATTEMPT_TIME after the first. What waits for a session is dropped, also where none was tried. */
  'rekey-attempt-time': ({ attempt, activity, settledAt }) => {
    const since = attempt?.since ?? later(activity.waitingSince, settledAt)
    return since === undefined ? never : since + REKEY_ATTEMPT_TIME
  },
  /** An initiation without response is repeated after REKEY_TIMEOUT, or sooner on a fresh path. */
  'retransmit-handshake': ({ attempt }) => (attempt === undefined ? never : attempt.sentAt + attempt.retryAfter),
  /** All keys are erased when REJECT_AFTER_TIME * 3 has passed since the last were made. */
  'zero-key-material': ({ keysSince }) => (keysSince === undefined ? never : keysSince + 3 * REJECT_AFTER_TIME),
  /** Something is to be sent and no key is there to seal it. */
  'no-session': (standing) => initiation(standing, later(standing.activity.waitingSince, standing.settledAt)),
  /** A key that has sealed REKEY_AFTER_MESSAGES is replaced, by either side. */
  'rekey-after-messages': (standing) => {
    const { current, activity, settledAt } = standing
    const isUsedUp = current !== undefined && activity.usedUp === current.localIndex
    return initiation(standing, isUsedUp ? later(activity.lastSentAt, settledAt) : undefined)
  },
  /**
   * The initiator of a session replaces it when it sends with a key of REKEY_AFTER_TIME or older. The jitter parts two
   * sides that initiated at once and would do so again at every renewal.
   */
  'rekey-after-time': (standing) => {
    const sentAt = later(standing.activity.lastSentAt, standing.settledAt)
    return initiation(standing, initiatorKeyIsOlder(standing.current, REKEY_AFTER_TIME + standing.jitter, sentAt))
  },
  /** It also replaces it when it receives with a key that soon expires: it may never send anything itself. */
  'rekey-before-reject': (standing) => {
    const receivedAt = later(standing.activity.lastReceivedAt, standing.settledAt)
    const age = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT
    return initiation(standing, initiatorKeyIsOlder(standing.current, age, receivedAt))
  },
  /** Data was sent and nothing came back for KEEPALIVE_TIMEOUT + REKEY_TIMEOUT: the peer may have lost the keys. */
  'new-handshake': (standing) => {
    const { activity, settledAt, jitter } = standing
    const since = unanswered(activity, settledAt)
    return initiation(standing, since === undefined ? undefined : since + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter)
  },
  /** Data was received and nothing was sent for KEEPALIVE_TIMEOUT: an empty packet says that it arrived. */
  'send-keepalive': ({ activity, keepaliveAt, reachable }) => {
    const since = later(activity.unacknowledgedSince, keepaliveAt)
    return since === undefined || !reachable ? never : since + KEEPALIVE_TIMEOUT
  },
  /** An empty packet when neither side has sent anything for the chosen time; for NATs that nothing else keeps open. */
  'persistent-keepalive': ({ activity, keepaliveAt, heardAt, persistentKeepalive, reachable }) => {
    if (persistentKeepalive === 0 || !reachable) return never
    const last = Math.max(activity.lastSentAt ?? 0, activity.lastReceivedAt ?? 0, heardAt, keepaliveAt)
    return last + persistentKeepalive
  },
  /** Ours: data or an initiation was sent and nothing came back for a second; once for each second in which we send. */
  'doubt-path': ({ activity, attempt, heardAt, doubtedAt, reachable }) => {
    const since = Math.min(unanswered(activity, heardAt) ?? never, attempt?.since ?? never)
    if (since === never || !reachable) return never
    if (since > doubtedAt) return since + UNANSWERED_AFTER
    const sentAt = Math.max(activity.lastDataSentAt ?? 0, attempt?.sentAt ?? 0)
    return sentAt > doubtedAt ? doubtedAt + UNANSWERED_AFTER : never
  },
}

/** When one rule is due; infinite when it is not. */
export function dueAt(name: TimerName, standing: Standing): number {
  return rules[name](standing)
}

/** The first rule that is due at `now`. */
export function dueRule(standing: Standing, now: number): TimerName | undefined {
  return timerNames.find((name) => rules[name](standing) <= now)
}

/** The next moment at which any rule is due, `undefined` when none will be by itself. */
export function nextDeadline(standing: Standing): number | undefined {
  const at = Math.min(...timerNames.map((name) => rules[name](standing)))
  return at === never ? undefined : at
}

function later(at: number | undefined, than: number): number | undefined {
  return at !== undefined && at > than ? at : undefined
}

/** Since when data has gone unanswered, leaving aside what was sent until `settled`. */
function unanswered(activity: PeerActivity, settled: number): number | undefined {
  if (activity.unansweredSince === undefined) return undefined
  return later(activity.unansweredSince, settled) ?? later(activity.lastDataSentAt, settled)
}

function initiatorKeyIsOlder(
  current: Keypair | undefined,
  age: number,
  usedAt: number | undefined,
): number | undefined {
  if (current === undefined || !current.initiator || usedAt === undefined) return undefined
  return usedAt >= current.created + age ? usedAt : undefined
}

/** When an initiation that is wanted from `at` on may be sent: not during another, and not within REKEY_TIMEOUT of a handshake message of ours. */
function initiation({ reachable, attempt, lastHandshakeSentAt }: Standing, at: number | undefined): number {
  if (at === undefined || !reachable || attempt !== undefined) return never
  return Math.max(at, lastHandshakeSentAt === undefined ? at : lastHandshakeSentAt + REKEY_TIMEOUT)
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noActivity, type PeerActivity } from '../dataplane/data-plane.ts'
import {
  KEEPALIVE_TIMEOUT,
  REJECT_AFTER_TIME,
  REKEY_AFTER_TIME,
  REKEY_ATTEMPT_TIME,
  REKEY_TIMEOUT,
} from './constants.ts'
import type { Keypair } from './keypair.ts'
import { dueAt, dueRule, nextDeadline, type Standing, timerNames } from './timers.ts'

const never = Number.POSITIVE_INFINITY
const longAgo = Number.NEGATIVE_INFINITY

const current: Keypair = { localIndex: 7, created: 1_000, initiator: true, from: { address: '192.0.2.1', port: 1 } }

function standing(changes: Omit<Partial<Standing>, 'activity'>, activity: Partial<PeerActivity> = {}): Standing {
  return {
    reachable: true,
    attempt: undefined,
    lastHandshakeSentAt: undefined,
    current: undefined,
    settledAt: longAgo,
    heardAt: longAgo,
    keysSince: undefined,
    keepaliveAt: longAgo,
    doubtedAt: longAgo,
    persistentKeepalive: 0,
    jitter: 0,
    ...changes,
    activity: { ...noActivity, ...activity },
  }
}

const attempt = { since: 2_000, sentAt: 4_000, retryAfter: 500 }

test('a peer at rest has nothing to do, ever', () => {
  const rest = standing({ current, keysSince: undefined })
  for (const name of timerNames) assert.equal(dueAt(name, rest), never, name)
  assert.equal(nextDeadline(rest), undefined)
  assert.equal(dueRule(rest, 10 ** 12), undefined)
})

test('rekey-attempt-time: initiations end 90 s after the first, and so does waiting where none was possible', () => {
  assert.equal(dueAt('rekey-attempt-time', standing({ attempt })), 2_000 + REKEY_ATTEMPT_TIME)
  const waiting = standing({ reachable: false }, { waitingSince: 5_000 })
  assert.equal(dueAt('rekey-attempt-time', waiting), 5_000 + REKEY_ATTEMPT_TIME)
  assert.equal(dueAt('rekey-attempt-time', { ...waiting, settledAt: 5_000 }), never)
})

test('retransmit-handshake: an initiation is repeated after the delay of its series', () => {
  assert.equal(dueAt('retransmit-handshake', standing({ attempt })), 4_500)
})

test('zero-key-material: keys are erased three lives after the last were made', () => {
  assert.equal(dueAt('zero-key-material', standing({ keysSince: 100 })), 100 + 3 * REJECT_AFTER_TIME)
})

test('no-session: a packet that waits asks for a handshake at once, but not within 5 s of another', () => {
  assert.equal(dueAt('no-session', standing({}, { waitingSince: 5_000 })), 5_000)
  assert.equal(
    dueAt('no-session', standing({ lastHandshakeSentAt: 4_000 }, { waitingSince: 5_000 })),
    4_000 + REKEY_TIMEOUT,
  )
  assert.equal(dueAt('no-session', standing({ attempt }, { waitingSince: 5_000 })), never)
  assert.equal(dueAt('no-session', standing({ reachable: false }, { waitingSince: 5_000 })), never)
  assert.equal(dueAt('no-session', standing({ settledAt: 5_000 }, { waitingSince: 5_000 })), never, 'given up already')
})

test('rekey-after-messages: either side replaces a key that has sealed enough', () => {
  for (const initiator of [true, false]) {
    const used = standing({ current: { ...current, initiator } }, { usedUp: 7, lastSentAt: 9_000 })
    assert.equal(dueAt('rekey-after-messages', used), 9_000)
    assert.equal(dueAt('rekey-after-messages', { ...used, settledAt: 9_000 }), never)
  }
  assert.equal(dueAt('rekey-after-messages', standing({ current }, { usedUp: 6, lastSentAt: 9_000 })), never)
})

test('rekey-after-time: the initiator replaces a key of 120 s when it sends; the responder does not', () => {
  const at = current.created + REKEY_AFTER_TIME
  assert.equal(dueAt('rekey-after-time', standing({ current }, { lastSentAt: at })), at)
  assert.equal(dueAt('rekey-after-time', standing({ current }, { lastSentAt: at - 1 })), never)
  assert.equal(dueAt('rekey-after-time', standing({ current }, { lastReceivedAt: at })), never)
  const responder = { ...current, initiator: false }
  assert.equal(dueAt('rekey-after-time', standing({ current: responder }, { lastSentAt: at })), never)
  assert.equal(dueAt('rekey-after-time', standing({ current, jitter: 50 }, { lastSentAt: at + 49 })), never)
  assert.equal(dueAt('rekey-after-time', standing({ current, jitter: 50 }, { lastSentAt: at + 50 })), at + 50)
})

test('rekey-before-reject: the initiator replaces a key of 165 s when it only receives', () => {
  const at = current.created + REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT
  assert.equal(dueAt('rekey-before-reject', standing({ current }, { lastReceivedAt: at })), at)
  assert.equal(dueAt('rekey-before-reject', standing({ current }, { lastReceivedAt: at - 1 })), never)
  const responder = { ...current, initiator: false }
  assert.equal(dueAt('rekey-before-reject', standing({ current: responder }, { lastReceivedAt: at })), never)
})

test('new-handshake: 15 s and some jitter after data that nothing answered', () => {
  const sent = { unansweredSince: 3_000, lastDataSentAt: 8_000 }
  assert.equal(dueAt('new-handshake', standing({ jitter: 77 }, sent)), 3_000 + 15_000 + 77)
  assert.equal(dueAt('new-handshake', standing({ settledAt: 5_000 }, sent)), 8_000 + 15_000, 'only what was sent since')
  assert.equal(dueAt('new-handshake', standing({ settledAt: 8_000 }, sent)), never)
  assert.equal(dueAt('new-handshake', standing({}, { lastDataSentAt: 8_000 })), never)
})

test('send-keepalive: 10 s after data that we did not answer otherwise, once', () => {
  const received = { unacknowledgedSince: 3_000, lastDataReceivedAt: 8_000 }
  assert.equal(dueAt('send-keepalive', standing({}, received)), 3_000 + KEEPALIVE_TIMEOUT)
  assert.equal(dueAt('send-keepalive', standing({ keepaliveAt: 13_000 }, received)), never)
  assert.equal(dueAt('send-keepalive', standing({ reachable: false }, received)), never)
})

test('persistent-keepalive: only when chosen, after the last packet of either side', () => {
  const quiet = { lastSentAt: 3_000, lastReceivedAt: 8_000 }
  assert.equal(dueAt('persistent-keepalive', standing({}, quiet)), never)
  assert.equal(dueAt('persistent-keepalive', standing({ persistentKeepalive: 25_000 }, quiet)), 33_000)
  assert.equal(
    dueAt('persistent-keepalive', standing({ persistentKeepalive: 25_000, keepaliveAt: 9_000 }, quiet)),
    34_000,
  )
  assert.equal(dueAt('persistent-keepalive', standing({ persistentKeepalive: 25_000, reachable: false }, quiet)), never)
})

test('doubt-path: a second after data or an initiation without answer, then once a second while we go on sending', () => {
  const sent = { unansweredSince: 3_000, lastDataSentAt: 3_500 }
  assert.equal(dueAt('doubt-path', standing({}, sent)), 4_000)
  assert.equal(dueAt('doubt-path', standing({ doubtedAt: 4_000 }, sent)), never, 'nothing was sent since')
  assert.equal(dueAt('doubt-path', standing({ doubtedAt: 4_000 }, { ...sent, lastDataSentAt: 4_200 })), 5_000)
  assert.equal(dueAt('doubt-path', standing({ heardAt: 3_500 }, sent)), never, 'a handshake message is an answer')
  assert.equal(dueAt('doubt-path', standing({ attempt })), 3_000)
  assert.equal(dueAt('doubt-path', standing({ reachable: false }, sent)), never)
})

test('giving up comes before repeating, and the deadline is the first of all', () => {
  const last = standing({ attempt: { since: 0, sentAt: 89_000, retryAfter: 1_000 }, doubtedAt: 89_500 })
  assert.equal(nextDeadline(last), 90_000)
  assert.equal(dueRule(last, 89_999), undefined)
  assert.equal(dueRule(last, 90_000), 'rekey-attempt-time')
})

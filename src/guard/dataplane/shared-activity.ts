/**
 * What the workers tell the main thread all the time: numbers in shared memory, each written by one worker at a time. A
 * peer has a row of its own, half of it for whoever sends (turnstile.ts); a worker has a row for what belongs to no peer. Reading never
 * waits; two numbers of a row may be of different moments, which a report may be too.
 */

import type { Endpoint } from '../../api/endpoint.ts'
import type { PeerActivity } from './data-plane.ts'

/** Why packets and datagrams are dropped, in the order of their counters. */
export const dropReasons = [
  'malformed',
  'unknown-index',
  'expired-key',
  'counter-too-large',
  'replayed',
  'unauthenticated',
  'malformed-packet',
  'source-not-allowed',
  'no-peer',
  'too-large',
  'queue-full',
  'queue-dropped',
  'send-failed',
  'interface-down',
  'interface-full',
  'interface-refused',
  'handshake-flood',
  'main-busy',
] as const

export type DropReason = (typeof dropReasons)[number]

/** The sender's half of a peer's row. Times are ms of control's clock, NaN for never. */
export const sent = {
  version: 0,
  lastAt: 1,
  lastDataAt: 2,
  /** The first data since something was received; it counts only while nothing was received after it. */
  firstDataAt: 3,
  waitingSince: 4,
  usedUp: 5,
  bytes: 6,
} as const

/** The receive worker's half. */
export const received = {
  version: 7,
  lastAt: 8,
  lastDataAt: 9,
  firstDataAt: 10,
  confirmed: 11,
  bytes: 12,
} as const

const sentDropsAt = 13
const receivedDropsAt = sentDropsAt + dropReasons.length
const rowLength = receivedDropsAt + dropReasons.length
const countersOfPeer: readonly number[] = [sent.version, sent.bytes, received.version, received.bytes]

export function createPeerRow(): Float64Array {
  const row = new Float64Array(new SharedArrayBuffer(rowLength * 8))
  row.fill(Number.NaN, 0, sentDropsAt)
  for (const field of countersOfPeer) row[field] = 0
  return row
}

/** A peer that another plane has carried so far. Before the row is given to the workers. */
export function seedPeerRow(row: Float64Array, activity: PeerActivity): void {
  const set = (field: number, value: number | undefined): void => {
    row[field] = value ?? Number.NaN
  }
  set(sent.lastAt, activity.lastSentAt)
  set(sent.lastDataAt, activity.lastDataSentAt)
  set(sent.firstDataAt, activity.unansweredSince)
  set(sent.bytes, activity.sentBytes)
  set(received.lastAt, activity.lastReceivedAt)
  set(received.lastDataAt, activity.lastDataReceivedAt)
  set(received.firstDataAt, activity.unacknowledgedSince)
  set(received.confirmed, activity.confirmed)
  set(received.bytes, activity.receivedBytes)
  const drops = dropsOfPeer(row, 'received')
  for (const [at, reason] of dropReasons.entries()) drops[at] = activity.dropped[reason] ?? 0
}

/** A worker's own counters of drops. */
export function createDropRow(): Float64Array {
  return new Float64Array(new SharedArrayBuffer(dropReasons.length * 8))
}

export function countDrop(row: Float64Array, reason: DropReason, count = 1): void {
  const at = dropReasons.indexOf(reason)
  row[at] = (row[at] ?? 0) + count
}

/** The counters within a peer's row that `countDrop` takes. */
export function dropsOfPeer(row: Float64Array, side: 'sent' | 'received'): Float64Array {
  const from = side === 'sent' ? sentDropsAt : receivedDropsAt
  return row.subarray(from, from + dropReasons.length)
}

export function readDrops(...rows: readonly Float64Array[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const [at, reason] of dropReasons.entries()) {
    const count = rows.reduce((sum, row) => sum + (row[at] ?? 0), 0)
    if (count > 0) counts[reason] = count
  }
  return counts
}

/** Changes whenever a worker changed the row. */
export function versionOf(row: Float64Array): number {
  return (row[sent.version] ?? 0) + (row[received.version] ?? 0)
}

export function readActivity(
  row: Float64Array,
  known: { readonly endpoint: Endpoint | undefined; readonly endpointRevision: number },
): PeerActivity {
  const value = (field: number): number | undefined => {
    const number = row[field] ?? Number.NaN
    return Number.isNaN(number) ? undefined : number
  }
  const lastSentAt = value(sent.lastAt)
  const lastReceivedAt = value(received.lastAt)
  return {
    lastSentAt,
    lastDataSentAt: value(sent.lastDataAt),
    lastReceivedAt,
    lastDataReceivedAt: value(received.lastDataAt),
    unansweredSince: unlessAfter(value(sent.firstDataAt), lastReceivedAt),
    unacknowledgedSince: unlessAfter(value(received.firstDataAt), lastSentAt),
    waitingSince: value(sent.waitingSince),
    confirmed: value(received.confirmed),
    usedUp: value(sent.usedUp),
    ...known,
    sentBytes: value(sent.bytes) ?? 0,
    receivedBytes: value(received.bytes) ?? 0,
    dropped: readDrops(dropsOfPeer(row, 'sent'), dropsOfPeer(row, 'received')),
  }
}

function unlessAfter(first: number | undefined, other: number | undefined): number | undefined {
  return first !== undefined && other !== undefined && other >= first ? undefined : first
}

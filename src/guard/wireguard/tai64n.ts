/**
 * TAI64N timestamps, whitepaper §5.1: 12 bytes that order like numbers, seconds (2^62 + 10 + Unix time) and nanoseconds,
 * big-endian. Leap seconds after 1972 are left out, as in every implementation: only the order matters.
 */

import { compareBytes } from '../../util/bytes.ts'

export const TIMESTAMP_SIZE = 12

const epoch = 2n ** 62n + 10n

/** Wall time in ms since 1970 as a timestamp, coarse on purpose: the 16 ms grid keeps a clock's drift to itself. */
export function encodeTai64n(wallTime: number): Uint8Array {
  const coarse = Math.max(0, Math.floor(wallTime / 16) * 16)
  const bytes = new Uint8Array(TIMESTAMP_SIZE)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, epoch + BigInt(Math.floor(coarse / 1000)))
  view.setUint32(8, (coarse % 1000) * 1_000_000)
  return bytes
}

/** Whether `a` is strictly later than `b`. */
export function isLater(a: Uint8Array, b: Uint8Array): boolean {
  return compareBytes(a, b) > 0
}

/**
 * The next timestamp to send: the wall clock's, or the last one plus a nanosecond when the clock has not gone past it.
 * So a clock that is set back never makes us send a timestamp that a peer has to take for a replay.
 */
export function nextTimestamp(wallTime: number, last: Uint8Array | undefined): Uint8Array {
  const ofClock = encodeTai64n(wallTime)
  if (last === undefined || isLater(ofClock, last)) return ofClock
  const bytes = Uint8Array.from(last)
  const view = new DataView(bytes.buffer)
  const nanoseconds = view.getUint32(8) + 1
  if (nanoseconds < 1_000_000_000) view.setUint32(8, nanoseconds)
  else {
    view.setUint32(8, 0)
    view.setBigUint64(0, BigInt.asUintN(64, view.getBigUint64(0) + 1n))
  }
  return bytes
}

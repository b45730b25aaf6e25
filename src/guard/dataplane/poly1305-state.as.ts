/**
 * AssemblyScript: Poly1305 (RFC 8439 §2.5) begun and ended in OpenSSL's own POLY1305 object, so that OpenSSL is only called
 * for what is between. What lies where in the object is private to OpenSSL and depends on the processor: on x64 one of
 * the two layouts below, each written from what the object holds after a known key. `recognizeState` says whether it is
 * one of them; without it nothing here may be used.
 *
 * | 0 | accumulator, 3 x 64 |  | 24 | r |  | 192 | the key's second half |  | 224 | bytes of an unfinished block, 0 |
 */

import { POLY1305_CONTEXT } from './layout.as'

const ACCUMULATOR: usize = POLY1305_CONTEXT
const R: usize = POLY1305_CONTEXT + 24
const NONCE: usize = POLY1305_CONTEXT + 192
const UNFINISHED: usize = POLY1305_CONTEXT + 224

const UNKNOWN: i32 = 0
/** r as two words; the accumulator as three, or as five of 26 bits, when there is a 1 behind them. */
const WORDS: i32 = 64
/** Three limbs of 44 bits, r with 20 times its upper limbs before it, and behind it what says that it has no powers yet. */
const LIMBS: i32 = 44
const LIMB: u64 = (1 << 44) - 1
const NO_POWERS: u64 = 0xffffffffffffffff

let layout: i32 = UNKNOWN

/** Whether the object, begun by OpenSSL with the 32 bytes at `key`, is laid out in a way that is known here. */
export function recognizeState(key: usize): bool {
  layout = UNKNOWN
  if (load<u64>(NONCE) !== load<u64>(key, 16) || load<u64>(NONCE, 8) !== load<u64>(key, 24)) return false
  if (load<u64>(UNFINISHED) !== 0) return false
  if ((load<u64>(ACCUMULATOR) | load<u64>(ACCUMULATOR, 8) | load<u64>(ACCUMULATOR, 16)) !== 0) return false
  const low = lowOfR(key)
  const high = highOfR(key)
  if (load<u64>(R) === low && load<u64>(R, 8) === high) layout = WORDS
  else if (load<u64>(R, 16) === (low & LIMB) && isLimbs(low, high)) layout = LIMBS
  return layout !== UNKNOWN
}

function isLimbs(low: u64, high: u64): bool {
  const second = middleLimb(low, high)
  const third = high >> 24
  if (load<u64>(R) !== second * 20 || load<u64>(R, 8) !== third * 20) return false
  return load<u64>(R, 24) === second && load<u64>(R, 32) === third && load<u64>(R, 40) === NO_POWERS
}

/** As OpenSSL would with the one-time key at `key`. */
export function beginState(key: usize): void {
  const low = lowOfR(key)
  const high = highOfR(key)
  store<u64>(ACCUMULATOR, 0)
  store<u64>(ACCUMULATOR, 0, 8)
  store<u64>(ACCUMULATOR, 0, 16)
  if (layout === WORDS) {
    store<u64>(R, low)
    store<u64>(R, high, 8)
    return
  }
  const second = middleLimb(low, high)
  const third = high >> 24
  store<u64>(R, second * 20)
  store<u64>(R, third * 20, 8)
  store<u64>(R, low & LIMB, 16)
  store<u64>(R, second, 24)
  store<u64>(R, third, 32)
  store<u64>(R, NO_POWERS, 40)
}

/** The tag of what OpenSSL was given since: whole blocks only. */
export function endState(key: usize, tag: usize): void {
  let h0 = load<u64>(ACCUMULATOR)
  let h1 = load<u64>(ACCUMULATOR, 8)
  let h2 = load<u64>(ACCUMULATOR, 16)
  if (layout === LIMBS) {
    const low = h0 + (h1 << 44)
    const high = (h1 >> 20) + u64(low < h0)
    h0 = low
    h1 = high + (h2 << 24)
    h2 = (h2 >> 40) + u64(h1 < high)
  } else if (h2 >> 32 !== 0) {
    // Five words of 26 bits and a few.
    const first = (h0 & 0xffffffff) + ((h0 >> 32) << 26)
    const third = h1 & 0xffffffff
    const fifth = h2 & 0xffffffff
    h0 = first + (third << 52)
    const middle = (third >> 12) + ((h1 >> 32) << 14) + u64(h0 < first)
    h1 = middle + (fifth << 40)
    h2 = (fifth >> 24) + u64(h1 < middle)
  }
  // 2^130 = 5: what is above counts five times below.
  const over = (h2 >> 2) * 5
  h2 &= 3
  h0 += over
  const carry = u64(h0 < over)
  h1 += carry
  h2 += u64(h1 < carry)
  // Not below p = 2^130 - 5 when adding 5 reaches 2^130; without a branch, as that depends on the key.
  const g0 = h0 + 5
  const first = u64(g0 < h0)
  const g1 = h1 + first
  const g2 = h2 + u64(g1 < h1)
  const mask = 0 - (g2 >> 2)
  h0 ^= (h0 ^ g0) & mask
  h1 ^= (h1 ^ g1) & mask
  const t0 = h0 + load<u64>(key, 16)
  store<u64>(tag, t0)
  store<u64>(tag, h1 + load<u64>(key, 24) + u64(t0 < h0), 8)
}

// r is clamped: RFC 8439 §2.5.1.
function lowOfR(key: usize): u64 {
  return load<u64>(key) & 0x0ffffffc0fffffff
}

function highOfR(key: usize): u64 {
  return load<u64>(key, 8) & 0x0ffffffc0ffffffc
}

function middleLimb(low: u64, high: u64): u64 {
  return ((low >> 44) | (high << 20)) & LIMB
}

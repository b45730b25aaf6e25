/**
 * AssemblyScript: AEAD_CHACHA20_POLY1305 (RFC 8439 §2.8) without additional data, in two forms: all of it here, and the
 * few bytes around it when OpenSSL's own ChaCha20 and Poly1305 functions do the work (aead/openssl.ts).
 *
 * The latter run over 64 bytes before the packet too: the first block of the keystream, whose begin is the one-time
 * key of Poly1305 (§2.6), appears there. `source` and `target` of a packet therefore have 64 bytes before them that may
 * be overwritten, and `target` 48 after its end.
 */

import { setChachaKey, startKeystream, xorKeystream } from './chacha20.as'
import { KEYSTREAM, LAST_BLOCK, NONCE, SAVED, TAG } from './layout.as'
import { finishPoly1305, startPoly1305, updatePoly1305 } from './poly1305.as'
import { beginState, endState } from './poly1305-state.as'

/** The nonce of a transport message: four zero bytes and its counter (whitepaper §5.4.6). */
export function setNonce(counter: u64): void {
  store<u64>(NONCE, 0)
  store<u64>(NONCE + 8, counter)
}

/** Writes the ciphertext and, after it, the tag. `target` must not be `source`. */
export function sealPacket(key: usize, target: usize, source: usize, length: i32): void {
  setChachaKey(key)
  startKeystream()
  startPoly1305(copyOneTimeKey())
  xorKeystream(target, source, length)
  authenticate(target, length)
  finishPoly1305(target + length)
}

/** Writes the plaintext. Whether the tag after the ciphertext fits; what is at `target` must not be used if not. */
export function openPacket(key: usize, target: usize, source: usize, length: i32): bool {
  setChachaKey(key)
  startKeystream()
  startPoly1305(copyOneTimeKey())
  authenticate(source, length)
  finishPoly1305(TAG)
  if (v128.any_true(v128.xor(v128.load(TAG), v128.load(source + length)))) return false
  xorKeystream(target, source, length)
  return true
}

/** Zeros, so that the first keystream block appears over `target - 64`. */
export function prepareSeal(source: usize): void {
  v128.store(source - 64, i64x2.splat(0))
  v128.store(source - 48, i64x2.splat(0))
}

/** Writes what Poly1305 wants after the ciphertext: padding and lengths. How many bytes it then runs over. */
export function writeMacTrailer(target: usize, length: i32): i32 {
  const end = (length + 15) & ~15
  v128.store(target + length, i64x2.splat(0))
  store<u64>(target + end, 0)
  store<u64>(target + end + 8, length as u64)
  return end + 16
}

/**
 * The same behind a received ciphertext, whose tag and what follows it are kept aside. The keystream over `target - 64`
 * is laid bare: the bytes before the ciphertext that it was mixed with are known.
 */
export function prepareOpen(target: usize, source: usize, length: i32): i32 {
  v128.store(target - 64, v128.xor(v128.load(target - 64), v128.load(source - 64)))
  v128.store(target - 48, v128.xor(v128.load(target - 48), v128.load(source - 48)))
  v128.store(SAVED, v128.load(source + length))
  v128.store(SAVED + 16, v128.load(source + length, 16))
  return writeMacTrailer(source, length)
}

/** Puts back what `prepareOpen` overwrote. Whether the tag there is the one at TAG. */
export function finishOpen(source: usize, length: i32): bool {
  v128.store(source + length, v128.load(SAVED))
  v128.store(source + length, v128.load(SAVED + 16), 16)
  return !v128.any_true(v128.xor(v128.load(TAG), v128.load(SAVED)))
}

/** `writeMacTrailer`, and OpenSSL's object is begun (poly1305-state.as.ts). */
export function beginSealTag(target: usize, length: i32): i32 {
  beginState(target - 64)
  return writeMacTrailer(target, length)
}

/** The object's tag goes behind the ciphertext. */
export function endSealTag(target: usize, length: i32): void {
  endState(target - 64, target + length)
}

/** `prepareOpen`, and OpenSSL's object is begun. */
export function beginOpenTag(target: usize, source: usize, length: i32): i32 {
  const covered = prepareOpen(target, source, length)
  beginState(target - 64)
  return covered
}

/** `finishOpen` with the object's tag. */
export function endOpenTag(target: usize, source: usize, length: i32): bool {
  endState(target - 64, TAG)
  return finishOpen(source, length)
}

/** The keystream is overwritten before the tag is made. */
function copyOneTimeKey(): usize {
  v128.store(SAVED, v128.load(KEYSTREAM))
  v128.store(SAVED + 16, v128.load(KEYSTREAM + 16))
  return SAVED
}

function authenticate(ciphertext: usize, length: i32): void {
  const whole = length & ~15
  updatePoly1305(ciphertext, whole)
  if (whole < length) {
    v128.store(LAST_BLOCK, i64x2.splat(0))
    memory.copy(LAST_BLOCK, ciphertext + whole, length - whole)
    updatePoly1305(LAST_BLOCK, 16)
  }
  store<u64>(LAST_BLOCK, 0)
  store<u64>(LAST_BLOCK + 8, length as u64)
  updatePoly1305(LAST_BLOCK, 16)
}

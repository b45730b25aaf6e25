/**
 * AssemblyScript: ChaCha20 (RFC 8439 §2.4), four blocks at a time: vector `n` holds word `n` of each of the four blocks.
 * The counter of the first block is an argument, the nonce is at NONCE.
 */

import { CHACHA_STATE, KEYSTREAM, NONCE } from './layout.as'

const BATCH: i32 = 256

/** Sets the key for the calls that follow. */
export function setChachaKey(key: usize): void {
  v128.store(CHACHA_STATE, i32x4.splat(0x61707865))
  v128.store(CHACHA_STATE + 16, i32x4.splat(0x3320646e))
  v128.store(CHACHA_STATE + 32, i32x4.splat(0x79622d32))
  v128.store(CHACHA_STATE + 48, i32x4.splat(0x6b206574))
  for (let word: usize = 0; word < 8; word++)
    v128.store(CHACHA_STATE + 64 + word * 16, i32x4.splat(load<u32>(key + word * 4)))
}

/** Writes the first 256 bytes of the keystream to KEYSTREAM. */
export function startKeystream(): void {
  memory.fill(KEYSTREAM, 0, BATCH)
  xorFourBlocks(KEYSTREAM, KEYSTREAM, 0)
}

/** XORs the keystream from byte 64 on into `target`. `startKeystream` comes before. */
export function xorKeystream(target: usize, source: usize, length: i32): void {
  const first = min(length, BATCH - 64)
  let at = 0
  for (; at + 16 <= first; at += 16)
    v128.store(target + at, v128.xor(v128.load(source + at), v128.load(KEYSTREAM + 64 + at)))
  for (; at < first; at++) store<u8>(target + at, load<u8>(source + at) ^ load<u8>(KEYSTREAM + 64 + at))
  let block: u32 = 4
  for (; at + BATCH <= length; at += BATCH) {
    xorFourBlocks(target + at, source + at, block)
    block += 4
  }
  if (at === length) return
  memory.copy(KEYSTREAM, source + at, length - at)
  xorFourBlocks(KEYSTREAM, KEYSTREAM, block)
  memory.copy(target + at, KEYSTREAM, length - at)
}

function rotate16(x: v128): v128 {
  return i8x16.shuffle(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
}

function rotate12(x: v128): v128 {
  return v128.or(i32x4.shl(x, 12), i32x4.shr_u(x, 20))
}

function rotate8(x: v128): v128 {
  return i8x16.shuffle(x, x, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14)
}

function rotate7(x: v128): v128 {
  return v128.or(i32x4.shl(x, 7), i32x4.shr_u(x, 25))
}

/** `target` may be `source`. */
function xorFourBlocks(target: usize, source: usize, block: u32): void {
  let x0 = v128.load(CHACHA_STATE)
  let x1 = v128.load(CHACHA_STATE, 16)
  let x2 = v128.load(CHACHA_STATE, 32)
  let x3 = v128.load(CHACHA_STATE, 48)
  let x4 = v128.load(CHACHA_STATE, 64)
  let x5 = v128.load(CHACHA_STATE, 80)
  let x6 = v128.load(CHACHA_STATE, 96)
  let x7 = v128.load(CHACHA_STATE, 112)
  let x8 = v128.load(CHACHA_STATE, 128)
  let x9 = v128.load(CHACHA_STATE, 144)
  let x10 = v128.load(CHACHA_STATE, 160)
  let x11 = v128.load(CHACHA_STATE, 176)
  const counters = i32x4.add(i32x4.splat(block), i32x4(0, 1, 2, 3))
  const nonce0 = i32x4.splat(load<u32>(NONCE + 4))
  const nonce1 = i32x4.splat(load<u32>(NONCE + 8))
  const nonce2 = i32x4.splat(load<u32>(NONCE + 12))
  let x12 = counters
  let x13 = nonce0
  let x14 = nonce1
  let x15 = nonce2
  for (let round = 0; round < 10; round++) {
    // Columns.
    x0 = i32x4.add(x0, x4)
    x1 = i32x4.add(x1, x5)
    x2 = i32x4.add(x2, x6)
    x3 = i32x4.add(x3, x7)
    x12 = rotate16(v128.xor(x12, x0))
    x13 = rotate16(v128.xor(x13, x1))
    x14 = rotate16(v128.xor(x14, x2))
    x15 = rotate16(v128.xor(x15, x3))
    x8 = i32x4.add(x8, x12)
    x9 = i32x4.add(x9, x13)
    x10 = i32x4.add(x10, x14)
    x11 = i32x4.add(x11, x15)
    x4 = rotate12(v128.xor(x4, x8))
    x5 = rotate12(v128.xor(x5, x9))
    x6 = rotate12(v128.xor(x6, x10))
    x7 = rotate12(v128.xor(x7, x11))
    x0 = i32x4.add(x0, x4)
    x1 = i32x4.add(x1, x5)
    x2 = i32x4.add(x2, x6)
    x3 = i32x4.add(x3, x7)
    x12 = rotate8(v128.xor(x12, x0))
    x13 = rotate8(v128.xor(x13, x1))
    x14 = rotate8(v128.xor(x14, x2))
    x15 = rotate8(v128.xor(x15, x3))
    x8 = i32x4.add(x8, x12)
    x9 = i32x4.add(x9, x13)
    x10 = i32x4.add(x10, x14)
    x11 = i32x4.add(x11, x15)
    x4 = rotate7(v128.xor(x4, x8))
    x5 = rotate7(v128.xor(x5, x9))
    x6 = rotate7(v128.xor(x6, x10))
    x7 = rotate7(v128.xor(x7, x11))
    // Diagonals.
    x0 = i32x4.add(x0, x5)
    x1 = i32x4.add(x1, x6)
    x2 = i32x4.add(x2, x7)
    x3 = i32x4.add(x3, x4)
    x15 = rotate16(v128.xor(x15, x0))
    x12 = rotate16(v128.xor(x12, x1))
    x13 = rotate16(v128.xor(x13, x2))
    x14 = rotate16(v128.xor(x14, x3))
    x10 = i32x4.add(x10, x15)
    x11 = i32x4.add(x11, x12)
    x8 = i32x4.add(x8, x13)
    x9 = i32x4.add(x9, x14)
    x5 = rotate12(v128.xor(x5, x10))
    x6 = rotate12(v128.xor(x6, x11))
    x7 = rotate12(v128.xor(x7, x8))
    x4 = rotate12(v128.xor(x4, x9))
    x0 = i32x4.add(x0, x5)
    x1 = i32x4.add(x1, x6)
    x2 = i32x4.add(x2, x7)
    x3 = i32x4.add(x3, x4)
    x15 = rotate8(v128.xor(x15, x0))
    x12 = rotate8(v128.xor(x12, x1))
    x13 = rotate8(v128.xor(x13, x2))
    x14 = rotate8(v128.xor(x14, x3))
    x10 = i32x4.add(x10, x15)
    x11 = i32x4.add(x11, x12)
    x8 = i32x4.add(x8, x13)
    x9 = i32x4.add(x9, x14)
    x5 = rotate7(v128.xor(x5, x10))
    x6 = rotate7(v128.xor(x6, x11))
    x7 = rotate7(v128.xor(x7, x8))
    x4 = rotate7(v128.xor(x4, x9))
  }
  x0 = i32x4.add(x0, v128.load(CHACHA_STATE))
  x1 = i32x4.add(x1, v128.load(CHACHA_STATE, 16))
  x2 = i32x4.add(x2, v128.load(CHACHA_STATE, 32))
  x3 = i32x4.add(x3, v128.load(CHACHA_STATE, 48))
  x4 = i32x4.add(x4, v128.load(CHACHA_STATE, 64))
  x5 = i32x4.add(x5, v128.load(CHACHA_STATE, 80))
  x6 = i32x4.add(x6, v128.load(CHACHA_STATE, 96))
  x7 = i32x4.add(x7, v128.load(CHACHA_STATE, 112))
  x8 = i32x4.add(x8, v128.load(CHACHA_STATE, 128))
  x9 = i32x4.add(x9, v128.load(CHACHA_STATE, 144))
  x10 = i32x4.add(x10, v128.load(CHACHA_STATE, 160))
  x11 = i32x4.add(x11, v128.load(CHACHA_STATE, 176))
  x12 = i32x4.add(x12, counters)
  x13 = i32x4.add(x13, nonce0)
  x14 = i32x4.add(x14, nonce1)
  x15 = i32x4.add(x15, nonce2)
  xorQuarters(target, source, x0, x1, x2, x3)
  xorQuarters(target + 16, source + 16, x4, x5, x6, x7)
  xorQuarters(target + 32, source + 32, x8, x9, x10, x11)
  xorQuarters(target + 48, source + 48, x12, x13, x14, x15)
}

/** Four words of each block, turned from one vector a word into one vector a block, 64 bytes apart. */
function xorQuarters(target: usize, source: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab01 = i8x16.shuffle(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23)
  const ab23 = i8x16.shuffle(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31)
  const cd01 = i8x16.shuffle(c, d, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23)
  const cd23 = i8x16.shuffle(c, d, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31)
  v128.store(target, v128.xor(v128.load(source), lowHalves(ab01, cd01)))
  v128.store(target, v128.xor(v128.load(source, 64), highHalves(ab01, cd01)), 64)
  v128.store(target, v128.xor(v128.load(source, 128), lowHalves(ab23, cd23)), 128)
  v128.store(target, v128.xor(v128.load(source, 192), highHalves(ab23, cd23)), 192)
}

function lowHalves(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
}

function highHalves(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
}

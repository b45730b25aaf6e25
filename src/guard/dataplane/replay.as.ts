/**
 * AssemblyScript: which counters of a key were received (RFC 6479), exactly as wireguard/replay-window.ts, which is its
 * readable twin. A window is 16 bytes with the highest counter plus one, then a ring of 256 words of 32 bits.
 */

const RING: usize = 16
const WORDS: u64 = 256
const SIZE: u64 = (WORDS - 1) * 32
const LARGEST_COUNTER: u64 = (1 << 53) - 1
const TOO_LARGE: i32 = 1
const REPLAYED: i32 = 2

/** 0 when the counter is new and not too old, else TOO_LARGE or REPLAYED. Changes nothing. */
export function checkCounter(window: usize, counter: u64): i32 {
  if (counter > LARGEST_COUNTER) return TOO_LARGE
  const next = load<u64>(window)
  if (counter >= next) return 0
  if (counter + SIZE < next - 1) return REPLAYED
  return (load<u32>(wordOf(window, counter)) & bitOf(counter)) === 0 ? 0 : REPLAYED
}

/** Remembers the counter of an authenticated packet. */
export function markCounter(window: usize, counter: u64): void {
  const next = load<u64>(window)
  if (counter >= next) {
    // Before the first packet every word is clear.
    const from = next === 0 ? 0 : (next - 1) >> 5
    const steps = min((counter >> 5) - from, WORDS)
    for (let step: u64 = 1; step <= steps; step++) store<u32>(wordOf(window, (from + step) << 5), 0)
    store<u64>(window, counter + 1)
  }
  const word = wordOf(window, counter)
  store<u32>(word, load<u32>(word) | bitOf(counter))
}

/** Of a window that is all zero: every counter below `next` counts as received. */
export function startWindow(window: usize, next: f64): void {
  if (next <= 0) return
  const from = next as u64
  for (let at: u64 = 0; at < WORDS; at++) store<u32>(wordOf(window, at << 5), 0xffff_ffff)
  store<u32>(wordOf(window, from), bitOf(from) - 1)
  store<u64>(window, from)
}

function wordOf(window: usize, counter: u64): usize {
  return window + RING + ((((counter >> 5) & (WORDS - 1)) as usize) << 2)
}

function bitOf(counter: u64): u32 {
  return (1 as u32) << ((counter & 31) as u32)
}

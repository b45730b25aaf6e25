/**
 * AssemblyScript: Poly1305 (RFC 8439 §2.5) in five limbs of 26 bits. `p` is 2^130 - 5, so what a product carries beyond
 * 2^130 comes back times five.
 */

const MASK: u64 = 0x3ffffff

let r0: u64 = 0
let r1: u64 = 0
let r2: u64 = 0
let r3: u64 = 0
let r4: u64 = 0
let h0: u64 = 0
let h1: u64 = 0
let h2: u64 = 0
let h3: u64 = 0
let h4: u64 = 0
let key: usize = 0

/** The 32-byte one-time key at `address` must stay there until `finishPoly1305`. */
export function startPoly1305(address: usize): void {
  const low = load<u64>(address) & 0x0ffffffc0fffffff
  const high = load<u64>(address + 8) & 0x0ffffffc0ffffffc
  r0 = low & MASK
  r1 = (low >> 26) & MASK
  r2 = ((low >> 52) | (high << 12)) & MASK
  r3 = (high >> 14) & MASK
  r4 = high >> 40
  h0 = 0
  h1 = 0
  h2 = 0
  h3 = 0
  h4 = 0
  key = address + 16
}

/** Whole blocks of 16 bytes. */
export function updatePoly1305(address: usize, length: i32): void {
  const five1 = r1 * 5
  const five2 = r2 * 5
  const five3 = r3 * 5
  const five4 = r4 * 5
  const m0 = r0
  const m1 = r1
  const m2 = r2
  const m3 = r3
  const m4 = r4
  let a0 = h0
  let a1 = h1
  let a2 = h2
  let a3 = h3
  let a4 = h4
  for (const end = address + length; address < end; address += 16) {
    const low = load<u64>(address)
    const high = load<u64>(address, 8)
    a0 += low & MASK
    a1 += (low >> 26) & MASK
    a2 += ((low >> 52) | (high << 12)) & MASK
    a3 += (high >> 14) & MASK
    a4 += (high >> 40) | (1 << 24)
    const d0 = a0 * m0 + a1 * five4 + a2 * five3 + a3 * five2 + a4 * five1
    let d1 = a0 * m1 + a1 * m0 + a2 * five4 + a3 * five3 + a4 * five2
    let d2 = a0 * m2 + a1 * m1 + a2 * m0 + a3 * five4 + a4 * five3
    let d3 = a0 * m3 + a1 * m2 + a2 * m1 + a3 * m0 + a4 * five4
    let d4 = a0 * m4 + a1 * m3 + a2 * m2 + a3 * m1 + a4 * m0
    d1 += d0 >> 26
    d2 += d1 >> 26
    d3 += d2 >> 26
    d4 += d3 >> 26
    a0 = (d0 & MASK) + (d4 >> 26) * 5
    a1 = (d1 & MASK) + (a0 >> 26)
    a0 &= MASK
    a2 = d2 & MASK
    a3 = d3 & MASK
    a4 = d4 & MASK
  }
  h0 = a0
  h1 = a1
  h2 = a2
  h3 = a3
  h4 = a4
}

/** Writes the 16-byte tag. */
export function finishPoly1305(tag: usize): void {
  h2 += h1 >> 26
  h1 &= MASK
  h3 += h2 >> 26
  h2 &= MASK
  h4 += h3 >> 26
  h3 &= MASK
  h0 += (h4 >> 26) * 5
  h4 &= MASK
  h1 += h0 >> 26
  h0 &= MASK
  // h - p, which is the result when it is not negative; chosen without a branch.
  let g0 = h0 + 5
  let g1 = h1 + (g0 >> 26)
  let g2 = h2 + (g1 >> 26)
  let g3 = h3 + (g2 >> 26)
  const g4 = h4 + (g3 >> 26) - (1 << 26)
  const reduced: u64 = (g4 >> 63) - 1
  g0 = (h0 & ~reduced) | (g0 & MASK & reduced)
  g1 = (h1 & ~reduced) | (g1 & MASK & reduced)
  g2 = (h2 & ~reduced) | (g2 & MASK & reduced)
  g3 = (h3 & ~reduced) | (g3 & MASK & reduced)
  const last = (h4 & ~reduced) | (g4 & MASK & reduced)
  let sum = ((g0 | (g1 << 26)) & 0xffffffff) + load<u32>(key)
  store<u32>(tag, sum as u32)
  sum = (((g1 >> 6) | (g2 << 20)) & 0xffffffff) + load<u32>(key, 4) + (sum >> 32)
  store<u32>(tag, sum as u32, 4)
  sum = (((g2 >> 12) | (g3 << 14)) & 0xffffffff) + load<u32>(key, 8) + (sum >> 32)
  store<u32>(tag, sum as u32, 8)
  sum = (((g3 >> 18) | (last << 8)) & 0xffffffff) + load<u32>(key, 12) + (sum >> 32)
  store<u32>(tag, sum as u32, 12)
}

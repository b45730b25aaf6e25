/** AssemblyScript: struct iovec, whose pointers are those of the process and not of the packet memory. */

import { VECTORS } from './layout.as'

let base: u64 = 0

/** Where the packet memory is in the process. */
export function setBase(address: f64): void {
  base = address as u64
}

export function setVector(index: i32, address: usize, length: i32): void {
  const vector = VECTORS + ((index as usize) << 4)
  store<u64>(vector, base + (address as u64))
  store<u64>(vector + 8, length as u64)
}

/** AssemblyScript: the header of a transport data message (whitepaper §5.4.6) around the packets of segment.as.ts. */

import { prepareSeal, setNonce } from './aead.as'
import { checkCounter, markCounter } from './replay.as'
import { setVector } from './vectors.as'

const TYPE: u32 = 4
const HEADER: usize = 16
const OVERHEAD: i32 = 32
const MALFORMED: i32 = -1

/** Of the message that `beginOpen` looked at last. */
let counter: u64 = 0

/** Before sealing what is at `source`. */
export function beginMessage(source: usize, sendCounter: f64): void {
  setNonce(sendCounter as u64)
  prepareSeal(source)
}

/** After sealing `length` bytes to `target`: the header before them, and the iovec of the datagram. */
export function endMessage(target: usize, length: i32, receiver: u32, sendCounter: f64, vector: i32): void {
  const message = target - HEADER
  store<u32>(message, TYPE)
  store<u32>(message + 4, receiver)
  store<u64>(message + 8, sendCounter as u64)
  setVector(vector, message, length + OVERHEAD)
}

/** Whether a datagram is a transport data message, of whatever receiver. */
export function isTransport(datagram: usize, length: i32): bool {
  return length >= 4 && load<u32>(datagram) === TYPE
}

export function receiverOf(datagram: usize): u32 {
  return load<u32>(datagram + 4)
}

/** Sets the nonce and looks at the counter: 0, or why the message is dropped (replay.as.ts). */
export function beginOpen(datagram: usize, window: usize): i32 {
  counter = load<u64>(datagram + 8)
  setNonce(counter)
  return checkCounter(window, counter)
}

/** It was authentic: its counter is not accepted again. */
export function acceptMessage(window: usize): void {
  markCounter(window, counter)
}

/** The length of the packet within its padding, MALFORMED for what is no IP packet. Reads 16-aligned memory. */
export function packetLength(address: usize, padded: i32): i32 {
  const version = load<u8>(address) >> 4
  if (version === 4 && padded >= 20) {
    const length: i32 = bswap<u16>(load<u16>(address + 2))
    return length >= 20 && length <= padded ? length : MALFORMED
  }
  if (version === 6 && padded >= 40) {
    const length: i32 = 40 + (bswap<u16>(load<u16>(address + 4)) as i32)
    return length <= padded ? length : MALFORMED
  }
  return MALFORMED
}

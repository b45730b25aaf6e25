/** AssemblyScript: the header of a transport data message (whitepaper §5.4.6) around the packets of segment.as.ts. */

import { prepareSeal, setNonce } from './aead.as'
import { BEFORE } from './layout.as'
import { checkCounter, markCounter } from './replay.as'
import { segmentAddress, writeSegment } from './segment.as'

const TYPE: u32 = 4
const HEADER: usize = 16
const MALFORMED: i32 = -1

/** Of the message that `beginOpen` looked at last. */
let counter: u64 = 0

/** Before sealing what is at `source`. The datagram in front of this one keeps its end. */
export function beginMessage(target: usize, source: usize, sendCounter: f64): void {
  setNonce(sendCounter as u64)
  prepareSeal(source)
  v128.store(BEFORE, v128.load(target - 64))
  v128.store(BEFORE, v128.load(target - 48), 16)
  v128.store(BEFORE, v128.load(target - 32), 32)
}

/** The same with packet `index` of segment.as.ts. Its length with padding. */
export function beginSegment(target: usize, index: i32, sendCounter: f64): i32 {
  const padded = writeSegment(index)
  beginMessage(target, segmentAddress(index), sendCounter)
  return padded
}

/** After sealing to `target`: the header before it. */
export function endMessage(target: usize, receiver: u32, sendCounter: f64): void {
  v128.store(target - 64, v128.load(BEFORE))
  v128.store(target - 48, v128.load(BEFORE, 16))
  v128.store(target - 32, v128.load(BEFORE, 32))
  const message = target - HEADER
  store<u32>(message, TYPE)
  store<u32>(message + 4, receiver)
  store<u64>(message + 8, sendCounter as u64)
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

/** It was authentic: its counter is not accepted again. The `packetLength` of what is at `address`, 0 for nothing. */
export function acceptMessage(window: usize, address: usize, padded: i32): i32 {
  markCounter(window, counter)
  return padded === 0 ? 0 : packetLength(address, padded)
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

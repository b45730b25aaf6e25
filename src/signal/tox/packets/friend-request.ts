/** Friend request as carried by the onion (Tox specification, "Friend requests"). */

import { concatBytes } from '../../../util/bytes.ts'
import { type Nospam, nospamOf } from '../tox-id.ts'
import { largestOnionData } from './onion-data.ts'

export const friendRequestId = 0x20

/** Longest message every version of c-toxcore takes. */
export const longestFriendRequestMessage = 921

export interface FriendRequest {
  readonly nospam: Nospam
  /** 1..1016 bytes, UTF-8 by convention. */
  readonly message: Uint8Array
}

/** 0x20 (1) || nospam (4) || message */
export function encodeFriendRequest(request: FriendRequest): Uint8Array {
  return concatBytes(Uint8Array.of(friendRequestId), request.nospam, request.message)
}

/** Both fields are copied. */
export function decodeFriendRequest(plain: Uint8Array): FriendRequest | undefined {
  if (plain[0] !== friendRequestId || plain.length < 6 || plain.length > largestOnionData) return undefined
  const nospam = nospamOf(plain.slice(1, 5))
  return nospam === undefined ? undefined : { nospam, message: plain.slice(5) }
}

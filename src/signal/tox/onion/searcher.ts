/** One use of announce requests: our own announcement, or the search for a friend. */

import { type KeyPair, publicKeyBytes } from '../crypto.ts'
import { PeerBox } from '../peer-box.ts'
import { AnnounceList } from './announce-list.ts'
import type { PathPool } from './path-pool.ts'

export interface Searcher {
  /** The long-term key that is announced or searched. */
  readonly searched: Uint8Array
  /** Our onion data key when announcing, zeros when searching. */
  readonly dataKey: Uint8Array
  /** The key requests are made with, and its boxes. */
  readonly sender: Uint8Array
  readonly box: PeerBox
  readonly list: AnnounceList
  readonly pool: PathPool
}

const ownCapacity = 12
const friendCapacity = 8

export function ownSearcher(
  keyPair: KeyPair,
  options: { readonly dataKey: Uint8Array; readonly box: PeerBox; readonly pool: PathPool },
): Searcher {
  const { publicKey } = keyPair
  return { ...options, searched: publicKey, sender: publicKey, list: new AnnounceList(publicKey, ownCapacity) }
}

/** Made with a key pair of its own, so that the requests do not tell who looks for the friend. */
export function friendSearcher(
  friend: Uint8Array,
  options: { readonly keyPair: KeyPair; readonly pool: PathPool },
): Searcher {
  return {
    searched: friend,
    dataKey: new Uint8Array(publicKeyBytes),
    sender: options.keyPair.publicKey,
    box: new PeerBox({ secretKey: options.keyPair.secretKey, capacity: 64 }),
    list: new AnnounceList(friend, friendCapacity),
    pool: options.pool,
  }
}

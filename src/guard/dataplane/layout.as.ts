/**
 * AssemblyScript (`*.as.ts`): where the kernels keep what outlives a call, in the packet memory of their worker. The first
 * 64 KiB are the compiler's, the next 64 KiB are here; what comes after belongs to the caller. The exported ones are
 * read by packet-memory.ts, so that this is the only place that says them.
 */

/** ChaCha20's last four words: the block counter (zero), then the 12-byte nonce of RFC 8439. */
export const NONCE: usize = 0x10000
/** Bytes that a call overwrote and a later one puts back. */
export const SAVED: usize = 0x10040
/** The tag computed over a datagram. */
export const TAG: usize = 0x10080
/** The headers of the packet being segmented, 256 bytes. */
export const TEMPLATE: usize = 0x10100
/** ChaCha20's first twelve words, each four times. */
export const CHACHA_STATE: usize = 0x10200
/** Keystream and the ends of packets, 256 bytes. */
export const KEYSTREAM: usize = 0x10300
/** The last, padded block of a Poly1305 message. */
export const LAST_BLOCK: usize = 0x10400
/** The bytes before a datagram that sealing its packet overwrites, 48. */
export const BEFORE: usize = 0x10440
/** The begin of a payload that the padding before it overwrote, 16 bytes. */
export const UNDER_PADDING: usize = 0x10480
/** OpenSSL's POLY1305 object. */
export const POLY1305_CONTEXT: usize = 0x10800
/** struct iovec, 16 bytes each; the rest of the page is theirs. */
export const VECTORS: usize = 0x11000

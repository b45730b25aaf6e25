/** The numbers of OTR v3 and the ones we chose. */

// ---- From the specification ("Off-the-Record Messaging Protocol version 3")

export const protocolVersion = 3

/** "Overview of the protocol / data types": RFC 3526 group 5, 1536 bits, generator 2. */
export const dhModulus: bigint = BigInt(
  `0x${[
    'FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD',
    'EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED',
    'EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F',
    '83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF',
  ].join('')}`,
)

/** The order of the subgroup that 2 generates. */
export const dhOrder: bigint = (dhModulus - 1n) / 2n

export const dhBytes = 192

/** "The private exponents are at least 320 bits": 40 bytes. */
export const dhExponentBytes = 40

/** "Instance tags": smaller ones are reserved, 0 stands for "not known yet". */
export const minimumInstanceTag = 0x100

/** The key that "Public keys, signatures, and fingerprints" describes has a 1024-bit p and a 160-bit q. */
export const dsaModulusBytes = 128
export const dsaOrderBytes = 20

export const messageTypes = {
  dhCommit: 0x02,
  data: 0x03,
  dhKey: 0x0a,
  revealSignature: 0x11,
  signature: 0x12,
} as const

/** "TLV record types". */
export const tlvTypes = {
  padding: 0,
  disconnected: 1,
  smp1: 2,
  smp2: 3,
  smp3: 4,
  smp4: 5,
  smpAbort: 6,
  smp1Question: 7,
  extraSymmetricKey: 8,
} as const

/** Flag of a data message: who cannot read it stays silent. */
export const ignoreUnreadable = 0x01

// ---- Our choice

/** Longest text we look at, in characters: thirty times what we ever send, small enough to be hashed in a moment. */
export const maximumTextLength = 65_536

/** Most pieces of one fragmented text: 32 × 1200 bytes, what we put in a Tox message, is enough for everything we send. */
export const maximumFragments = 32

/** Longest question of an SMP 1 that we show to anybody, in bytes. */
export const maximumQuestionBytes = 1024

/** Answering something with a heartbeat after this long a silence keeps the keys moving (as libotr does), ms. */
export const heartbeatAfter = 60_000

/** First wait for an agreement to complete, ms. Five round trips through the slowest onion path we saw. */
export const firstWait = 5_000

/** Longest wait between two attempts at an agreement, ms. */
export const longestWait = 60_000

/** At most one error reply in this time, ms: errors provoke queries, and two ends must not feed each other. */
export const errorReplyInterval = 5_000

/** At most one agreement is begun because of an unauthenticated hint in this time, ms; a hint that comes earlier waits. */
export const hintInterval = 2_000

/** Old MAC keys kept for the next data message. More only come together when a peer rotates without being answered. */
export const maximumOldMacKeys = 64

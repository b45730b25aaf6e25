/** Numbers of the WireGuard protocol (whitepaper §6 and §5.4), and our own choices beside them. Times in ms. */

// From the specification.

/** §5.4: the Noise construction, hashed into the first chaining key. */
export const CONSTRUCTION = 'Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s'
/** §5.4: hashed after the construction. */
export const IDENTIFIER = 'WireGuard v1 zx2c4 Jason@zx2c4.com'
/** §5.4: prefix of the mac1 key. */
export const LABEL_MAC1 = 'mac1----'
/** §5.4: prefix of the cookie key. */
export const LABEL_COOKIE = 'cookie--'
/** §6.1: the initiator replaces a key of this age when it sends. */
export const REKEY_AFTER_TIME = 120_000
/** §6.1: nothing is sent or accepted under a key of this age. */
export const REJECT_AFTER_TIME = 180_000
/** §6.1: initiations are repeated for this long. */
export const REKEY_ATTEMPT_TIME = 90_000
/** §6.1: an unanswered initiation is repeated after this long, plus jitter. */
export const REKEY_TIMEOUT = 5_000
/** §6.1: data that was not answered otherwise is answered by an empty packet after this long. */
export const KEEPALIVE_TIMEOUT = 10_000
/** §5.4.7 and §6.6: life of a cookie, and of the secret it is made from. */
export const COOKIE_TIME = 120_000

// Our choice.

/**
 * §6.1 says 2^60 and 2^64 - 2^13 - 1. Counters here are exact numbers below 2^53, so both limits are lower; a key lives
 * for 180 s, in which nobody sends 2^51 packets.
 */
export const REKEY_AFTER_MESSAGES: number = 2 ** 51
export const REJECT_AFTER_MESSAGES: number = 2 ** 52
/** §6.1 asks for a little jitter on retransmission, so that two initiators do not stay in step. */
export const RETRANSMIT_JITTER = 334
/** The delays before an initiation that was asked for by a fresh path is repeated; then REKEY_TIMEOUT as ever. */
export const EAGER_RETRANSMIT: readonly number[] = [500, 1_000, 2_000]
/** Two initiations to one peer are never closer than this: responders drop what follows within 50 ms. */
export const INITIATION_SPACING = 100
/** An initiation that follows the last accepted one of the same peer within this time is dropped as a flood. */
export const INITIATION_FLOOD = 50
/** With no answer to what was sent for this long, the path is reported as doubtful. */
export const UNANSWERED_AFTER = 1_000
/** More handshake messages than this within a second put the device under load (§5.3): senders need a cookie. */
export const UNDER_LOAD_MESSAGES = 100
/** It stays under load for this long after the last second that was too full. */
export const UNDER_LOAD_TIME = 1_000
/** §5.3 leaves the rate to us: handshake messages a second, and at once, of one address while under load. */
export const ADDRESS_RATE = 20
export const ADDRESS_BURST = 5
/** Addresses the rate limiter remembers; when it is full, new addresses wait for an old one to be forgotten. */
export const ADDRESS_LIMIT = 4_096
/** Packets that wait for a session, of one peer. The oldest is dropped. */
export const QUEUE_LIMIT = 128
/** How often the data plane says what it did, when nothing is urgent. */
export const REPORT_INTERVAL = 100

/** The numbers of ICE (RFC 8445) and of our own way with it. Times in ms. docs/ice.md gives the longer reasons. */

// From the specification

/** RFC 8445 §5.1.2.2. */
export const typePreferences = { host: 126, 'peer-reflexive': 110, 'server-reflexive': 100, relayed: 0 } as const
/** RFC 8445 §5.1.2.1: the only component. */
export const componentId = 1
/** RFC 8445 §14.2: no two checks follow one another faster. */
export const minimumPacing = 5
/** RFC 8445 §14.2, the default Ta. */
export const standardPacing = 50

// Our choice

/** Ta while a punch is young: a handful of checks of 100 bytes, and every round trip saved is seen by a person. */
export const youngPacing = 20
export const youngFor = 1000
/** A check is sent again after this at first: the other NAT's filter eats what comes before its own side has sent. */
export const minimumCheckInterval = 100
/** How long a pair is checked at that pace, before it is checked more and more rarely. */
export const quickCheckFor = 2000
/** Never rarer than this while the punch is wanted: NAT mappings stay, and a late peer is met soon. */
export const maximumCheckInterval = 1000
/** A better pair is hoped for until its first check is this old (or a round trip, up to the maximum), then no more. */
export const minimumPatience = 50
export const maximumPatience = 100
/** A nomination that got no answer for so long is taken back. */
export const nominationTimeout = 2000
/** More than any honest peer has; bounds memory and packets. */
export const maximumPairs = 32
/** Answers to a check are taken for so long. */
export const transactionLifetime = 10_000

/**
 * The numbers of STUN (RFC 8489) and of ICE's use of it (RFC 8445) that we speak, under their registered names.
 * stun-registry.test.ts holds them against the IANA tables.
 */

// From the specification

/** RFC 8489 §5. */
export const magicCookie = 0x2112_a442
/** RFC 8489 §5: type, length, cookie, transaction id. */
export const headerSize = 20

/** RFC 8489 §18.2. */
export const stunMethods = { Binding: 0x001 } as const

/** RFC 8489 §18.3, RFC 8445 §20.1. Types below 0x8000 must be understood by who receives them. */
export const stunAttributes = {
  'MAPPED-ADDRESS': 0x0001,
  USERNAME: 0x0006,
  'MESSAGE-INTEGRITY': 0x0008,
  'ERROR-CODE': 0x0009,
  'UNKNOWN-ATTRIBUTES': 0x000a,
  'MESSAGE-INTEGRITY-SHA256': 0x001c,
  'XOR-MAPPED-ADDRESS': 0x0020,
  PRIORITY: 0x0024,
  'USE-CANDIDATE': 0x0025,
  SOFTWARE: 0x8022,
  FINGERPRINT: 0x8028,
  'ICE-CONTROLLED': 0x8029,
  'ICE-CONTROLLING': 0x802a,
} as const

/** RFC 8489 §14.8, RFC 8445 §20.2. */
export const stunErrors = {
  'Bad Request': 400,
  Unauthorized: 401,
  'Unknown Attribute': 420,
  'Role Conflict': 487,
  'Server Error': 500,
} as const

/** RFC 8489 §14: attributes of these types must be understood, or the request is answered with 420. */
export function isComprehensionRequired(type: number): boolean {
  return type < 0x8000
}

// Our choice

/**
 * Fills a request up to a size. PADDING (RFC 5780 §7.6) would do, but receivers must understand that one or refuse the
 * request. This type is unassigned, in the range of those that are ignored when unknown (RFC 8489 §14).
 */
export const fillerType = 0xfe17

/** Nothing we speak comes near it; a longer datagram is not looked at. */
export const maximumMessageSize = 1500
/** Bounds the work one datagram can cause. */
export const maximumAttributes = 32

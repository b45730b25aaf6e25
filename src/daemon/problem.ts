/** Errors on the control socket: problem details (RFC 9457) with our code and hint, and back again. */

import { type ErrorCode, errorMessage, PunchGuardError } from '../api/errors.ts'

export interface Problem {
  /** `urn:punchguard:error:PEER_UNKNOWN` */
  readonly type: string
  readonly title: string
  /** HTTP status. */
  readonly status: number
  /** What happened, one line. */
  readonly detail: string
  readonly code: ErrorCode
  /** What to do, one line. */
  readonly hint: string
}

/** Per code: HTTP status and title. docs/errors.md explains each. */
export const errorCodes: Readonly<Record<ErrorCode, readonly [status: number, title: string]>> = {
  ADDRESS_IN_USE: [409, 'An address is in use already'],
  CARD_INVALID: [400, 'A card cannot be used'],
  CONFIG_INVALID: [400, 'The configuration is wrong'],
  DAEMON_FAILED: [500, 'The daemon failed'],
  DAEMON_NOT_RUNNING: [503, 'The daemon is not running'],
  DAEMON_RUNNING: [409, 'The daemon is running already'],
  GUARD_UNAVAILABLE: [503, 'The tunnel cannot be opened on this machine'],
  INVITE_EXPIRED: [410, 'The invite expired'],
  INVITE_INVALID: [400, 'An invite cannot be used'],
  INVITE_OWN: [400, 'The invite was made by this device'],
  INVITE_USED: [409, 'The invite was used already'],
  PEER_EXISTS: [409, 'The device is paired already'],
  PEER_REFUSED: [403, 'The other device is not who it should be'],
  PEER_UNKNOWN: [404, 'There is no such peer'],
  PERMISSION_DENIED: [403, 'Permission denied'],
  PUNCH_NO_PATH: [503, 'No path to the peer'],
  STATE_DAMAGED: [500, 'A stored file is damaged'],
  STATE_UNWRITABLE: [507, 'A file could not be written'],
  TIMEOUT: [504, 'The other device did not answer in time'],
  USAGE: [400, 'The request is wrong'],
}

export function problemOf(error: unknown, options: { readonly status?: number } = {}): Problem {
  const known =
    error instanceof PunchGuardError
      ? error
      : new PunchGuardError('DAEMON_FAILED', errorMessage(error), {
          hint: 'this is a fault of PunchGuard: punchguard logs shows more',
          cause: error,
        })
  const [status, title] = errorCodes[known.code]
  return {
    type: `urn:punchguard:error:${known.code}`,
    title,
    status: options.status ?? status,
    detail: known.message,
    code: known.code,
    hint: known.hint,
  }
}

/** The error a problem was made from; a DAEMON_FAILED for anything that is none. */
export function errorOf(value: unknown): PunchGuardError {
  if (typeof value === 'object' && value !== null && 'code' in value && 'detail' in value && 'hint' in value) {
    const { code, detail, hint } = value
    if (isErrorCode(code) && typeof detail === 'string' && typeof hint === 'string') {
      return new PunchGuardError(code, detail, { hint })
    }
  }
  return new PunchGuardError('DAEMON_FAILED', 'the daemon gave an answer that makes no sense', {
    hint: 'it may be another version: punchguard stop, then try again',
  })
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorCodes, code)
}

/**
 * The one error class a caller sees. `message` says what happened, `hint` what to do about it; `code` is stable.
 * Bad input from the network is never an error: it is dropped and counted where it arrives.
 */

export type ErrorCode =
  | 'ADDRESS_IN_USE'
  | 'CARD_INVALID'
  | 'CONFIG_INVALID'
  | 'DAEMON_FAILED'
  | 'DAEMON_NOT_RUNNING'
  | 'DAEMON_RUNNING'
  | 'GUARD_UNAVAILABLE'
  | 'INVITE_EXPIRED'
  | 'INVITE_INVALID'
  | 'INVITE_OWN'
  | 'INVITE_USED'
  | 'PEER_EXISTS'
  | 'PEER_REFUSED'
  | 'PEER_UNKNOWN'
  | 'PERMISSION_DENIED'
  | 'PUNCH_NO_PATH'
  | 'STATE_DAMAGED'
  | 'STATE_UNWRITABLE'
  | 'TIMEOUT'
  | 'USAGE'

export class PunchGuardError extends Error {
  override readonly name: string = 'PunchGuardError'
  readonly code: ErrorCode
  /** One line: what a person can do. */
  readonly hint: string

  constructor(code: ErrorCode, message: string, options: { readonly hint: string; readonly cause?: unknown }) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = code
    this.hint = options.hint
  }
}

/** The message of anything that was thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

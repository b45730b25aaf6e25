/**
 * The daemon's log: one logfmt line per event in daemon.log (mode 0600), and on standard error when it runs in the
 * foreground. At 1 MiB the file becomes daemon.log.1, in the place of the one before.
 *
 *     time=2026-11-22T10:30:00.123Z level=info msg="home is connected" peer=home state=connected
 */

import { appendFileSync, chmodSync, renameSync, statSync } from 'node:fs'
import { SecretKey, shortKey } from '../api/keys.ts'
import { fileError, systemErrorName } from '../net/state-folder.ts'
import type { Clock } from '../util/clock.ts'
import type { LogFields, Logger, LogLevel } from '../util/logger.ts'
import { formatUtc } from '../util/wall-time.ts'

/** Our choice: some days of a busy device. */
const maximumLogBytes = 1024 * 1024
const maximumLineBytes = 4096

export interface LogOptions {
  readonly path: string
  readonly clock: Clock
  /** Leave debug lines out when false. */
  readonly verbose: boolean
  /** Where else each line goes. */
  readonly also?: (line: string) => void
}

/** @throws PunchGuardError STATE_UNWRITABLE when the file cannot be written at the start; later failures are ignored. */
export function openLog(options: LogOptions): Logger {
  const { path, clock, also } = options
  let size = 0
  const append = (text: string): void => {
    if (size + text.length > maximumLogBytes) {
      renameSync(path, `${path}.1`)
      size = 0
    }
    appendFileSync(path, text, { mode: 0o600 })
    size += text.length
  }
  try {
    size = sizeOf(path)
    append('')
    chmodSync(path, 0o600)
  } catch (error) {
    throw fileError(error, { code: 'STATE_UNWRITABLE', what: `${path} could not be written` })
  }
  const write = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    const line = formatLine({ level, message, fields, time: clock.wallTime() })
    also?.(line)
    try {
      append(`${line}\n`)
    } catch {
      // A full disk must not stop the tunnel; standard error still has the line in the foreground.
    }
  }
  return {
    debug: (message, fields) => (options.verbose ? write('debug', message, fields) : undefined),
    info: (message, fields) => write('info', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    error: (message, fields) => write('error', message, fields),
  }
}

export function formatLine(event: {
  readonly time: number
  readonly level: LogLevel
  readonly message: string
  readonly fields: LogFields
}): string {
  const words = [`time=${formatUtc(event.time)}`, `level=${event.level}`, `msg=${quoted(event.message)}`]
  for (const [name, value] of Object.entries(event.fields)) {
    if (value !== undefined) words.push(`${name}=${quoted(asText(value))}`)
  }
  const line = words.join(' ')
  return line.length > maximumLineBytes ? `${line.slice(0, maximumLineBytes)}…` : line
}

/** Secret keys turn into `[secret]` by themselves (api/keys.ts). */
function asText(value: unknown): string {
  if (typeof value === 'string' || value instanceof SecretKey) return String(value)
  if (value instanceof Error) return value.message
  if (value instanceof Uint8Array) return shortKey(value)
  return JSON.stringify(value) ?? String(value)
}

function quoted(text: string): string {
  return /^[\w.:/+@-]+$/.test(text) ? text : JSON.stringify(text)
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size
  } catch (error) {
    if (systemErrorName(error) === 'ENOENT') return 0
    throw error
  }
}

/**
 * How the command line speaks. Commands use these functions and nothing else, so that these rules hold everywhere:
 *
 * - What was asked for goes to standard output; everything said about it goes to standard error. So
 *   `CODE=$(punchguard pair --no-wait)` and `punchguard export > card` work as one expects.
 * - An error is two lines on standard error: `punchguard: error: ` what happened, `punchguard: hint: ` what to do. The
 *   exit status is 1, or 2 when the command line itself was wrong.
 * - With --json, standard output holds JSON only, one value a line.
 * - Nothing is asked when there is no terminal, and nothing that was not asked for is destroyed without asking.
 * - Colour is for terminals, and never the only carrier of a meaning. NO_COLOR switches it off.
 * - Text of other devices is printed only after pairing/ or api/ has parsed it.
 */

import { createInterface } from 'node:readline'
import type { PunchGuardError } from '../api/errors.ts'
import { formatClock } from '../util/wall-time.ts'

export type Colour = 'green' | 'yellow' | 'red' | 'dim' | 'bold'

const codes: Readonly<Record<Colour, string>> = { green: '32', yellow: '33', red: '31', dim: '2', bold: '1' }

/** Whether a person reads standard output. */
export const toTerminal: boolean = process.stdout.isTTY === true

/** Whether a person can answer. */
export const interactive: boolean = process.stdin.isTTY === true && process.stderr.isTTY === true

const { NO_COLOR: noColour = '' } = process.env
const coloured = noColour === ''

// `punchguard logs | head`: who reads no more wants no more. What cannot be said aloud is not worth dying for.
process.stdout.on('error', () => process.exit(0))
process.stderr.on('error', () => {})

/** A line of the result. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** One JSON value on a line of its own. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

/** A line about what is going on. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** A line about what is going on, with the time of day. */
export function step(at: number, line: string): void {
  note(`${onStderr('dim', formatClock(at))}  ${line}`)
}

/** Something to do that is not about an error. */
export function hint(line: string): void {
  note(`punchguard: hint: ${line}`)
}

export function printError(error: Pick<PunchGuardError, 'message' | 'hint'>): void {
  note(`punchguard: ${onStderr('red', 'error')}: ${oneLine(error.message)}`)
  hint(oneLine(error.hint))
}

/** Coloured for standard output. */
export function colour(name: Colour, text: string): string {
  return toTerminal && coloured ? `\u001b[${codes[name]}m${text}\u001b[0m` : text
}

/** Asks a question that `y` or `yes` answers; anything else means no. Only call it when `interactive`. */
export function confirm(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  return new Promise((resolve) => {
    lines.once('close', () => resolve(false))
    lines.question(`${question} [y/N] `, (answer) => {
      resolve(/^y(es)?$/i.test(answer.trim()))
      lines.close()
    })
  })
}

function onStderr(name: Colour, text: string): string {
  return process.stderr.isTTY === true && coloured ? `\u001b[${codes[name]}m${text}\u001b[0m` : text
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ')
}

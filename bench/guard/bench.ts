/** What every part of the bench is given, and how it says what it found. */

import { median } from '../../lab/steps.ts'
import { errorMessage } from '../../src/api/errors.ts'
import type { Figure } from '../figures.ts'
import type { TwoNamespaces } from '../two-namespaces.ts'
import type { WireguardGo } from './carriers.ts'

export interface Bench {
  readonly spaces: TwoNamespaces
  readonly wireguardGo: WireguardGo
  readonly rounds: number
  /** Of one run of iperf3. */
  readonly seconds: number
  /** What did not work, for people. */
  readonly failures: string[]
}

export function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Does one thing; when it fails, that is noted, every program is ended, and the bench goes on. */
export async function attempt({ spaces, failures }: Bench, what: string, run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    failures.push(`${what}: ${errorMessage(error)}`)
    note(`${what}: ${errorMessage(error)}`)
    await spaces.endPrograms()
  }
}

/** What `newest` really is. */
export function nameOfNewest({ wireguardGo }: Bench): string {
  return wireguardGo.isNewest ? 'wireguard-go (newest)' : 'wireguard-go (Debian)'
}

/** A figure without a bar. */
export function figure(name: string, unit: string, values: readonly number[]): Figure {
  return { name, value: median(values), unit, runs: values.length }
}

export function atLeast(bar: number, measured: Figure): Figure {
  return { ...measured, bar, more: true }
}

/** Median over median. */
export function ratio(name: string, own: readonly number[], other: readonly number[]): Figure {
  return { name, value: median(own) / median(other), unit: 'x', runs: Math.min(own.length, other.length) }
}

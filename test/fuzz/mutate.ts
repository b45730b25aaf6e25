/** What a fuzz target is, and the changes that all of them make to valid messages. Everything follows from the generator. */

import type { Generator } from '../../lab/model/generator.ts'

export interface FuzzTarget {
  readonly name: string
  /** Gives `count` inputs. @throws AssertionError for the first that changes what it must not */
  readonly run: (generator: Generator, count: number) => FuzzResult
}

export interface FuzzResult {
  readonly inputs: number
  /** What became of them. */
  readonly reasons: Readonly<Record<string, number>>
}

export class Tally {
  readonly #counts: Map<string, number> = new Map()

  count(reason: string, by = 1): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + by)
  }

  result(inputs: number): FuzzResult {
    return { inputs, reasons: Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1))) }
  }
}

export function pick<Value>(generator: Generator, values: readonly Value[]): Value {
  const value = values[generator.below(values.length)]
  if (value === undefined) throw new Error('There is nothing to pick from')
  return value
}

export function randomBytes(generator: Generator, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at++) bytes[at] = generator.uint32() >>> 24
  return bytes
}

/** Numbers at which counters and lengths turn over, beside those that a target knows. */
const edges = [0, 1, 2, 3, 4, 0x7f, 0xff, 0x7fff, 0xffff, 0x1fffff, 0x200000, 0x7fffffff, 0x80000000, 0xffffffff]

export interface MutateOptions {
  readonly generator: Generator
  readonly samples: readonly Uint8Array[]
  /** 32-bit numbers that mean something at the other end. */
  readonly numbers: readonly number[]
  /** Where the 32-bit fields are. */
  readonly fields: readonly number[]
}

/** A changed copy of one of the samples; one in a hundred is unchanged. */
export function mutate(options: MutateOptions): Uint8Array {
  const { generator } = options
  const bytes = Uint8Array.from(pick(generator, options.samples))
  const kind = generator.below(100)
  if (kind === 0) return bytes
  if (kind < 45) return flip(bytes, generator)
  if (kind < 60) return setField(bytes, options)
  if (kind < 75) return bytes.subarray(0, generator.below(bytes.length + 1))
  if (kind < 85) return join(bytes, randomBytes(generator, 1 + generator.below(64)))
  if (kind < 93) return splice(bytes, pick(generator, options.samples), generator)
  return randomMessage(options)
}

/** One to three bytes, anywhere. */
function flip(bytes: Uint8Array, generator: Generator): Uint8Array {
  for (let left = 1 + generator.below(3); left > 0 && bytes.length > 0; left--) {
    const at = generator.below(bytes.length)
    bytes[at] = (bytes[at] ?? 0) ^ (1 + generator.below(255))
  }
  return bytes
}

function setField(bytes: Uint8Array, { generator, numbers, fields }: MutateOptions): Uint8Array {
  const at = pick(generator, fields)
  const value = pick(generator, generator.below(2) === 0 ? edges : numbers)
  if (at + 4 <= bytes.length) new DataView(bytes.buffer).setUint32(at, value, true)
  return bytes
}

/** The begin of one and the end of another. */
function splice(first: Uint8Array, second: Uint8Array, generator: Generator): Uint8Array {
  const at = generator.below(Math.min(first.length, second.length) + 1)
  return join(first.subarray(0, at), second.subarray(at))
}

/** Random but for the type. */
function randomMessage({ generator }: MutateOptions): Uint8Array {
  const bytes = randomBytes(generator, generator.below(256))
  if (bytes.length >= 4 && generator.below(4) > 0) bytes.set([generator.below(6), 0, 0, 0])
  return bytes
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

export function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at])
}

/**
 * The four messages of the Socialist Millionaires' Protocol ("Socialist Millionaires' Protocol (SMP)"): two ends learn
 * whether their secrets are equal and nothing else. Pure: every step gives the next state and the record to send,
 * `undefined` when the other end's values do not verify.
 *
 * A is who sent SMP 1, B who answers. Names are the specification's.
 */

import type { Random } from '../../util/random.ts'
import { dhModulus } from './constants.ts'
import { inverse } from './encoding.ts'
import {
  areChallenges,
  areGroupElements,
  areResponses,
  power,
  product,
  randomExponent,
  response,
  smpHash,
} from './smp-values.ts'

const g1 = 2n

/** A after SMP 1. */
export interface Expect2 {
  readonly x: bigint
  readonly a2: bigint
  readonly a3: bigint
}

/** B after SMP 1, before the secret is there. */
export interface Asked {
  readonly g2a: bigint
  readonly g3a: bigint
}

/** B after SMP 2. */
export interface Expect3 {
  readonly g2: bigint
  readonly g3: bigint
  readonly b3: bigint
  readonly g3a: bigint
  readonly pb: bigint
  readonly qb: bigint
}

/** A after SMP 3. */
export interface Expect4 {
  readonly a3: bigint
  readonly g3b: bigint
  /** Pa/Pb and Qa/Qb. */
  readonly pRatio: bigint
  readonly qRatio: bigint
}

export function makeSmp1(x: bigint, random: Random): { readonly state: Expect2; readonly values: bigint[] } {
  const [a2, a3] = [randomExponent(random), randomExponent(random)]
  return { state: { x, a2, a3 }, values: [...proveKnown(a2, 1, random), ...proveKnown(a3, 2, random)] }
}

export function checkSmp1(values: readonly bigint[]): Asked | undefined {
  const [g2a = 0n, c2 = 0n, d2 = 0n, g3a = 0n, c3 = 0n, d3 = 0n] = values
  const good = isKnown({ value: g2a, c: c2, d: d2 }, 1) && isKnown({ value: g3a, c: c3, d: d3 }, 2)
  return good ? { g2a, g3a } : undefined
}

export function makeSmp2(
  { g2a, g3a }: Asked,
  y: bigint,
  random: Random,
): { readonly state: Expect3; readonly values: bigint[] } {
  const [b2, b3] = [randomExponent(random), randomExponent(random)]
  const [g2, g3] = [power(g2a, b2), power(g3a, b3)]
  const { p: pb, q: qb, proof } = commitTo({ g2, g3, secret: y, version: 5 }, random)
  const known = [...proveKnown(b2, 3, random), ...proveKnown(b3, 4, random)]
  return { state: { g2, g3, b3, g3a, pb, qb }, values: [...known, pb, qb, ...proof] }
}

export function makeSmp3(
  { x, a2, a3 }: Expect2,
  smp2: readonly bigint[],
  random: Random,
): { readonly state: Expect4; readonly values: bigint[] } | undefined {
  const [g2b = 0n, c2 = 0n, d2 = 0n, g3b = 0n, c3 = 0n, d3 = 0n, pb = 0n, qb = 0n, cp = 0n, d5 = 0n, d6 = 0n] = smp2
  if (!isKnown({ value: g2b, c: c2, d: d2 }, 3) || !isKnown({ value: g3b, c: c3, d: d3 }, 4)) return undefined
  const [g2, g3] = [power(g2b, a2), power(g3b, a3)]
  if (!isCommitted({ g2, g3, p: pb, q: qb, c: cp, d5, d6, version: 5 })) return undefined
  const { p: pa, q: qa, proof } = commitTo({ g2, g3, secret: x, version: 6 }, random)
  const [pRatio, qRatio] = [ratio(pa, pb), ratio(qa, qb)]
  if (pa === pb || !areGroupElements(qRatio)) return undefined
  const values = [pa, qa, ...proof, ...proveRatio({ exponent: a3, qRatio, version: 7 }, random)]
  return { state: { a3, g3b, pRatio, qRatio }, values }
}

/** B's last step: whether the secrets are equal, and the values of SMP 4. */
export function makeSmp4(
  { g2, g3, b3, g3a, pb, qb }: Expect3,
  smp3: readonly bigint[],
  random: Random,
): { readonly equal: boolean; readonly values: bigint[] } | undefined {
  const [pa = 0n, qa = 0n, cp = 0n, d5 = 0n, d6 = 0n, ra = 0n, cr = 0n, d7 = 0n] = smp3
  if (!isCommitted({ g2, g3, p: pa, q: qa, c: cp, d5, d6, version: 6 })) return undefined
  const qRatio = ratio(qa, qb)
  if (pa === pb || !areGroupElements(qRatio)) return undefined
  if (!isRatio({ key: g3a, qRatio, r: ra, c: cr, d: d7, version: 7 })) return undefined
  const values = proveRatio({ exponent: b3, qRatio, version: 8 }, random)
  return { equal: power(ra, b3) === ratio(pa, pb), values }
}

/** A's last step: whether the secrets are equal. */
export function checkSmp4(
  { a3, g3b, pRatio, qRatio }: Expect4,
  smp4: readonly bigint[],
): { readonly equal: boolean } | undefined {
  const [rb = 0n, cr = 0n, d7 = 0n] = smp4
  if (!isRatio({ key: g3b, qRatio, r: rb, c: cr, d: d7, version: 8 })) return undefined
  return { equal: power(rb, a3) === pRatio }
}

/** g1^exponent, with the proof that the exponent is known. */
function proveKnown(exponent: bigint, version: number, random: Random): bigint[] {
  const r = randomExponent(random)
  const c = smpHash(version, power(g1, r))
  return [power(g1, exponent), c, response(r, exponent, c)]
}

function isKnown(
  { value, c, d }: { readonly value: bigint; readonly c: bigint; readonly d: bigint },
  version: number,
): boolean {
  if (!areGroupElements(value) || !areChallenges(c) || !areResponses(d)) return false
  return c === smpHash(version, product(power(g1, d), power(value, c)))
}

/** P = g3^r and Q = g1^r · g2^secret, with the proof (cP, D5, D6) that they are made so. */
function commitTo(
  options: { readonly g2: bigint; readonly g3: bigint; readonly secret: bigint; readonly version: number },
  random: Random,
): { readonly p: bigint; readonly q: bigint; readonly proof: bigint[] } {
  const { g2, g3, secret, version } = options
  const [r4, r5, r6] = [randomExponent(random), randomExponent(random), randomExponent(random)]
  const c = smpHash(version, power(g3, r5), product(power(g1, r5), power(g2, r6)))
  const [p, q] = [power(g3, r4), product(power(g1, r4), power(g2, secret))]
  return { p, q, proof: [c, response(r5, r4, c), response(r6, secret, c)] }
}

function isCommitted(options: {
  readonly g2: bigint
  readonly g3: bigint
  readonly p: bigint
  readonly q: bigint
  readonly c: bigint
  readonly d5: bigint
  readonly d6: bigint
  readonly version: number
}): boolean {
  const { g2, g3, p, q, c, d5, d6, version } = options
  if (!areGroupElements(p, q) || !areChallenges(c) || !areResponses(d5, d6)) return false
  const left = product(power(g3, d5), power(p, c))
  const right = product(product(power(g1, d5), power(g2, d6)), power(q, c))
  return c === smpHash(version, left, right)
}

/** R = (Qa/Qb)^exponent, with the proof (cR, D7) that the exponent is that of g3a or g3b. */
function proveRatio(
  options: { readonly exponent: bigint; readonly qRatio: bigint; readonly version: number },
  random: Random,
): bigint[] {
  const { exponent, qRatio, version } = options
  const r7 = randomExponent(random)
  const c = smpHash(version, power(g1, r7), power(qRatio, r7))
  return [power(qRatio, exponent), c, response(r7, exponent, c)]
}

function isRatio(options: {
  readonly key: bigint
  readonly qRatio: bigint
  readonly r: bigint
  readonly c: bigint
  readonly d: bigint
  readonly version: number
}): boolean {
  const { key, qRatio, r, c, d, version } = options
  if (!areGroupElements(r) || !areChallenges(c) || !areResponses(d)) return false
  const left = product(power(g1, d), power(key, c))
  return c === smpHash(version, left, product(power(qRatio, d), power(r, c)))
}

function ratio(numerator: bigint, denominator: bigint): bigint {
  return product(numerator, inverse(denominator, dhModulus))
}

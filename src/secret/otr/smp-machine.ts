/**
 * Which SMP message is expected and what happens otherwise ("Receiving a type N TLV", "SMP Abort"). An unexpected or
 * wrong message ends the run: it is answered with an abort.
 */

import { assertNever } from '../../util/assert-never.ts'
import { concatBytes, toUtf8 } from '../../util/bytes.ts'
import type { Random } from '../../util/random.ts'
import { tlvTypes } from './constants.ts'
import {
  type Asked,
  checkSmp1,
  checkSmp4,
  type Expect2,
  type Expect3,
  type Expect4,
  makeSmp1,
  makeSmp2,
  makeSmp3,
  makeSmp4,
} from './smp.ts'
import { decodeQuestion, decodeSmpValues, encodeSmpValues, smpCounts } from './smp-values.ts'
import type { Tlv } from './tlv.ts'

export type SmpState =
  | { readonly kind: 'expect-1' }
  /** SMP 1 is in; the secret is awaited. */
  | { readonly kind: 'asked'; readonly asked: Asked }
  | { readonly kind: 'expect-2'; readonly own: Expect2 }
  | { readonly kind: 'expect-3'; readonly own: Expect3 }
  | { readonly kind: 'expect-4'; readonly own: Expect4 }

export interface SmpStep {
  readonly state: SmpState
  /** Each in a data message of its own. */
  readonly send: readonly Tlv[]
  /** The end of a run; an aborted one proves nothing. */
  readonly result?: boolean
  /** They ask for the secret: `answerSmp` or `abortSmp` is to follow. */
  readonly asked?: { readonly question: string | undefined }
}

export const noSmp: SmpState = { kind: 'expect-1' }

export function isSmp(type: number): boolean {
  return type >= tlvTypes.smp1 && type <= tlvTypes.smp1Question
}

/** Starts a run of our own; one that is under way is aborted. */
export function startSmp(
  state: SmpState,
  options: { readonly x: bigint; readonly question: string | undefined; readonly random: Random },
): SmpStep {
  const { x, question, random } = options
  const started = makeSmp1(x, random)
  const values = encodeSmpValues(started.values)
  const asking = question === undefined ? values : concatBytes(toUtf8(question), Uint8Array.of(0), values)
  const smp1 = { type: question === undefined ? tlvTypes.smp1 : tlvTypes.smp1Question, value: asking }
  const next: SmpState = { kind: 'expect-2', own: started.state }
  if (state.kind === 'expect-1') return { state: next, send: [smp1] }
  return { state: next, send: [abortTlv, smp1], result: false }
}

/** Gives our secret to the run that asked for it; nothing happens when none did. */
export function answerSmp(state: SmpState, y: bigint, random: Random): SmpStep {
  if (state.kind !== 'asked') return { state, send: [] }
  const answer = makeSmp2(state.asked, y, random)
  return { state: { kind: 'expect-3', own: answer.state }, send: [tlv(tlvTypes.smp2, answer.values)] }
}

/** Ends a run from our side; nothing happens when there is none. */
export function abortSmp(state: SmpState): SmpStep {
  return state.kind === 'expect-1' ? { state, send: [] } : refuse(state)
}

export function receiveSmp(state: SmpState, { type, value }: Tlv, random: Random): SmpStep {
  if (type === tlvTypes.smpAbort) return { ...over(state), send: [] }
  switch (state.kind) {
    case 'expect-1':
      return onSmp1(state, { type, value })
    case 'asked':
      return refuse(state)
    case 'expect-2': {
      const values = type === tlvTypes.smp2 ? decodeSmpValues(value, smpCounts.smp2) : undefined
      const answer = values && makeSmp3(state.own, values, random)
      if (answer === undefined) return refuse(state)
      return { state: { kind: 'expect-4', own: answer.state }, send: [tlv(tlvTypes.smp3, answer.values)] }
    }
    case 'expect-3': {
      const values = type === tlvTypes.smp3 ? decodeSmpValues(value, smpCounts.smp3) : undefined
      const answer = values && makeSmp4(state.own, values, random)
      if (answer === undefined) return refuse(state)
      return { state: noSmp, send: [tlv(tlvTypes.smp4, answer.values)], result: answer.equal }
    }
    case 'expect-4': {
      const values = type === tlvTypes.smp4 ? decodeSmpValues(value, smpCounts.smp4) : undefined
      const checked = values && checkSmp4(state.own, values)
      return checked === undefined ? refuse(state) : { state: noSmp, send: [], result: checked.equal }
    }
    default:
      return assertNever(state)
  }
}

function onSmp1(state: SmpState, { type, value }: Tlv): SmpStep {
  const asking =
    type === tlvTypes.smp1Question
      ? decodeQuestion(value)
      : type === tlvTypes.smp1
        ? { question: undefined, rest: value }
        : undefined
  const values = asking && decodeSmpValues(asking.rest, smpCounts.smp1)
  const asked = values && checkSmp1(values)
  if (asking === undefined || asked === undefined) return refuse(state)
  return { state: { kind: 'asked', asked }, send: [], asked: { question: asking.question } }
}

const abortTlv: Tlv = { type: tlvTypes.smpAbort, value: new Uint8Array() }

function refuse(state: SmpState): SmpStep {
  return { ...over(state), send: [abortTlv] }
}

function over(state: SmpState): Pick<SmpStep, 'state' | 'result'> {
  return state.kind === 'expect-1' ? { state } : { state: noSmp, result: false }
}

function tlv(type: number, values: readonly bigint[]): Tlv {
  return { type, value: encodeSmpValues(values) }
}

/**
 * How one change of an interface is taken back, in memory and as a line of the undo log. What a line names becomes
 * arguments of `ip`, so it is read strictly.
 */

import * as v from 'valibot'
import { currentPlace, explained, familyOption, findLink, type InterfaceIdentity, isGone } from './ip-command.ts'
import type { RunCommand } from './run-command.ts'

export type Undo =
  | { readonly kind: 'delete-interface'; readonly of: InterfaceIdentity }
  | { readonly kind: 'delete-address'; readonly of: InterfaceIdentity; readonly cidr: string }
  | { readonly kind: 'delete-route'; readonly of: InterfaceIdentity; readonly cidr: string }
  | { readonly kind: 'set-mtu'; readonly of: InterfaceIdentity; readonly mtu: number }
  | { readonly kind: 'set-down'; readonly of: InterfaceIdentity }

/** A promise to take a change back. */
export interface LogEntry {
  readonly id: number
  readonly undo: Undo
}

const identity = v.strictObject({
  name: v.pipe(v.string(), v.regex(/^[^\s/:-][^\s/:]{0,14}$/)),
  index: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  place: v.string(),
})
const cidr = v.pipe(v.string(), v.regex(/^[0-9a-f][0-9a-f.:]*\/\d{1,3}$/i))

const undoSchema = v.variant('kind', [
  v.strictObject({ kind: v.literal('delete-interface'), of: identity }),
  v.strictObject({ kind: v.literal('delete-address'), of: identity, cidr }),
  v.strictObject({ kind: v.literal('delete-route'), of: identity, cidr }),
  v.strictObject({ kind: v.literal('set-mtu'), of: identity, mtu: v.pipe(v.number(), v.safeInteger()) }),
  v.strictObject({ kind: v.literal('set-down'), of: identity }),
])

const id = v.pipe(v.number(), v.safeInteger(), v.minValue(1))
const lineSchema = v.union([v.strictObject({ id, undo: undoSchema }), v.strictObject({ done: id })])

/** Only on the very interface that was changed: another one may have its name by now. */
export async function runUndo(undo: Undo, run: RunCommand): Promise<'undone' | 'gone'> {
  const { name, index, place } = undo.of
  if (place !== currentPlace() || (await findLink(name, run))?.index !== index) return 'gone'
  try {
    await run('ip', undoArguments(undo))
    return 'undone'
  } catch (error) {
    if (isGone(error)) return 'gone'
    throw explained(error)
  }
}

function undoArguments(undo: Undo): readonly string[] {
  const { name } = undo.of
  switch (undo.kind) {
    case 'delete-interface':
      return ['link', 'delete', 'dev', name]
    case 'delete-address':
      return [familyOption(undo.cidr), 'address', 'delete', undo.cidr, 'dev', name]
    case 'delete-route':
      return [familyOption(undo.cidr), 'route', 'delete', undo.cidr, 'dev', name]
    case 'set-mtu':
      return ['link', 'set', 'dev', name, 'mtu', String(undo.mtu)]
    case 'set-down':
      return ['link', 'set', 'dev', name, 'down']
  }
}

/** One line of the log; `undefined` for anything else, such as a line cut off by a crash. */
export function decodeLogLine(line: string): LogEntry | { readonly done: number } | undefined {
  const parsed = v.safeParse(lineSchema, parseJson(line))
  return parsed.success ? parsed.output : undefined
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

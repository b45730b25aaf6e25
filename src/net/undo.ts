/**
 * How one change of the machine is taken back, in memory and as a line of the undo log. What a line names becomes
 * arguments of a program, or a process or a file that goes, so it is read strictly.
 */

import { rm } from 'node:fs/promises'
import { connect } from 'node:net'
import * as v from 'valibot'
import type { InterfaceIdentity, NetworkCommands } from './network-commands.ts'
import { endProcess, type ProcessIdentity } from './process-identity.ts'
import { type RunCommand, runCommand } from './run-command.ts'
import { systemNetwork } from './system-network.ts'

export type Undo =
  | InterfaceUndo
  /** A program of ours that works for the tunnel. */
  | { readonly kind: 'end-process'; readonly of: ProcessIdentity }
  /** The file of a program's local socket, when nobody listens on it any more. `name`: its path. */
  | { readonly kind: 'remove-socket'; readonly of: { readonly name: string } }

type InterfaceUndo =
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
const processIdentity = v.strictObject({
  name: v.pipe(v.string(), v.regex(/^[^\s/]{1,64}$/)),
  pid: v.pipe(v.number(), v.safeInteger(), v.minValue(2)),
  startedAt: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  place: v.string(),
})
const socketFile = v.strictObject({
  name: v.pipe(v.string(), v.regex(/^\/(?:var\/)?run\/wireguard\/[^\s/]{1,15}\.sock$/)),
})
const cidr = v.pipe(v.string(), v.regex(/^[0-9a-f][0-9a-f.:]*\/\d{1,3}$/i))

const undoSchema = v.variant('kind', [
  v.strictObject({ kind: v.literal('delete-interface'), of: identity }),
  v.strictObject({ kind: v.literal('delete-address'), of: identity, cidr }),
  v.strictObject({ kind: v.literal('delete-route'), of: identity, cidr }),
  v.strictObject({ kind: v.literal('set-mtu'), of: identity, mtu: v.pipe(v.number(), v.safeInteger()) }),
  v.strictObject({ kind: v.literal('set-down'), of: identity }),
  v.strictObject({ kind: v.literal('end-process'), of: processIdentity }),
  v.strictObject({ kind: v.literal('remove-socket'), of: socketFile }),
])

const id = v.pipe(v.number(), v.safeInteger(), v.minValue(1))
const lineSchema = v.union([v.strictObject({ id, undo: undoSchema }), v.strictObject({ done: id })])

export interface UndoParts {
  readonly run?: RunCommand
  readonly network?: NetworkCommands
}

export async function runUndo(undo: Undo, parts: UndoParts = {}): Promise<'undone' | 'gone'> {
  if (undo.kind === 'end-process') return endProcess(undo.of)
  if (undo.kind === 'remove-socket') return removeSocket(undo.of.name)
  return undoOnInterface(undo, parts)
}

/** Only on the very interface that was changed: another one may have its name by now. */
async function undoOnInterface(undo: InterfaceUndo, parts: UndoParts): Promise<'undone' | 'gone'> {
  const { run = runCommand, network = systemNetwork } = parts
  const { name, index, place } = undo.of
  if (place !== network.place() || (await network.findLink(name, run))?.index !== index) return 'gone'
  try {
    await network.change(name, undo, run)
    return 'undone'
  } catch (error) {
    if (network.isGone(error)) return 'gone'
    throw network.explained(error)
  }
}

async function removeSocket(path: string): Promise<'undone' | 'gone'> {
  const failure = await new Promise<string>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve('')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
  })
  if (failure !== 'ECONNREFUSED') return 'gone'
  await rm(path, { force: true })
  return 'undone'
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

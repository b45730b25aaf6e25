/**
 * What must be taken back when we stop, written down before it is done: a file of JSON lines, flushed to the disk, so
 * that a start after a crash finds what the dead process left. `{"id":3,"undo":{…}}` promises, `{"done":3}` settles.
 * One process at a time uses a log (the daemon's own lock sees to that).
 */

import type { FileHandle } from 'node:fs/promises'
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorMessage, PunchGuardError } from '../api/errors.ts'
import { flushFolder } from './state-folder.ts'
import { decodeLogLine, type LogEntry, runUndo, type Undo, type UndoParts } from './undo.ts'

export interface UndoReport {
  readonly undone: number
  /** No longer applies: the interface, or the change, is gone. */
  readonly gone: number
  /** In words. They stay in the log for the next start. */
  readonly failed: readonly string[]
}

export class UndoLog implements AsyncDisposable {
  readonly #path: string
  readonly #file: FileHandle
  readonly #parts: UndoParts
  readonly #open: Map<number, Undo>
  #nextId: number
  #closed = false

  private constructor(options: { path: string; file: FileHandle; parts: UndoParts; entries: readonly LogEntry[] }) {
    this.#path = options.path
    this.#file = options.file
    this.#parts = options.parts
    this.#open = new Map()
    this.#nextId = 1 + Math.max(0, ...options.entries.map(({ id }) => id))
  }

  /**
   * Opens or begins the log; call `undoLeftovers` first.
   * @throws PunchGuardError STATE_UNWRITABLE
   */
  static async open(path: string, parts: UndoParts = {}): Promise<UndoLog> {
    try {
      const entries = await readEntries(path)
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      const file = await open(path, 'a', 0o600)
      // Ends a line that a crash cut off; an empty line means nothing.
      await file.appendFile('\n')
      await flushFolder(dirname(path))
      return new UndoLog({ path, file, entries, parts })
    } catch (cause) {
      throw new PunchGuardError('STATE_UNWRITABLE', `${path} cannot be written: ${errorMessage(cause)}`, {
        hint: 'check the permissions of the folder, or run as the user who owns it',
        cause,
      })
    }
  }

  /** Resolves with the entry's id when the promise is on the disk: only then make the change. */
  async record(undo: Undo): Promise<number> {
    const id = this.#nextId++
    await this.#file.appendFile(`${JSON.stringify({ id, undo })}\n`)
    await this.#file.datasync()
    this.#open.set(id, undo)
    return id
  }

  /** The change was not made after all. */
  async forget(id: number): Promise<void> {
    if (!this.#open.delete(id)) return
    // Not flushed: undoing twice finds nothing to do.
    await this.#file.appendFile(`${JSON.stringify({ done: id })}\n`)
  }

  /** Takes one change back now, if that was not done before. Rejects when it could not be. */
  async undo(id: number): Promise<void> {
    const undo = this.#open.get(id)
    if (undo === undefined) return
    await runUndo(undo, this.#parts)
    await this.forget(id)
  }

  /** Takes back what is left, newest first. The file stays only when something could not be undone. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const id of [...this.#open.keys()].reverse()) await this.undo(id).catch(() => {})
    await this.#file.close()
    if (this.#open.size === 0 && (await readEntries(this.#path)).length === 0) await rm(this.#path, { force: true })
  }
}

/** Takes back, newest first, what a process that ended without doing so left behind. */
export async function undoLeftovers(path: string, parts: UndoParts = {}): Promise<UndoReport> {
  const entries = await readEntries(path)
  let undone = 0
  let gone = 0
  const failed: string[] = []
  for (const { undo } of [...entries].reverse()) {
    try {
      if ((await runUndo(undo, parts)) === 'undone') undone++
      else gone++
    } catch (error) {
      failed.push(`${undo.kind} of ${undo.of.name}: ${errorMessage(error)}`)
    }
  }
  if (failed.length === 0) await rm(path, { force: true })
  return { undone, gone, failed }
}

/** The promises that are not settled, oldest first; none when there is no file. Lines cut off by a crash are skipped. */
async function readEntries(path: string): Promise<readonly LogEntry[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const entries = new Map<number, LogEntry>()
  for (const line of text.split('\n')) {
    const decoded = decodeLogLine(line)
    if (decoded === undefined) continue
    if ('done' in decoded) entries.delete(decoded.done)
    else entries.set(decoded.id, decoded)
  }
  return [...entries.values()]
}

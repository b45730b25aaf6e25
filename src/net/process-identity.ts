/**
 * Which process exactly, so that one that outlived us can be ended at the next start, and no other: its number may be
 * given again, but not together with its start (proc(5)) and its program. Linux only.
 */

import { readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { currentPlace } from './ip-command.ts'

export interface ProcessIdentity {
  /** File name of its program. */
  readonly name: string
  readonly pid: number
  /** Clock ticks since the system was booted. */
  readonly startedAt: number
  /** Boot and network namespace. */
  readonly place: string
}

/** Asked to end, it is killed after this, ms. */
const endPatience = 2000
const pollInterval = 10

/** A process that was started a moment ago, to become `name`; `undefined` when it has ended already. */
export function identifyProcess(pid: number, name: string): ProcessIdentity | undefined {
  const startedAt = startOf(pid)
  return startedAt === undefined ? undefined : { name, pid, startedAt, place: currentPlace() }
}

/** Whether this very process runs. */
export function isRunning(process: ProcessIdentity): boolean {
  if (process.place !== currentPlace() || startOf(process.pid) !== process.startedAt) return false
  try {
    return basename(readlinkSync(`/proc/${process.pid}/exe`)).replace(/ \(deleted\)$/, '') === process.name
  } catch {
    return false
  }
}

/** Asks it to end, then makes it. Resolves when it has. */
export async function endProcess(identity: ProcessIdentity): Promise<'undone' | 'gone'> {
  if (!isRunning(identity)) return 'gone'
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    try {
      process.kill(identity.pid, signal)
    } catch (error) {
      if (!isRunning(identity)) return 'undone'
      throw error
    }
    for (let waited = 0; waited < endPatience; waited += pollInterval) {
      if (!isRunning(identity)) return 'undone'
      await pause(pollInterval)
    }
  }
  throw new Error(`the process ${identity.pid} (${identity.name}) does not end`)
}

/** Field 22 of /proc/PID/stat; `undefined` when there is no such process, or only its remains (field 3). */
function startOf(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // Field 2, the name in parentheses, may have anything in it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19])
  } catch {
    return undefined
  }
}

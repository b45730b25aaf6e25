/** punchguard logs: the daemon's log file. */

import { closeSync, fstatSync, openSync, readSync, statSync, watch } from 'node:fs'
import { logFilePath } from '../../daemon/paths.ts'
import { fileError, systemErrorName } from '../../net/state-folder.ts'
import { type CommandContext, type CommandInput, flag, textOption, usage } from '../command.ts'
import { note } from '../terminal.ts'

export async function run({ stateFolder }: CommandContext, input: CommandInput): Promise<void> {
  const count = Number(textOption(input, 'lines') ?? 100)
  if (!Number.isInteger(count) || count < 0) throw usage('--lines wants a number', 'punchguard logs -n 20')
  const path = logFilePath(stateFolder)
  const text = readFrom(path, 0)
  if (text === undefined) {
    note('there is no log yet: the daemon has not run')
    return
  }
  const lines = text.split('\n').slice(0, -1)
  for (const line of count === 0 ? [] : lines.slice(-count)) process.stdout.write(`${line}\n`)
  if (flag(input, 'follow')) await follow(path, Buffer.byteLength(text))
}

/** Never resolves: ends with the process. */
function follow(path: string, from: number): Promise<never> {
  let at = from
  return new Promise(() => {
    watch(path, () => {
      const size = statSync(path, { throwIfNoEntry: false })?.size
      if (size === undefined) return
      // The log began anew (log-file.ts).
      if (size < at) at = 0
      const text = readFrom(path, at) ?? ''
      at += Buffer.byteLength(text)
      process.stdout.write(text)
    })
  })
}

/** `undefined` when there is no log. */
function readFrom(path: string, offset: number): string | undefined {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    if (systemErrorName(error) === 'ENOENT') return undefined
    throw fileError(error, { code: 'PERMISSION_DENIED', what: `${path} could not be read` })
  }
  try {
    const bytes = Buffer.alloc(Math.max(0, fstatSync(fd).size - offset))
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, offset))
  } finally {
    closeSync(fd)
  }
}

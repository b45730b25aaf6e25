/** punchguard import [FILE|-|CARD]: pins another device's card. */

import { open } from 'node:fs/promises'
import { systemErrorName } from '../../net/state-folder.ts'
import { type CommandContext, type CommandInput, flag, usage } from '../command.ts'
import { readInput } from '../read-input.ts'
import { ensureDaemon } from '../start-daemon.ts'
import { note, print, printJson } from '../terminal.ts'

export async function run(context: CommandContext, input: CommandInput): Promise<void> {
  const card = await readCard(input.positional[0])
  await ensureDaemon(context)
  const peer = await context.client.importCard(card)
  if (flag(input, 'json')) return printJson({ imported: peer })
  print(`imported ${peer}`)
  note(`${peer} needs the card of this device too: punchguard export`)
}

async function readCard(source: string | undefined): Promise<string> {
  if (source === undefined && process.stdin.isTTY) {
    throw usage('there is no card', 'give the card, a file with it, or - for standard input')
  }
  if (source === undefined || source === '-') return readInput(process.stdin)
  if (/^\s*pgi?\d[a-z2-7\s]{16}/i.test(source)) return source
  try {
    const file = await open(source)
    try {
      return await readInput(file.createReadStream({ autoClose: false }))
    } finally {
      await file.close()
    }
  } catch (error) {
    const name = systemErrorName(error)
    if (name === 'USAGE') throw error
    // What looks like the beginning of a code gets the code's own complaint.
    if (name === 'ENOENT' && /^pgi?\d/i.test(source)) return source
    const what =
      name === 'ENOENT'
        ? `"${source.slice(0, 80)}" is neither a card nor a file`
        : `${source} could not be read: ${name}`
    throw usage(what, 'a card begins with pg1: punchguard export on the other device prints it')
  }
}

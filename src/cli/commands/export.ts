/** punchguard export [FILE]: this device's card. */

import { readFile, writeFile } from 'node:fs/promises'
import { fileError, systemErrorName } from '../../net/state-folder.ts'
import { parseCard } from '../../pairing/card.ts'
import { type CommandContext, type CommandInput, flag, usage } from '../command.ts'
import { ensureDaemon } from '../start-daemon.ts'
import { note, print, printJson } from '../terminal.ts'

export async function run(context: CommandContext, input: CommandInput): Promise<void> {
  const [file] = input.positional
  await ensureDaemon(context)
  const card = await context.client.exportCard()
  if (file !== undefined) await writeCard(file, card)
  if (flag(input, 'json')) printJson({ card, ...(file !== undefined && { file }) })
  else if (file === undefined) print(card)
  else note(`wrote the card to ${file}; on the other device: punchguard import FILE`)
}

/** Replaces an older card, nothing else. */
async function writeCard(file: string, card: string): Promise<void> {
  try {
    const old = await readFile(file, 'utf8').catch((error: unknown) => {
      if (systemErrorName(error) === 'ENOENT') return undefined
      throw error
    })
    if (old !== undefined && !isCard(old)) throw usage(`${file} exists and is not a card`, 'choose another file name')
    await writeFile(file, `${card}\n`)
  } catch (error) {
    if (systemErrorName(error) === 'USAGE') throw error
    throw fileError(error, { code: 'STATE_UNWRITABLE', what: `${file} could not be written` })
  }
}

function isCard(text: string): boolean {
  try {
    parseCard(text)
    return true
  } catch {
    return false
  }
}

/** punchguard version. */

import { version } from '../../util/version.ts'
import { type CommandContext, type CommandInput, flag } from '../command.ts'
import { print, printJson } from '../terminal.ts'

export async function run(_: CommandContext, input: CommandInput): Promise<void> {
  if (flag(input, 'json'))
    printJson({ version, node: process.versions.node, platform: `${process.platform}-${process.arch}` })
  else print(`punchguard ${version}`)
}

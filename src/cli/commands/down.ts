/** punchguard down: closes the tunnel, also for the next start. */

import { type CommandContext, type CommandInput, flag } from '../command.ts'
import { print, printJson } from '../terminal.ts'

export async function run({ client }: CommandContext, input: CommandInput): Promise<void> {
  const status = await client.down()
  if (flag(input, 'json')) printJson(status)
  else print(`${status.name} is down`)
}

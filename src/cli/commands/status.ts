/** punchguard status, and bare punchguard. */

import { systemClock } from '../../util/clock.ts'
import { version } from '../../util/version.ts'
import { type CommandContext, type CommandInput, flag } from '../command.ts'
import { showStatus } from '../status-text.ts'
import { hint, print, printJson } from '../terminal.ts'

export async function run({ client }: CommandContext, input: CommandInput): Promise<void> {
  const status = await client.status()
  if (flag(input, 'json')) return printJson(status)
  for (const line of showStatus(status, systemClock.wallTime())) print(line)
  if (status.version !== version) {
    hint(`the daemon is version ${status.version}, this program ${version}: punchguard stop, then punchguard up`)
  }
}

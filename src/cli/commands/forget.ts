/** punchguard forget PEER: unpins a peer. */

import { type CommandContext, type CommandInput, flag, usage } from '../command.ts'
import { ensureDaemon } from '../start-daemon.ts'
import { confirm, interactive, note, print, printJson } from '../terminal.ts'

export async function run(context: CommandContext, input: CommandInput): Promise<void> {
  const [peer = ''] = input.positional
  await ensureDaemon(context)
  if (!flag(input, 'yes')) {
    if (!interactive) throw usage(`forgetting ${peer} cannot be undone, and there is no terminal to ask`, 'add --yes')
    if (!(await confirm(`Forget ${peer}? It must be paired again to come back.`))) {
      note('Nothing was changed.')
      return
    }
  }
  await context.client.forget(peer)
  if (flag(input, 'json')) printJson({ forgotten: peer })
  else print(`forgot ${peer}`)
}

/** punchguard daemon: runs until it is told to stop. */

import { runDaemon } from '../../daemon/run-daemon.ts'
import { type CommandContext, type CommandInput, flag } from '../command.ts'

export async function run({ createDevice }: CommandContext, input: CommandInput): Promise<void> {
  await runDaemon({ createDevice, verbose: flag(input, 'verbose'), foreground: !flag(input, 'background') })
  // Whatever a library left open must not keep a stopped daemon alive.
  process.exit(0)
}

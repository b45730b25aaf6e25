/** punchguard stop: ends the daemon, and waits until it has given everything back. */

import { PunchGuardError } from '../../api/errors.ts'
import { lockFilePath } from '../../device/device-folder.ts'
import { lockFile } from '../../net/file-lock.ts'
import { delay, systemClock } from '../../util/clock.ts'
import { type CommandContext, type CommandInput, flag } from '../command.ts'
import { note, print, printJson } from '../terminal.ts'

/** The daemon gives itself 10 s, ms. */
const patience = 15_000

export async function run({ client, stateFolder }: CommandContext, input: CommandInput): Promise<void> {
  const json = flag(input, 'json')
  try {
    await client.stop()
  } catch (error) {
    if (!(error instanceof PunchGuardError) || error.code !== 'DAEMON_NOT_RUNNING') throw error
    if (json) printJson({ stopped: false })
    else note('the daemon was not running')
    return
  }
  const deadline = systemClock.now() + patience
  for (;;) {
    const lock = await lockFile(lockFilePath(stateFolder))
    lock?.[Symbol.dispose]()
    if (lock !== undefined) break
    if (systemClock.now() > deadline) {
      throw new PunchGuardError('TIMEOUT', `the daemon has not ended after ${patience / 1000} s`, {
        hint: 'punchguard logs shows what it is doing',
      })
    }
    await delay(systemClock, 30)
  }
  if (json) printJson({ stopped: true })
  else print('stopped')
}

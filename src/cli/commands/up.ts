/** punchguard up: opens the tunnel. */

import type { DeviceStatus } from '../../api/device.ts'
import { PunchGuardError } from '../../api/errors.ts'
import { systemClock } from '../../util/clock.ts'
import { formatDuration } from '../../util/wall-time.ts'
import { type CommandContext, type CommandInput, durationOption, flag } from '../command.ts'
import { ensureDaemon } from '../start-daemon.ts'
import { showStatus } from '../status-text.ts'
import { hint, print, printJson, step } from '../terminal.ts'

/** How long `--wait` waits when nothing is said, ms. */
const defaultPatience = 30_000

export async function run(context: CommandContext, input: CommandInput): Promise<void> {
  const patience = flag(input, 'wait') ? defaultPatience : durationOption(input, 'wait')
  const json = flag(input, 'json')
  await ensureDaemon(context)
  const status = patience === undefined ? await context.client.up() : await upAndWait(context, { patience, json })
  if (json) return printJson(status)
  for (const line of showStatus(status, systemClock.wallTime())) print(line)
  if (status.peers.length === 0) hint('there is nobody to connect to yet: punchguard pair')
  else if (!allConnected(status)) hint('punchguard status shows how it goes on')
}

async function upAndWait(
  { client }: CommandContext,
  options: { readonly patience: number; readonly json: boolean },
): Promise<DeviceStatus> {
  const abort = new AbortController()
  const { events } = await client.subscribe({ signal: abort.signal })
  using _ = systemClock.after(options.patience, () => abort.abort())
  let status: DeviceStatus
  try {
    status = await client.up()
    if (allConnected(status)) return status
    for await (const event of events) {
      if (event.kind !== 'peer') continue
      if (!options.json) step(event.at, `${event.peer}: ${event.state}, ${event.reason}`)
      status = await client.status()
      if (allConnected(status)) return status
    }
  } finally {
    abort.abort()
  }
  const missing = status.peers.filter((peer) => peer.state !== 'connected')
  throw new PunchGuardError(
    'TIMEOUT',
    `not connected after ${formatDuration(options.patience)}: ${missing.map((peer) => peer.name).join(', ')}`,
    {
      hint: missing[0]?.hint ?? 'the daemon goes on trying; punchguard status shows why',
    },
  )
}

function allConnected(status: DeviceStatus): boolean {
  return status.peers.every((peer) => peer.state === 'connected')
}

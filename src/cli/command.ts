/** What a command gets, and what its file exports as `run`. */

import { PunchGuardError } from '../api/errors.ts'
import { ControlClient } from '../daemon/control-client.ts'
import type { CreateDevice } from '../daemon/daemon.ts'
import { controlSocketPath, currentPathOptions, stateFolderPath } from '../daemon/paths.ts'
import { parseDuration } from '../util/wall-time.ts'

export interface CommandContext {
  readonly stateFolder: string
  readonly client: ControlClient
  /** The real device, or a test's. */
  readonly createDevice: CreateDevice
}

export interface CommandInput {
  readonly positional: readonly string[]
  readonly options: Readonly<Record<string, unknown>>
}

export type RunCommand = (context: CommandContext, input: CommandInput) => Promise<void>

export function commandContext(createDevice: CreateDevice): CommandContext {
  const options = currentPathOptions()
  const stateFolder = stateFolderPath(options)
  return { stateFolder, client: new ControlClient(controlSocketPath(stateFolder, options)), createDevice }
}

export function usage(message: string, hint: string): PunchGuardError {
  return new PunchGuardError('USAGE', message, { hint })
}

/** Whether an option is on; `--no-x` switches `x` off. */
export function flag({ options }: CommandInput, name: string): boolean {
  return options[name] === true
}

/** The text given to an option. */
export function textOption({ options }: CommandInput, name: string): string | undefined {
  const value = options[name]
  return typeof value === 'string' ? value : undefined
}

/** The ms given to an option as `10m`, `2h`, … @throws PunchGuardError USAGE */
export function durationOption(input: CommandInput, name: string): number | undefined {
  const text = textOption(input, name)
  if (text === undefined) return undefined
  const duration = parseDuration(text)
  if (duration === undefined) throw usage(`--${name} ${text} is not a duration`, 'write it like 90s, 10m, 2h or 1d')
  return duration
}

/** punchguard pair [CODE]: makes an invite, or uses one. */

import { readFile } from 'node:fs/promises'
import { withDeviceName } from '../../api/config.ts'
import { deviceNameRule, isDeviceName } from '../../api/device-name.ts'
import { PunchGuardError } from '../../api/errors.ts'
import { configFilePath } from '../../device/device-folder.ts'
import { makePrivateFolder } from '../../net/state-folder.ts'
import { writeAtomically } from '../../net/state-store.ts'
import { systemClock } from '../../util/clock.ts'
import { formatDuration } from '../../util/wall-time.ts'
import { type CommandContext, type CommandInput, durationOption, flag, textOption, usage } from '../command.ts'
import { PairingSteps } from '../pairing-steps.ts'
import { readInput } from '../read-input.ts'
import { ensureDaemon } from '../start-daemon.ts'
import { hint, note, print, printJson, toTerminal } from '../terminal.ts'

/** How long CODE is tried when nothing is said, ms. */
const defaultPatience = 120_000
/** How long after its expiry an invite that is being used may take, ms. */
const grace = 60_000

export async function run(context: CommandContext, input: CommandInput): Promise<void> {
  const [source] = input.positional
  const code = source === '-' ? await readInput(process.stdin) : source
  const validFor = durationOption(input, 'for')
  const json = flag(input, 'json')
  await setName(context, textOption(input, 'name'))
  await ensureDaemon(context)
  if (!json && process.getuid !== undefined && process.getuid() !== 0) {
    const own = `you are not root: this pairs a device of your own, in ${context.stateFolder}`
    hint(`${own}; its tunnel needs root, so better use sudo for pair too`)
  }
  const pairing = { json, validFor, wait: flag(input, 'wait') }
  try {
    const peer = code === undefined ? await inviteOther(context, pairing) : await useInvite(context, code, pairing)
    if (peer === undefined) return
    if (json) return printJson({ event: 'paired', peer })
    print(`paired with ${peer}`)
    note('Next, on both devices: punchguard up')
  } catch (error) {
    if (json && error instanceof PunchGuardError) {
      printJson({ event: 'failed', code: error.code, message: error.message, hint: error.hint })
    }
    throw error
  }
}

interface Pairing {
  readonly json: boolean
  readonly validFor: number | undefined
  readonly wait: boolean
}

/** The name of the peer that used our invite; `undefined` when we do not wait for it. */
async function inviteOther({ client }: CommandContext, pairing: Pairing): Promise<string | undefined> {
  const { json, validFor, wait } = pairing
  const late = new PunchGuardError('TIMEOUT', 'nobody used the invite before it expired', {
    hint: 'make a new one: punchguard pair',
  })
  const abort = new AbortController()
  const { events } = await client.subscribe({ signal: abort.signal })
  try {
    const { code, expires } = await client.invite(validFor === undefined ? {} : { validFor })
    const validity = expires - systemClock.wallTime()
    if (json) printJson({ event: 'invite', code, expires })
    else await showInvite(code, validity)
    if (!wait) return undefined
    using steps = new PairingSteps({ json, client })
    using _ = systemClock.after(validity, () => (steps.met ? undefined : abort.abort(late)))
    using __ = systemClock.after(validity + grace, () => abort.abort(late))
    process.once('SIGINT', () => {
      if (!json) note('\nThe invite stays valid; pairing goes on in the background.')
      process.exit(130)
    })
    for await (const event of events) {
      if (event.kind === 'pairing' && event.step === 'paired' && event.peer !== undefined) return event.peer
      if (event.kind === 'pairing' && event.step === 'failed') throw pairingFailed(event)
      steps.show(event)
    }
    abort.signal.throwIfAborted()
  } finally {
    abort.abort()
  }
  throw new PunchGuardError('DAEMON_NOT_RUNNING', 'the daemon ended meanwhile', { hint: 'punchguard logs shows why' })
}

async function useInvite({ client }: CommandContext, code: string, { json, validFor }: Pairing): Promise<string> {
  const patience = validFor ?? defaultPatience
  const late = new PunchGuardError('TIMEOUT', `the other device did not answer within ${formatDuration(patience)}`, {
    hint: 'its daemon must run and be online: punchguard status there; then try again, the invite is not used up',
  })
  const abort = new AbortController()
  const { events } = await client.subscribe({ signal: abort.signal })
  using _ = systemClock.after(patience, () => abort.abort(late))
  using steps = new PairingSteps({ json, client })
  const showing = (async () => {
    // How it ends is told by the answer to `join`, with its code.
    for await (const event of events) {
      if (event.kind !== 'pairing' || (event.step !== 'paired' && event.step !== 'failed')) steps.show(event)
    }
  })()
  try {
    return await client.join(code, { signal: abort.signal })
  } finally {
    abort.abort()
    await showing
  }
}

function pairingFailed(event: { readonly text: string; readonly hint?: string }): PunchGuardError {
  return new PunchGuardError('PEER_REFUSED', event.text, { hint: event.hint ?? 'make a new invite: punchguard pair' })
}

async function showInvite(code: string, validity: number): Promise<void> {
  note(`On the other device, within ${formatDuration(validity)}, run: punchguard pair CODE, with this code:`)
  note('')
  print(code)
  note('')
  if (!toTerminal) return
  const { renderUnicodeCompact } = await import('uqr')
  const picture = renderUnicodeCompact(code.toUpperCase(), { ecc: 'L', border: 1 })
  const [first = ''] = picture.split('\n')
  if (first.length <= (process.stdout.columns ?? 0)) note(picture)
}

/** Writes the name into config.toml. A running daemon must have that name already. */
async function setName(context: CommandContext, name: string | undefined): Promise<void> {
  if (name === undefined) return
  if (!isDeviceName(name)) throw usage(`"${name}" cannot be a device's name`, `a name is ${deviceNameRule}`)
  const status = await context.client.status().catch((error: unknown) => {
    if (error instanceof PunchGuardError && error.code === 'DAEMON_NOT_RUNNING') return undefined
    throw error
  })
  if (status?.name === name) return
  if (status !== undefined)
    throw usage(`the daemon is running, and this device is called "${status.name}"`, 'punchguard stop, then pair again')
  const path = configFilePath(context.stateFolder)
  await makePrivateFolder(context.stateFolder)
  await writeAtomically(path, withDeviceName(await readFile(path, 'utf8').catch(() => undefined), name))
}

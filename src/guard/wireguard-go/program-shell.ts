/**
 * A wireguard-go that works for us: started in the foreground (its own way into the background fails where many files
 * may be open), led over its socket, and ended with us. However we end: it is killed with its parent where util-linux's
 * setpriv is there, and is in the undo log for the next start anyway. No secret is in its arguments or environment.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, constants, realpath } from 'node:fs/promises'
import { connect } from 'node:net'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { errorMessage, PunchGuardError } from '../../api/errors.ts'
import { findLink } from '../../net/ip-command.ts'
import { identifyProcess } from '../../net/process-identity.ts'
import { programEnvironment, runCommand } from '../../net/run-command.ts'
import type { UndoLog } from '../../net/undo-log.ts'
import { type Clock, delay } from '../../util/clock.ts'
import type { Logger } from '../../util/logger.ts'
import type { UapiProgram } from './guard.ts'
import { maximumAnswerSize } from './uapi.ts'

export interface WireguardGoProgramOptions {
  /** Made by the program, and gone with it. */
  readonly interfaceName: string
  readonly log: UndoLog
  readonly clock: Clock
  readonly logger: Logger
}

/** It needs milliseconds. */
const startPatience = 5000
const answerPatience = 2000
const pollInterval = 10
const longestLine = 300

export class WireguardGoProgram implements UapiProgram, AsyncDisposable {
  readonly interfaceName: string
  readonly implementation: string
  /** Resolves, with the reason in words, when the program has ended without us; never rejects. */
  readonly lost: Promise<string>
  readonly #ended: Promise<string>
  readonly #undo: () => Promise<void>
  readonly #socketPath: string
  readonly #closing: AbortController = new AbortController()
  #last: Promise<unknown> = Promise.resolve()

  private constructor(
    options: WireguardGoProgramOptions,
    parts: {
      readonly implementation: string
      readonly ended: Promise<string>
      readonly undo: () => Promise<void>
    },
  ) {
    this.interfaceName = options.interfaceName
    this.implementation = parts.implementation
    this.#socketPath = socketPathOf(options.interfaceName)
    this.#ended = parts.ended
    this.#undo = parts.undo
    this.lost = this.#watch()
  }

  /** @throws PunchGuardError GUARD_UNAVAILABLE, PERMISSION_DENIED */
  static async start(options: WireguardGoProgramOptions): Promise<WireguardGoProgram> {
    const { interfaceName, log, logger, clock } = options
    const program = await findProgram()
    const implementation = await versionOf(program)
    await refuseTaken(interfaceName)
    const socketUndo = await log.record({ kind: 'remove-socket', of: { name: socketPathOf(interfaceName) } })
    const child = await startProgram(program, interfaceName)
    const lines = hear(child, logger)
    const ended = untilEnded(child, lines)
    const identity = identifyProcess(child.pid ?? 0, basename(program))
    const processUndo = identity && (await log.record({ kind: 'end-process', of: identity }))
    const undo = async (): Promise<void> => {
      if (processUndo !== undefined) await log.undo(processUndo)
      await log.undo(socketUndo)
    }
    const started = new WireguardGoProgram(options, { implementation, ended, undo })
    try {
      await started.#untilReady(clock)
      return started
    } catch (error) {
      await started[Symbol.asyncDispose]()
      throw explained(error, lines.all())
    }
  }

  ask(request: string): Promise<string> {
    const asked = this.#last.then(() => exchange(this.#socketPath, request))
    this.#last = asked.catch(() => {})
    return asked
  }

  /** Never rejects: what could not be ended stays in the undo log. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort()
    await this.#undo().catch(() => {})
  }

  async #watch(): Promise<string> {
    const reason = await this.#ended
    if (this.#closing.signal.aborted) await new Promise<never>(() => {})
    return `wireguard-go ended (${reason})`
  }

  async #untilReady(clock: Clock): Promise<void> {
    const limit = clock.now() + startPatience
    const early = this.#ended.then((reason) => Promise.reject(new Error(`it ended at once (${reason})`)))
    early.catch(() => {})
    for (;;) {
      const answer = await Promise.race([early, this.ask('get=1\n\n').catch(() => undefined)])
      if (answer !== undefined) return
      if (clock.now() > limit) throw new Error(`it did not answer within ${startPatience / 1000} s`)
      await Promise.race([early, delay(clock, pollInterval)])
    }
  }
}

/** wireguard-go decides where. */
function socketPathOf(interfaceName: string): string {
  return `/var/run/wireguard/${interfaceName}.sock`
}

/** The file that a shell would run. @throws PunchGuardError GUARD_UNAVAILABLE */
async function findProgram(): Promise<string> {
  const { PATH: path = '' } = programEnvironment()
  for (const folder of path.split(':')) {
    const candidate = join(folder, 'wireguard-go')
    const isThere = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere && folder.startsWith('/')) return await realpath(candidate)
  }
  throw new PunchGuardError('GUARD_UNAVAILABLE', 'the program wireguard-go is not installed', {
    hint: 'apt install wireguard-go, or set guard = "embedded" in config.toml',
  })
}

/** `wireguard-go 0.0.20220316` */
async function versionOf(program: string): Promise<string> {
  const text = await runCommand(program, ['--version']).catch((error: unknown) => {
    throw explained(error, [])
  })
  return `wireguard-go ${/^wireguard-go v?(\S{1,32})/.exec(text)?.[1] ?? 'of unknown version'}`
}

/** Another program's interface or socket of this name is not ours to use: our keys would go there. */
async function refuseTaken(interfaceName: string): Promise<void> {
  const socketPath = socketPathOf(interfaceName)
  const isServed = await exchange(socketPath, 'get=1\n\n').then(
    () => true,
    () => false,
  )
  const isLink = (await findLink(interfaceName)) !== undefined
  if (!isServed && !isLink) return
  const what = isLink ? `an interface named ${interfaceName}` : `a WireGuard program at ${socketPath}`
  throw new PunchGuardError('GUARD_UNAVAILABLE', `there is ${what} already`, {
    hint: 'end the program it belongs to, or set another name in config.toml: interface = "pg1"',
  })
}

async function startProgram(program: string, interfaceName: string): Promise<ChildProcess> {
  const endWithParent = ['--pdeathsig', 'KILL', '--']
  const isSetprivThere = await runCommand('setpriv', [...endWithParent, 'true']).then(
    () => true,
    () => false,
  )
  const line = [...(isSetprivThere ? ['setpriv', ...endWithParent] : []), program, '-f', interfaceName]
  const [command = program, ...args] = line
  const child = spawn(command, args, {
    env: { ...programEnvironment(), LOG_LEVEL: 'error' },
    stdio: ['ignore', 'pipe', 'pipe'],
    // In a group of its own: an interrupt typed at us is ours to pass on.
    detached: true,
  })
  try {
    await once(child, 'spawn')
  } catch (error) {
    throw explained(error, [])
  }
  return child
}

interface Lines {
  /** What it complained about, the newest last. */
  all(): readonly string[]
}

/** Its complaints go to the log; they hold peers' shortened public keys at most. */
function hear(child: ChildProcess, logger: Logger): Lines {
  const complaints: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue
    createInterface({ input: stream }).on('line', (text) => {
      const complaint = /^ERROR: (?:\([^)]*\) )?(?:\d{4}\/\d\d\/\d\d [\d:]+ )?(.*)/
        .exec(text)?.[1]
        ?.slice(0, longestLine)
      if (complaint === undefined) return
      logger.warn('wireguard-go', { line: complaint })
      complaints.push(complaint)
      if (complaints.length > 10) complaints.shift()
    })
  }
  return { all: () => complaints }
}

function untilEnded(child: ChildProcess, lines: Lines): Promise<string> {
  return new Promise((resolve) => {
    child.once('close', (status, signal) => resolve(lines.all().at(-1) ?? signal ?? `status ${status}`))
  })
}

/** One request on a connection of its own, and the answer, which an empty line ends. */
function exchange(path: string, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(path, () => socket.write(request))
    socket.setEncoding('utf8')
    socket.setTimeout(answerPatience, () => socket.destroy(new Error('no answer')))
    socket.on('data', (text: string) => {
      answer += text
      if (answer.length > maximumAnswerSize) socket.destroy(new Error('an endless answer'))
      if (!answer.endsWith('\n\n')) return
      socket.destroy()
      resolve(answer)
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('no answer')))
  })
}

function explained(cause: unknown, complaints: readonly string[]): PunchGuardError {
  if (cause instanceof PunchGuardError) return cause
  const said = complaints.at(-1) ?? errorMessage(cause)
  if (complaints.some((line) => /operation not permitted|permission denied/i.test(line))) {
    return new PunchGuardError('PERMISSION_DENIED', `wireguard-go may not make the interface: ${said}`, {
      hint: 'run as root, or with the capability CAP_NET_ADMIN',
      cause,
    })
  }
  return new PunchGuardError('GUARD_UNAVAILABLE', `wireguard-go did not start: ${said}`, {
    hint: 'apt install wireguard-go, or set guard = "embedded" in config.toml',
    cause,
  })
}

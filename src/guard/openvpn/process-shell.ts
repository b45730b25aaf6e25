/**
 * One OpenVPN process: its configuration goes in on standard input, it dials a unix socket of ours to be led, and it ends
 * with us, however we end. What it says goes to the log.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { errorMessage, PunchGuardError } from '../../api/errors.ts'
import { programEnvironment } from '../../net/run-command.ts'
import { type Clock, delay } from '../../util/clock.ts'
import type { Logger } from '../../util/logger.ts'
import { runInBackground } from '../../util/run-in-background.ts'
import { Management, type ManagementEffect, type ManagementEvent } from './management.ts'

export type ProcessEvent =
  | ManagementEvent
  /** Somebody on the path holds another pre-shared key, or none. */
  | { readonly kind: 'unreadable' }
  /** Somebody removed the interface. */
  | { readonly kind: 'interface-lost' }

/** A running process. Its events come until it has ended. */
export interface OpenvpnProcess {
  /** Resolves, with the reason in words, when it has ended, for whatever reason; never rejects. */
  readonly ended: Promise<string>
  /** Makes it end. Resolves when it has. */
  end(): Promise<void>
}

/** @throws PunchGuardError GUARD_UNAVAILABLE when it is not installed */
export type StartOpenvpn = (options: {
  readonly config: (managementSocket: string) => string
  readonly listener: (event: ProcessEvent) => void
}) => Promise<OpenvpnProcess>

/** Asked to end, it is killed after this, ms. */
const endPatience = 2000
/** What we say or see ourselves: our commands, and the puncher's datagrams, which come to the same port. */
const expected = /unknown opcode received|^MANAGEMENT: |suppressed by --mute|--mute triggered/
/** What it says before it gives up. */
const complaint = /^options error|^error:|bind failed|cannot|not permitted/i

export function openvpnProcesses(options: {
  /** Private, for the sockets. */
  readonly folder: string
  readonly clock: Clock
  readonly logger: Logger
}): StartOpenvpn {
  let count = 0
  return async ({ config, listener }) => {
    const socketPath = join(options.folder, `openvpn-${++count}.sock`)
    const server = await listen(socketPath)
    const child = spawn('openvpn', ['--config', 'stdin'], {
      env: programEnvironment(),
      // In a group of its own: an interrupt typed at us is ours to pass on.
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const running = new RunningOpenvpn({ ...options, child, server, socketPath, listener })
    child.stdin.on('error', () => {})
    child.stdin.end(config(socketPath))
    try {
      await once(child, 'spawn')
    } catch (cause) {
      await running.ended
      throw notInstalled(cause)
    }
    return running
  }
}

export function notInstalled(cause: unknown): PunchGuardError {
  return new PunchGuardError('GUARD_UNAVAILABLE', 'the program openvpn is not installed', {
    hint: 'apt install openvpn (2.6 or newer), or set guard = "embedded" in config.toml on both devices',
    cause,
  })
}

async function listen(path: string): Promise<Server> {
  const server = createServer()
  server.listen(path)
  await once(server, 'listening')
  await chmod(path, 0o600)
  return server
}

interface Parts {
  readonly child: ChildProcess
  readonly server: Server
  readonly socketPath: string
  readonly listener: (event: ProcessEvent) => void
  readonly clock: Clock
  readonly logger: Logger
}

class RunningOpenvpn implements OpenvpnProcess {
  readonly ended: Promise<string>
  readonly #parts: Parts
  readonly #management: Management = new Management()
  /** The last line that sounds like a reason. */
  #lastWords = ''
  #connection: Socket | undefined
  #interfaceLost = false

  constructor(parts: Parts) {
    const { child, server } = parts
    this.#parts = parts
    this.ended = this.#watchEnd()
    server.once('connection', (connection) => this.#lead(connection))
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#hear(line))
    }
  }

  async end(): Promise<void> {
    const { child, clock } = this.#parts
    child.kill('SIGTERM')
    const patience = new AbortController()
    runInBackground(
      delay(clock, endPatience, patience.signal).then(() => child.kill('SIGKILL')),
      () => {},
    )
    await this.ended
    patience.abort()
  }

  async #watchEnd(): Promise<string> {
    const { child, server, socketPath } = this.#parts
    const reason = await new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(errorMessage(error)))
      child.once('exit', (status, signal) => resolve(signal ?? `status ${status}`))
    })
    this.#connection?.destroy()
    server.close()
    await rm(socketPath, { force: true })
    return this.#lastWords === '' ? reason : `${reason}: ${this.#lastWords}`
  }

  /** Nobody else is let in. */
  #lead(connection: Socket): void {
    this.#connection = connection
    this.#parts.server.close()
    connection.on('error', () => {})
    connection.on('data', (bytes) => this.#obey(this.#management.receive(bytes)))
    this.#obey(this.#management.begin())
  }

  #obey(effects: readonly ManagementEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'send') this.#connection?.write(`${effect.command}\n`)
      else {
        if (effect.kind === 'fatal') this.#lastWords = effect.reason
        this.#parts.listener(effect)
      }
    }
  }

  #hear(line: string): void {
    if (expected.test(line)) return
    this.#parts.logger.debug('openvpn', { line })
    if (complaint.test(line)) this.#lastWords = line
    if (line.startsWith('tls-crypt unwrap error')) this.#parts.listener({ kind: 'unreadable' })
    if (!this.#interfaceLost && /^(read from|write to) TUN\/TAP.*bad state/.test(line)) {
      // It would go on asking, as fast as it can.
      this.#interfaceLost = true
      this.#parts.child.kill('SIGKILL')
      this.#parts.listener({ kind: 'interface-lost' })
    }
  }
}

/**
 * One device of the lab: a daemon of its own with a state folder of its own, driven through the command line as a person
 * would (dist/src/cli/main.js); its event stream is only listened to.
 */

import type { ChildProcess } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DeviceEvent, DeviceStatus } from '../src/api/device.ts'
import { PunchGuardError } from '../src/api/errors.ts'
import { ControlClient } from '../src/daemon/control-client.ts'
import { controlSocketPath } from '../src/daemon/paths.ts'
import { runInBackground } from '../src/util/run-in-background.ts'
import type { Namespace } from './namespace.ts'
import { eachLine, startProgram, stopProgram } from './program.ts'

const cli = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))

export interface LabDeviceOptions {
  readonly name: string
  readonly namespace: Namespace
  /** Its state folder; made here. */
  readonly folder: string
  /** Of config.toml, after the name. */
  readonly config: string
  readonly onEvent: (event: DeviceEvent) => void
  readonly log: (line: string) => void
  /** The daemon logs more. */
  readonly verbose: boolean
}

interface CommandResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export class LabDevice implements AsyncDisposable {
  readonly name: string
  readonly #options: LabDeviceOptions
  readonly #environment: Readonly<Record<string, string>>
  readonly #client: ControlClient
  readonly #running: Set<ChildProcess> = new Set()
  #listening: AbortController | undefined

  constructor(options: LabDeviceOptions) {
    this.name = options.name
    this.#options = options
    const { folder } = options
    this.#environment = { PUNCHGUARD_DIR: folder, NO_COLOR: '1' }
    this.#client = new ControlClient(
      controlSocketPath(folder, { environment: {}, userId: process.getuid?.(), platform: process.platform }),
    )
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, 'config.toml'), `name = "${options.name}"\n${options.config}`, { mode: 0o600 })
  }

  /** Starts the daemon and listens to its events. */
  async start(): Promise<void> {
    const child = startProgram(this.#commandLine(this.#options.verbose ? ['daemon', '--verbose'] : ['daemon']), {
      env: this.#environment,
    })
    this.#watch(child, 'daemon')
    const gone = new Promise<never>((_, reject) => {
      child.once('exit', (status) => reject(failure(`the daemon of ${this.name} ended with status ${status}`)))
    })
    gone.catch(() => {})
    await Promise.race([gone, this.listen()])
  }

  /** Waits until a daemon answers and passes on its events. */
  async listen(): Promise<void> {
    const end = performance.now() + 60_000
    for (;;) {
      try {
        await this.#client.status()
        break
      } catch (error) {
        if (performance.now() > end) throw error
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    this.#listening?.abort()
    const listening = new AbortController()
    this.#listening = listening
    const { events } = await this.#client.subscribe({ signal: listening.signal })
    const pass = async (): Promise<void> => {
      for await (const event of events) this.#options.onEvent(event)
    }
    runInBackground(pass(), (error) => this.#options.log(`events of ${this.name} ended: ${error}`))
  }

  /** Runs a command to its end and gives what it printed. @throws PunchGuardError DAEMON_FAILED when it fails */
  async run(args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.#command(args, () => {})
    if (status === 0) return stdout
    const said = /error: (.*)/.exec(stderr)?.[1] ?? stderr.trim().split('\n')[0] ?? ''
    throw failure(`punchguard ${args[0]} on ${this.name} ended with status ${status}: ${said}`)
  }

  /** As `run`, with every line of the output as it comes. */
  async follow(args: readonly string[], onLine: (line: string) => void): Promise<void> {
    const { status, stderr } = await this.#command(args, onLine)
    if (status === 0) return
    const said = /error: (.*)/.exec(stderr)?.[1] ?? ''
    throw failure(`punchguard ${args[0]} on ${this.name} ended with status ${status}: ${said}`)
  }

  async status(): Promise<DeviceStatus> {
    return decodeStatus(await this.run(['status', '--json']))
  }

  /** Resident memory of the daemon, bytes. */
  residentBytes(): number | undefined {
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue
      try {
        const environment = readFileSync(`/proc/${entry}/environ`, 'utf8').split('\0')
        const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0')
        if (!environment.includes(`PUNCHGUARD_DIR=${this.#options.folder}`) || !command.includes('daemon')) continue
        const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${entry}/status`, 'utf8'))?.[1]
        if (kibibytes !== undefined) return Number(kibibytes) * 1024
      } catch {
        // The process ended while it was looked at.
      }
    }
    return undefined
  }

  /** Ends the daemon, however it was started, and every command still running. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listening?.abort()
    await this.#command(['stop'], () => {})
    await Promise.all([...this.#running].map((child) => stopProgram(child, { patience: 5000 })))
  }

  #commandLine(args: readonly string[]): readonly string[] {
    return this.#options.namespace.command([process.execPath, cli, ...args])
  }

  #command(args: readonly string[], onLine: (line: string) => void): Promise<CommandResult> {
    const child = startProgram(this.#commandLine(args), { env: this.#environment })
    child.stdin?.end()
    this.#running.add(child)
    const out: string[] = []
    const problems: string[] = []
    eachLine(child.stdout, (line) => {
      out.push(line)
      onLine(line)
    })
    eachLine(child.stderr, (line) => {
      problems.push(line)
      this.#options.log(`${this.name}: ${line}`)
    })
    return new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (status) => {
        this.#running.delete(child)
        resolve({ status: status ?? 1, stdout: out.join('\n'), stderr: problems.join('\n') })
      })
    })
  }

  #watch(child: ChildProcess, what: string): void {
    this.#running.add(child)
    child.on('exit', () => this.#running.delete(child))
    for (const stream of [child.stdout, child.stderr]) {
      eachLine(stream, (line) => this.#options.log(`${what} of ${this.name}: ${line}`))
    }
  }
}

function decodeStatus(text: string): DeviceStatus {
  return JSON.parse(text.trim().split('\n').at(-1) ?? '') as DeviceStatus
}

function failure(message: string): PunchGuardError {
  return new PunchGuardError('DAEMON_FAILED', message, { hint: 'run with --verbose to see what the devices say' })
}

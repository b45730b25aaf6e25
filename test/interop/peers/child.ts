/** A child process that speaks JSON lines on its standard streams; killed by its pid, whatever happens. */

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** The words of the peers' lines. Values are looked at where they are used. */
export interface Line {
  readonly event?: unknown
  readonly do?: unknown
  readonly key?: unknown
  readonly address?: unknown
  readonly secretKey?: unknown
  readonly dhtKey?: unknown
  readonly port?: unknown
  readonly version?: unknown
  readonly kind?: unknown
  readonly text?: unknown
  readonly texts?: unknown
  readonly bootstrap?: unknown
  readonly friends?: unknown
}

export class LineProcess implements AsyncDisposable {
  readonly #process: ChildProcess
  readonly #exited: Promise<void>
  readonly #listeners: Set<(line: Line) => void> = new Set()
  #errors = ''

  constructor(program: string, args: readonly string[]) {
    this.#process = spawn(program, [...args], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#exited = new Promise((resolve) => {
      this.#process.once('exit', () => resolve())
      this.#process.once('error', () => resolve())
    })
    this.#process.stdin?.on('error', () => {})
    this.#process.stderr?.on('data', (text: Buffer) => {
      this.#errors = (this.#errors + text.toString()).slice(-2_000)
    })
    if (this.#process.stdout !== null) {
      createInterface({ input: this.#process.stdout }).on('line', (text) => {
        const line = parseLine(text)
        for (const listener of [...this.#listeners]) listener(line)
      })
    }
  }

  /** The end of what it wrote to standard error. */
  get errors(): string {
    return this.#errors
  }

  listen(listener: (line: Line) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  say(line: Line): void {
    this.#process.stdin?.write(`${JSON.stringify(line)}\n`)
  }

  /** The first line, from now on, that the condition holds for. */
  async next(what: string, condition: (line: Line) => boolean, signal: AbortSignal): Promise<Line> {
    return await new Promise((resolve, reject) => {
      const end = (): void => {
        listening[Symbol.dispose]()
        signal.removeEventListener('abort', onAbort)
      }
      const onAbort = (): void => {
        end()
        reject(new Error(`${what}: ${String(signal.reason)} ${this.#errors}`))
      }
      const listening = this.listen((line) => {
        if (!condition(line)) return
        end()
        resolve(line)
      })
      this.#exited.then(() => {
        end()
        reject(new Error(`${what}: the peer exited. ${this.#errors}`))
      }, reject)
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** Ends the process as a crash would. */
  async kill(): Promise<void> {
    if (this.#process.exitCode === null) this.#process.kill('SIGKILL')
    await this.#exited
  }

  /** Waits until it ends by itself. */
  async exit(): Promise<void> {
    await this.#exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}

/** What is no JSON is given as `{ text }`. */
function parseLine(text: string): Line {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : { text }
  } catch {
    return { text }
  }
}

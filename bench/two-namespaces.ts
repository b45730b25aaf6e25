/**
 * Two network namespaces joined by a veth pair, and programs in them, for bench/guard.ts and the end-to-end tests. Needs
 * root. Everything is gone after `close`: the programs first, by their process ids.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { GuardEndOptions } from './guard-end.ts'

export type Side = 'a' | 'b'

/** Whether the programs may speak on our standard error. */
const isVerbose = process.argv.includes('--verbose')

/** Outer addresses on the veth. */
export const outside: Readonly<Record<Side, string>> = { a: '192.168.77.1', b: '192.168.77.2' }

export class TwoNamespaces {
  readonly #prefix: string
  readonly #children: Set<ChildProcess> = new Set()

  /** `prefix` and a letter name the namespaces. */
  constructor(prefix: string) {
    this.#prefix = prefix
    for (const side of ['a', 'b'] as const) execFileSync('ip', ['netns', 'add', prefix + side])
    this.ip('a', ['link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'veth0', 'netns', `${prefix}b`])
    for (const side of ['a', 'b'] as const) {
      this.ip(side, ['link', 'set', 'lo', 'up'])
      this.ip(side, ['address', 'add', `${outside[side]}/24`, 'dev', 'veth0'])
      this.ip(side, ['link', 'set', 'dev', 'veth0', 'up'])
    }
  }

  ip(side: Side, args: readonly string[]): string {
    return this.run(side, 'ip', args)
  }

  /** Its standard output. @throws when it fails */
  run(side: Side, program: string, args: readonly string[]): string {
    const all = ['netns', 'exec', this.#prefix + side, program, ...args]
    return execFileSync('ip', all, { encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'pipe'] })
  }

  /** The same, `undefined` when it fails. */
  tryRun(side: Side, program: string, args: readonly string[]): string | undefined {
    try {
      return this.run(side, program, args)
    } catch {
      return undefined
    }
  }

  /** Started inside, and ended with us. */
  start(side: Side, program: string, args: readonly string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.#prefix + side, program, ...args], {
      stdio: ['pipe', 'pipe', isVerbose ? 'inherit' : 'ignore'],
    })
    this.#children.add(child)
    child.on('exit', () => this.#children.delete(child))
    return child
  }

  /** A guard of ours, ready. */
  async startEnd(side: Side, options: GuardEndOptions): Promise<GuardEnd> {
    const program = fileURLToPath(new URL('./guard-end.js', import.meta.url))
    const child = this.start(side, process.execPath, [program, JSON.stringify(options)])
    const end = new GuardEnd(child)
    await end.answer()
    return end
  }

  /** Ends every program. */
  async endPrograms(): Promise<void> {
    const left = [...this.#children]
    const ends = left.map((child) => once(child, 'exit'))
    for (const child of left) child.kill('SIGKILL')
    await Promise.all(ends)
  }

  close(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    for (const side of ['a', 'b'] as const) execFileSync('ip', ['netns', 'delete', this.#prefix + side])
  }
}

export class GuardEnd {
  readonly child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #reader: Interface

  constructor(child: ChildProcess) {
    this.child = child
    if (child.stdout === null) throw new Error('The program has no standard output')
    this.#reader = createInterface({ input: child.stdout })
    this.#lines = this.#reader[Symbol.asyncIterator]()
  }

  async answer(): Promise<Record<string, unknown>> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('The program ended before it answered')
    return JSON.parse(value)
  }

  ask(command: string): Promise<Record<string, unknown>> {
    this.child.stdin?.write(`${command}\n`)
    return this.answer()
  }
}

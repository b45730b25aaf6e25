/**
 * Two network namespaces joined by a veth pair, and programs in them, for bench/guard and the end-to-end tests. Needs
 * root. Everything is gone after `close`, and when the process exits for whatever reason: the programs first, by their
 * process ids.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { GuardEndOptions } from './guard-end.ts'

export type Side = 'a' | 'b'

export const sides: readonly Side[] = ['a', 'b']

/** Whether the programs may speak on our standard error. */
const isVerbose = process.argv.includes('--verbose')

/** Outer addresses on the veth. */
export const outside: Readonly<Record<Side, string>> = { a: '192.168.77.1', b: '192.168.77.2' }

export class TwoNamespaces {
  readonly #prefix: string
  readonly #children: Set<ChildProcess> = new Set()
  readonly #onExit = (): void => this.close()

  /** `prefix` and a letter name the namespaces. */
  constructor(prefix: string) {
    this.#prefix = prefix
    process.on('exit', this.#onExit)
    try {
      this.#build()
    } catch (error) {
      this.close()
      throw error
    }
  }

  nameOf(side: Side): string {
    return this.#prefix + side
  }

  ip(side: Side, args: readonly string[]): string {
    return this.run(side, 'ip', args)
  }

  /** Its standard output. @throws when it fails */
  run(side: Side, program: string, args: readonly string[]): string {
    const all = ['netns', 'exec', this.nameOf(side), program, ...args]
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

  /** Its standard output so far when it has ended, with whatever status, or after `within` ms, when it is ended. */
  async output(side: Side, program: string, options: OutputOptions): Promise<string> {
    const child = this.start(side, program, options.args)
    const timer = setTimeout(() => child.kill('SIGKILL'), options.within)
    let text = ''
    child.stdout?.on('data', (part) => {
      text += part
    })
    await once(child, 'close')
    clearTimeout(timer)
    return text
  }

  /** Started inside, and ended with us. */
  start(side: Side, program: string, args: readonly string[]): ChildProcess {
    return this.#spawn('ip', ['netns', 'exec', this.nameOf(side), program, ...args])
  }

  /** Started outside of both, and ended with them. */
  startOutside(program: string, args: readonly string[]): ChildProcess {
    return this.#spawn(program, args)
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

  /** May be called again. */
  close(): void {
    process.off('exit', this.#onExit)
    for (const child of this.#children) child.kill('SIGKILL')
    for (const name of sides.map((side) => this.nameOf(side)))
      if (existsSync(`/run/netns/${name}`)) execFileSync('ip', ['netns', 'delete', name])
  }

  #build(): void {
    for (const side of sides) execFileSync('ip', ['netns', 'add', this.nameOf(side)])
    this.ip('a', ['link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'veth0', 'netns', this.nameOf('b')])
    for (const side of sides) {
      this.ip(side, ['link', 'set', 'lo', 'up'])
      this.ip(side, ['address', 'add', `${outside[side]}/24`, 'dev', 'veth0'])
      this.ip(side, ['link', 'set', 'dev', 'veth0', 'up'])
    }
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', isVerbose ? 'inherit' : 'ignore'] })
    // One that has ended reads no more.
    child.stdin?.on('error', () => {})
    this.#children.add(child)
    child.on('exit', () => this.#children.delete(child))
    return child
  }
}

export interface OutputOptions {
  readonly args: readonly string[]
  /** ms */
  readonly within: number
}

/** A program that answers each line on its standard input with one of JSON. */
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

/** A moment after its first session the workers go on with an end's tunnel. */
export async function untilWorkers(...ends: readonly GuardEnd[]): Promise<void> {
  for (const end of ends) {
    while ((await end.ask('status'))['dataPlane'] !== 'workers') await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

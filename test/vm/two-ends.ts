/** The two ends of a tunnel in their namespaces, each a process of its own (end.ts), and what they say. */

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Side, TwoNamespaces } from '../../bench/two-namespaces.ts'
import type { GuardKind } from '../../src/api/roles.ts'
import { systemClock } from '../../src/util/clock.ts'
import type { EndOptions, EndOrder, EndReport } from './end.ts'

/** Addresses inside the tunnel. */
export const inner: Readonly<Record<Side, string>> = { a: '10.70.0.1', b: '10.70.0.2' }
export const port = 5000

const keys = { a: `${'10'.repeat(31)}50`, b: `${'20'.repeat(31)}60` } as const

export class End {
  readonly child: ChildProcess
  readonly #reports: EndReport[] = []
  #other: End | undefined
  #wake: () => void = () => {}

  /** `a` begins the handshake. */
  constructor(spaces: TwoNamespaces, side: Side, guard: GuardKind) {
    const program = fileURLToPath(new URL('./end.js', import.meta.url))
    this.child = spaces.start(side, process.execPath, [program, JSON.stringify(optionsFor(side, guard))])
    if (this.child.stdout === null) throw new Error('The end has no standard output')
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      const report: EndReport = JSON.parse(line)
      if (report.kind === 'punch-message') this.#other?.order(report)
      else this.#reports.push(report)
      this.#wake()
    })
  }

  /** What it tells its puncher's peer goes there. */
  pair(other: End): void {
    this.#other = other
  }

  order(order: EndOrder): void {
    this.child.stdin?.write(`${JSON.stringify(order)}\n`)
  }

  /** What it has reported until now is of no interest. */
  forget(): void {
    this.#reports.length = 0
  }

  /** The next report of a kind. Those of other kinds stay. */
  async report<K extends EndReport['kind']>(kind: K, within = 30_000): Promise<Extract<EndReport, { kind: K }>> {
    const isIt = (report: EndReport): report is Extract<EndReport, { kind: K }> => report.kind === kind
    const end = systemClock.now() + within
    for (;;) {
      const found = this.#reports.find(isIt)
      if (found !== undefined) {
        this.#reports.splice(this.#reports.indexOf(found), 1)
        return found
      }
      const left = end - systemClock.now()
      if (left <= 0) throw new Error(`no ${kind} within ${within} ms`)
      await new Promise<void>((resolve) => {
        const timer = systemClock.after(left, resolve)
        this.#wake = () => {
          timer[Symbol.dispose]()
          resolve()
        }
      })
    }
  }

  async stop(): Promise<void> {
    const gone = once(this.child, 'exit')
    this.order({ kind: 'stop' })
    await this.report('stopped')
    await gone
  }

  /** As a process dies that is killed, or whose machine takes its memory away. */
  async crash(): Promise<void> {
    const gone = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await gone
  }
}

function optionsFor(side: Side, guard: GuardKind): EndOptions {
  const other = side === 'a' ? 'b' : 'a'
  return {
    name: side,
    guard,
    port,
    privateKey: keys[side],
    peerPrivateKey: keys[other],
    presharedKey: '33'.repeat(32),
    address: inner[side],
    peerAddress: inner[other],
    controlling: side === 'a',
    undoLogPath: `/tmp/undo-${side}`,
  }
}

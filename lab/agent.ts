/** The lab's side of an agent (processes/agent.ts): one process in a namespace that pings and copies. */

import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { PunchGuardError } from '../src/api/errors.ts'
import type { Namespace } from './namespace.ts'
import { type AgentEvent, type AgentRequest, decodeLine, encodeLine } from './processes/agent-protocol.ts'
import { eachLine, startProgram, stopProgram } from './program.ts'

export const processFile = (name: string): string => fileURLToPath(new URL(`processes/${name}.js`, import.meta.url))

/** A request without its number. */
type Order = AgentRequest extends infer Request ? (Request extends unknown ? Omit<Request, 'id'> : never) : never

export interface PingReply {
  readonly sentAt: number
  readonly at: number
}

export interface Copied {
  readonly bytes: number
  readonly milliseconds: number
  readonly equal: boolean
}

export class Agent implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #listeners: Map<number, (event: AgentEvent) => void> = new Map()
  #nextId = 1

  constructor(namespace: Namespace, options: { readonly log: (line: string) => void }) {
    this.#child = startProgram(namespace.command([process.execPath, '--enable-source-maps', processFile('agent')]))
    eachLine(this.#child.stdout, (line) => {
      const event = decodeLine<AgentEvent>(line)
      this.#listeners.get(event.id)?.(event)
    })
    eachLine(this.#child.stderr, (line) => options.log(`agent of ${namespace.name}: ${line}`))
    this.#child.stdin?.on('error', () => options.log(`agent of ${namespace.name} is gone`))
  }

  /** Pings until disposed. */
  ping(
    options: { readonly address: string; readonly interval: number },
    onReply: (reply: PingReply) => void,
  ): Disposable {
    const id = this.#order({ kind: 'ping', ...options }, (event) => {
      if (event.kind === 'reply') onReply(event)
    })
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(id)
        this.#child.stdin?.write(encodeLine({ id, kind: 'stop' }))
      },
    }
  }

  /** The port on which copies are taken. */
  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#order({ kind: 'listen' }, (event) => {
        if (event.kind === 'listening') resolve(event.port)
        if (event.kind === 'failed') reject(failure('cannot take a copy', event.reason))
      })
    })
  }

  copy(
    options: { readonly address: string; readonly port: number; readonly bytes: number },
    onProgress: (bytes: number) => void = () => {},
  ): Promise<Copied> {
    return new Promise((resolve, reject) => {
      this.#order({ kind: 'copy', ...options }, (event) => {
        if (event.kind === 'progress') onProgress(event.bytes)
        if (event.kind === 'failed') reject(failure('the copy failed', event.reason))
        if (event.kind !== 'copied') return
        const { bytes, milliseconds, sent, arrived } = event
        resolve({ bytes, milliseconds, equal: sent === arrived })
      })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopProgram(this.#child, { patience: 1000 })
  }

  #order(order: Order, listener: (event: AgentEvent) => void): number {
    const id = this.#nextId++
    this.#listeners.set(id, listener)
    this.#child.stdin?.write(encodeLine({ ...order, id }))
    return id
  }
}

function failure(what: string, reason: string): PunchGuardError {
  return new PunchGuardError('GUARD_UNAVAILABLE', `${what}: ${reason}`, { hint: 'run with --verbose to see more' })
}

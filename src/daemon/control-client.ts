/** The other end of the control socket: what the command line, the lab and other programs call. */

import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import type { DeviceEvent, DeviceStatus, InviteText } from '../api/device.ts'
import { PunchGuardError } from '../api/errors.ts'
import { systemErrorName } from '../net/state-folder.ts'
import { errorOf } from './problem.ts'

export interface EventStream {
  /** The events from now on; ends when the daemon does, or when `signal` is aborted. */
  readonly events: AsyncIterable<DeviceEvent>
}

/** Our choice: opening the tunnel takes longest of what is not a join, some seconds on a small machine, ms. */
const answerPatience = 60_000

export class ControlClient {
  readonly #socketPath: string

  constructor(socketPath: string) {
    this.#socketPath = socketPath
  }

  /** @throws PunchGuardError DAEMON_NOT_RUNNING, PERMISSION_DENIED */
  status(): Promise<DeviceStatus> {
    return this.#ask('GET', '/v1/status')
  }

  invite(options: { readonly validFor?: number } = {}): Promise<InviteText> {
    return this.#ask('POST', '/v1/invites', { body: options })
  }

  /** The new peer's name. Going away before that cancels it. */
  async join(code: string, options: { readonly signal?: AbortSignal } = {}): Promise<string> {
    return (await this.#ask<{ peer: string }>('POST', '/v1/joins', { ...options, body: { code } })).peer
  }

  up(): Promise<DeviceStatus> {
    return this.#ask('POST', '/v1/up')
  }

  down(): Promise<DeviceStatus> {
    return this.#ask('POST', '/v1/down')
  }

  forget(peer: string): Promise<void> {
    return this.#ask('DELETE', `/v1/peers/${encodeURIComponent(peer)}`)
  }

  async exportCard(): Promise<string> {
    return (await this.#ask<{ card: string }>('GET', '/v1/card')).card
  }

  /** The new peer's name. */
  async importCard(card: string): Promise<string> {
    return (await this.#ask<{ peer: string }>('POST', '/v1/peers', { body: { card } })).peer
  }

  /** Resolves when the daemon has heard it, not when it has ended. */
  stop(): Promise<void> {
    return this.#ask('POST', '/v1/stop')
  }

  /** Resolves when the daemon listens to us: no later event is missed. */
  async subscribe(options: { readonly signal: AbortSignal }): Promise<EventStream> {
    const response = await this.#send('GET', '/v1/events', options)
    if (response.statusCode !== 200) throw errorOf(decodeAnswer(await readText(response)))
    return { events: readEvents(response, options.signal) }
  }

  async #ask<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const signal = options.signal ?? AbortSignal.timeout(answerPatience)
    const response = await this.#send(method, path, { ...options, signal })
    const text = await readText(response)
    if ((response.statusCode ?? 500) >= 400) throw errorOf(decodeAnswer(text))
    return decodeAnswer<T>(text)
  }

  #send(method: string, path: string, options: RequestOptions): Promise<IncomingMessage> {
    const body = options.body === undefined ? undefined : JSON.stringify(options.body)
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          // Without an agent: it would first find out whether our host name is an address, for 5 ms.
          createConnection: () => connect(this.#socketPath),
          method,
          path,
          headers: {
            host: 'punchguard',
            ...(body !== undefined && {
              'content-type': 'application/json',
              'content-length': Buffer.byteLength(body),
            }),
          },
          ...(options.signal && { signal: options.signal }),
        },
        resolve,
      )
      sent.once('error', (error) =>
        reject(options.signal?.aborted ? abortReason(options.signal) : connectionError(error)),
      )
      sent.end(body)
    })
  }
}

interface RequestOptions {
  readonly body?: unknown
  readonly signal?: AbortSignal
}

/** Trusted to be what it should: the other end is this same program, on a socket of this user. */
function decodeAnswer<T>(text: string): T {
  if (text === '') return undefined as T
  try {
    return JSON.parse(text) as T
  } catch {
    throw errorOf(undefined)
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8')
  let text = ''
  try {
    for await (const chunk of response) text += chunk
  } catch (error) {
    throw connectionError(error)
  }
  return text
}

async function* readEvents(response: IncomingMessage, signal: AbortSignal): AsyncGenerator<DeviceEvent, void, void> {
  response.setEncoding('utf8')
  let text = ''
  try {
    for await (const chunk of response) {
      text += chunk
      const blocks = text.split('\n\n')
      text = blocks.pop() ?? ''
      for (const block of blocks) {
        const data = /^data: (.*)$/m.exec(block)?.[1]
        if (data !== undefined && !block.startsWith('event:')) yield decodeAnswer<DeviceEvent>(data)
      }
    }
  } catch (error) {
    // The daemon ended, or we did.
    if (!signal.aborted && systemErrorName(error) !== 'ECONNRESET') throw error
  }
}

function abortReason(signal: AbortSignal): unknown {
  if (!(signal.reason instanceof DOMException) || signal.reason.name !== 'TimeoutError') return signal.reason
  return new PunchGuardError('TIMEOUT', `the daemon did not answer within ${answerPatience / 1000} s`, {
    hint: 'punchguard logs shows what it is doing; punchguard stop ends it',
    cause: signal.reason,
  })
}

function connectionError(error: unknown): PunchGuardError {
  const name = systemErrorName(error)
  if (name === 'EACCES' || name === 'EPERM') {
    return new PunchGuardError('PERMISSION_DENIED', 'the daemon belongs to another user', {
      hint: 'run this as its owner or as root: sudo punchguard …',
      cause: error,
    })
  }
  const ended = name === 'ECONNRESET' || name === 'EPIPE'
  return new PunchGuardError('DAEMON_NOT_RUNNING', ended ? 'the daemon ended meanwhile' : 'the daemon is not running', {
    hint: ended ? 'punchguard logs shows why' : 'punchguard up starts it; punchguard pair too',
    cause: error,
  })
}

/**
 * HTTP/1.1 on a unix socket, or a pipe of Windows, for the routes of control-api.ts, and the event stream (server-sent events, WHATWG HTML
 * §9.2). Only the owner of the socket and root get an answer; what a browser could be made to send is refused.
 */

import { chmodSync, lstatSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createConnection, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { PunchGuardError } from '../api/errors.ts'
import { makePrivateFolder, systemErrorName } from '../net/state-folder.ts'
import type { Logger } from '../util/logger.ts'
import { runInBackground } from '../util/run-in-background.ts'
import type { ControlAnswer, ControlRoute } from './control-api.ts'
import type { EventLog } from './event-log.ts'
import { isPipe } from './paths.ts'
import { problemOf } from './problem.ts'

/** Who is at the other end of a unix socket, as the system says. */
export type PeerCredentials = (socket: Socket) => Promise<{ readonly uid: number } | undefined>

export interface ControlServerOptions {
  readonly path: string
  readonly routes: readonly ControlRoute[]
  readonly events: EventLog
  readonly logger: Logger
  /** Without it the mode of the socket alone keeps others out. */
  readonly peerCredentials?: PeerCredentials
}

/** A card or an invite is 300 bytes. */
const maximumBodyBytes = 16 * 1024
const maximumConnections = 64
const hosts: readonly string[] = ['punchguard', 'localhost']

/** @throws PunchGuardError DAEMON_RUNNING, ADDRESS_IN_USE, PERMISSION_DENIED */
export async function startControlServer(options: ControlServerOptions): Promise<AsyncDisposable> {
  const { path, logger } = options
  const isFile = !isPipe(path)
  if (isFile) {
    await makePrivateFolder(dirname(path))
    await removeStaleSocket(path)
  }
  const trusted = new WeakMap<Socket, Promise<boolean>>()
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
    const answered = async (): Promise<void> => {
      if (!(await trusted.get(request.socket))) throw anotherUser()
      await answer(request, response, options)
    }
    runInBackground(answered(), (error) => sendProblem(response, error, { logger }))
  })
  server.maxConnections = maximumConnections
  server.on('connection', (socket) => trusted.set(socket, isTrusted(socket, options.peerCredentials)))
  await new Promise<void>((resolve, reject) => {
    const mask = process.umask(0o177)
    server.once('error', (cause) => {
      const what = `the control socket ${path} could not be opened: ${systemErrorName(cause) ?? cause.message}`
      reject(new PunchGuardError('ADDRESS_IN_USE', what, { hint: 'name another folder in PUNCHGUARD_DIR', cause }))
    })
    server.listen(path, resolve)
    process.umask(mask)
  })
  if (isFile) chmodSync(path, 0o600)
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
      if (isFile) rmSync(path, { force: true })
    },
  }
}

/** Root and the user of this process; nobody when the system cannot tell. */
async function isTrusted(socket: Socket, peerCredentials: PeerCredentials | undefined): Promise<boolean> {
  if (peerCredentials === undefined) return true
  const uid = (await peerCredentials(socket).catch(() => undefined))?.uid
  return uid !== undefined && (uid === 0 || uid === process.getuid?.())
}

function anotherUser(): PunchGuardError {
  return new PunchGuardError('PERMISSION_DENIED', 'this daemon belongs to another user', {
    hint: 'run this as its owner or as root',
  })
}

/** After a SIGKILL the socket is still there and nobody answers. */
async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) {
    const what = `there is something else than a control socket at ${path}`
    throw new PunchGuardError('ADDRESS_IN_USE', what, { hint: 'move it away' })
  }
  const answers = await new Promise<boolean>((resolve) => {
    const socket = createConnection(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
  if (answers) {
    throw new PunchGuardError('DAEMON_RUNNING', `another daemon answers at ${path}`, {
      hint: 'stop it first: punchguard stop',
    })
  }
  rmSync(path, { force: true })
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: ControlServerOptions,
): Promise<void> {
  refuseBrowsers(request)
  const path = new URL(request.url ?? '/', 'http://punchguard').pathname
  if (path === '/v1/events' && request.method === 'GET') {
    streamEvents(request, response, options)
    return
  }
  const matching = options.routes.filter((route) => route.path.test(path))
  const route = matching.find(({ method }) => method === request.method)
  if (route === undefined) {
    const status = matching.length > 0 ? 405 : 404
    const error = new PunchGuardError('USAGE', `there is no ${request.method} ${path}`, {
      hint: 'docs/control-api.md lists all requests',
    })
    if (status === 405) response.setHeader('allow', matching.map(({ method }) => method).join(', '))
    sendProblem(response, error, { logger: options.logger, status })
    return
  }
  const gone = new AbortController()
  response.once('close', () => gone.abort(new Error('the client went away')))
  const parameters = (route.path.exec(path) ?? []).slice(1).map(decodeParameter)
  const body = await readJson(request)
  send(response, await route.handle({ parameters, body, signal: gone.signal }))
}

/** A web page can make its visitor's browser send requests; it cannot hide where they come from. */
function refuseBrowsers(request: IncomingMessage): void {
  const host = request.headers.host?.replace(/:\d+$/, '').toLowerCase()
  if (request.headers.origin !== undefined || host === undefined || !hosts.includes(host)) {
    throw new PunchGuardError('PERMISSION_DENIED', 'requests of browsers and for other hosts are refused', {
      hint: 'send "Host: punchguard" and no Origin',
    })
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    if (!(chunk instanceof Buffer)) continue
    size += chunk.length
    if (size > maximumBodyBytes) throw usage('the request is too large', `at most ${maximumBodyBytes} bytes`)
    chunks.push(chunk)
  }
  if (size === 0) return undefined
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    throw usage('the body is not JSON', 'send "Content-Type: application/json"')
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (cause) {
    throw usage('the body is not valid JSON', 'docs/control-api.md has the fields', cause)
  }
}

function streamEvents(request: IncomingMessage, response: ServerResponse, { events }: ControlServerOptions): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  response.write(': the events of this device\n\n')
  const lastId = request.headers['last-event-id']
  const write = ({ id, event }: { readonly id: string; readonly event: unknown }): void => {
    response.write(`id: ${id}\ndata: ${JSON.stringify(event)}\n\n`)
    // A client that does not read may not hold the daemon's memory.
    if (response.writableLength > 1024 * 1024) response.destroy()
  }
  if (typeof lastId === 'string') {
    const { missed, events: past } = events.after(lastId)
    if (missed) response.write('event: missed\ndata: {}\n\n')
    for (const event of past) write(event)
  }
  const subscription = events.subscribe(write)
  response.once('close', () => subscription[Symbol.dispose]())
}

function send(response: ServerResponse, { status, body, afterwards }: ControlAnswer, type = 'application/json'): void {
  if (afterwards !== undefined) response.once('close', afterwards)
  if (response.headersSent || response.destroyed) return
  if (body === undefined) {
    response.writeHead(status).end()
    return
  }
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(`${JSON.stringify(body)}\n`)
}

function sendProblem(
  response: ServerResponse,
  error: unknown,
  options: { readonly logger: Logger; readonly status?: number },
): void {
  const problem = problemOf(error, options)
  if (problem.status === 500)
    options.logger.error('a request failed', { error, stack: error instanceof Error ? error.stack : undefined })
  // The rest of a refused body is not read: the connection cannot be used again.
  if (!response.req.complete && !response.headersSent) response.setHeader('connection', 'close')
  send(response, { status: problem.status, body: problem }, 'application/problem+json')
}

function decodeParameter(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function usage(message: string, hint: string, cause?: unknown): PunchGuardError {
  return new PunchGuardError('USAGE', message, { hint, cause })
}

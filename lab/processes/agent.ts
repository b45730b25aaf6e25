/**
 * What a person on a device would run, as one process in its namespace: pings, and copies over TCP with SHA-256 on both
 * ends. Requests come on standard input; it ends with it.
 */

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { errorMessage } from '../../src/api/errors.ts'
import { runInBackground } from '../../src/util/run-in-background.ts'
import { eachLine } from '../program.ts'
import { type AgentEvent, type AgentRequest, decodeLine, encodeLine, machineTime } from './agent-protocol.ts'
import { EchoSocket } from './echo-socket.ts'

const running: Map<number, () => void> = new Map()
/** A copy that moves nothing for so long has failed, ms. */
const stallTimeout = 20_000
const blockSize = 64 * 1024

function say(event: AgentEvent): void {
  process.stdout.write(encodeLine(event))
}

async function handle(request: AgentRequest): Promise<void> {
  switch (request.kind) {
    case 'ping':
      return await ping(request)
    case 'stop':
      running.get(request.id)?.()
      running.delete(request.id)
      return
    case 'listen':
      return listen(request.id)
    case 'copy':
      return await copy(request)
  }
}

async function ping({ id, address, interval }: AgentRequest & { readonly kind: 'ping' }): Promise<void> {
  const sent = new Map<number, number>()
  const socket = await EchoSocket.open({
    address,
    identifier: ((process.pid + id) % 65_535) + 1,
    onReply: (sequence) => {
      const sentAt = sent.get(sequence)
      if (sentAt !== undefined && sent.delete(sequence)) say({ id, kind: 'reply', sentAt, at: machineTime() })
    },
  })
  let sequence = 0
  const send = (): void => {
    sequence = (sequence + 1) & 0xffff
    sent.set(sequence, machineTime())
    sent.delete((sequence - 10_000) & 0xffff)
    socket.send(sequence)
  }
  const timer = setInterval(send, interval)
  running.set(id, () => {
    clearInterval(timer)
    socket[Symbol.dispose]()
  })
  send()
}

function listen(id: number): void {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash('sha256')
    socket.on('data', (bytes) => hash.update(bytes))
    socket.on('end', () => socket.end(hash.digest('hex')))
    socket.on('error', () => socket.destroy())
  })
  server.on('error', (error) => say({ id, kind: 'failed', reason: error.message }))
  server.listen(0, '0.0.0.0', () => {
    const address = server.address()
    if (address !== null && typeof address === 'object') say({ id, kind: 'listening', port: address.port })
  })
}

async function copy({ id, address, port, bytes }: AgentRequest & { readonly kind: 'copy' }): Promise<void> {
  const hash = createHash('sha256')
  const block = randomBytes(blockSize)
  const begin = machineTime()
  const socket = connect({ host: address, port, timeout: stallTimeout })
  socket.on('timeout', () => socket.destroy(new Error(`nothing moved for ${stallTimeout / 1000} s`)))
  let arrived = ''
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    arrived += text
  })
  const ended = once(socket, 'end')
  // It rejects while another step is awaited too; that step fails for the same reason.
  runInBackground(ended, () => {})
  await once(socket, 'connect')
  for (let left = bytes, count = 0; left > 0 && !socket.destroyed; left -= blockSize, count++) {
    // Every block differs, so that blocks in another order make another hash.
    const own = Buffer.from(block.subarray(0, Math.min(left, blockSize)))
    own.writeUInt32BE(count, 0)
    hash.update(own)
    if (!socket.write(own)) await once(socket, 'drain')
    if (count % 64 === 63) say({ id, kind: 'progress', bytes: bytes - left + own.length })
  }
  socket.end()
  await ended
  say({ id, kind: 'copied', bytes, milliseconds: machineTime() - begin, sent: hash.digest('hex'), arrived })
}

eachLine(process.stdin, (line) => {
  const request = decodeLine<AgentRequest>(line)
  runInBackground(handle(request), (error) => say({ id: request.id, kind: 'failed', reason: errorMessage(error) }))
})
process.stdin.on('end', () => process.exit(0))

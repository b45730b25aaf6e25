/**
 * Sends a known stream over TCP and checks the known stream that comes back, both ways at once:
 *
 *   transfer.js serve ADDRESS PORT BYTES      prints {"listening":true}, then {"ok":...}
 *   transfer.js connect ADDRESS PORT BYTES    prints {"ok":...}
 */

import { createCipheriv, createHash } from 'node:crypto'
import { createServer, type Socket, connect as tcpConnect } from 'node:net'
import { Readable } from 'node:stream'

const chunk = 1 << 16

/** AES-CTR of zeros: the same at both ends for the same name. */
function* streamOf(name: string, length: number): Generator<Uint8Array> {
  const cipher = createCipheriv('aes-128-ctr', createHash('md5').update(name).digest(), new Uint8Array(16))
  for (let left = length; left > 0; left -= chunk) yield cipher.update(new Uint8Array(Math.min(chunk, left)))
}

function hashOf(name: string, length: number): string {
  const hash = createHash('sha256')
  for (const part of streamOf(name, length)) hash.update(part)
  return hash.digest('hex')
}

async function exchange(socket: Socket, names: { readonly own: string; readonly theirs: string }): Promise<void> {
  const hash = createHash('sha256')
  let received = 0
  socket.on('data', (bytes) => {
    hash.update(bytes)
    received += bytes.length
  })
  Readable.from(streamOf(names.own, length)).pipe(socket)
  await new Promise<void>((resolve, reject) => {
    socket.on('end', resolve)
    socket.on('error', reject)
  })
  const ok = hash.digest('hex') === hashOf(names.theirs, length)
  console.log(JSON.stringify({ ok, received }))
}

const [mode, address, port, bytes] = process.argv.slice(2)
const length = Number(bytes)

if (mode === 'serve') {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    server.close()
    exchange(socket, { own: 'server', theirs: 'client' }).then(undefined, fail)
  })
  server.listen({ host: address, port: Number(port) }, () => console.log(JSON.stringify({ listening: true })))
} else {
  const socket = tcpConnect({ host: address ?? '', port: Number(port), allowHalfOpen: true })
  exchange(socket, { own: 'client', theirs: 'server' }).then(undefined, fail)
}

function fail(error: unknown): void {
  console.log(JSON.stringify({ ok: false, reason: String(error) }))
}

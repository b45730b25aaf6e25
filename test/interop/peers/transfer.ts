/**
 * One TCP transfer: `transfer serve ADDRESS PORT` takes one connection, `transfer send ADDRESS PORT BYTES` sends random
 * bytes to it. Both print the SHA-256 of what passed.
 */

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

const [mode, address, port, bytes] = process.argv.slice(2)

async function serve(): Promise<string> {
  const server = createServer()
  server.listen(Number(port), address)
  await once(server, 'listening')
  console.log('listening')
  const [socket] = await once(server, 'connection')
  const hash = createHash('sha256')
  for await (const chunk of socket) hash.update(chunk)
  server.close()
  return hash.digest('hex')
}

async function send(): Promise<string> {
  const socket = connect(Number(port), address)
  await once(socket, 'connect')
  const hash = createHash('sha256')
  for (let left = Number(bytes); left > 0; ) {
    const chunk = randomBytes(Math.min(left, 65_536))
    left -= chunk.length
    hash.update(chunk)
    if (!socket.write(chunk)) await once(socket, 'drain')
  }
  socket.end()
  await once(socket, 'close')
  return hash.digest('hex')
}

console.log(await (mode === 'serve' ? serve() : send()))

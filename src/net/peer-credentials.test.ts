import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { macosCredentials, peerCredentials } from './peer-credentials.ts'

const skip: string | false = process.platform === 'linux' ? false : 'SO_PEERCRED is part of Linux only'

/** A connection over `address`: both ends, the accepted one first. */
async function connected(server: Server, address: string | number): Promise<readonly [Socket, Socket]> {
  server.listen(address)
  await once(server, 'listening')
  const own = server.address()
  const client = typeof own === 'string' || own === null ? connect(String(own)) : connect(own.port, '127.0.0.1')
  const [accepted] = await once(server, 'connection')
  assert.ok(accepted instanceof Socket)
  return [accepted, client]
}

test('the peer of a unix socket is known by process, user and group', { skip }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'punchguard-net-'))
  const server = createServer()
  try {
    const [accepted, client] = await connected(server, join(folder, 'socket'))
    const self = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() }
    assert.deepEqual(await peerCredentials(accepted), self)
    client.destroy()
    accepted.destroy()
    assert.equal(await peerCredentials(accepted), undefined)
  } finally {
    server.close()
    await rm(folder, { recursive: true })
  }
})

test('the peer of a TCP socket is nobody', { skip }, async () => {
  const server = createServer()
  const [accepted, client] = await connected(server, 0)
  assert.equal(await peerCredentials(accepted), undefined)
  client.destroy()
  accepted.destroy()
  server.close()
})

test('macOS tells user and group in one call and the process in another', () => {
  const view = new DataView(new ArrayBuffer(16))
  const base = 4096
  let refused = { getpeereid: 0, getsockopt: 0 }
  const system = {
    allocate: () => ({ bytes: new Uint8Array(view.buffer), view, address: base }),
    getpeereid: (fd: number, uid: number, gid: number): number => {
      assert.equal(fd, 9)
      view.setUint32(uid - base, 501, true)
      view.setUint32(gid - base, 20, true)
      return refused.getpeereid
    },
    getsockopt: (_fd: number, level: number, option: number, value: number, length: number): number => {
      assert.deepEqual([level, option, view.getUint32(length - base, true)], [0, 2, 4])
      view.setInt32(value - base, 4711, true)
      return refused.getsockopt
    },
  }
  assert.deepEqual(macosCredentials(system, 9), { pid: 4711, uid: 501, gid: 20 })
  refused = { getpeereid: 0, getsockopt: -1 }
  assert.deepEqual(macosCredentials(system, 9), { pid: 0, uid: 501, gid: 20 })
  refused = { getpeereid: -1, getsockopt: 0 }
  assert.equal(macosCredentials(system, 9), undefined)
})

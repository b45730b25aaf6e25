import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'node:test'
import type { Endpoint } from '../api/endpoint.ts'
import { c, systemCalls } from './ffi.ts'
import { bindLendableSocket } from './lendable-socket.ts'

const skip = process.platform !== 'linux' && 'sockets are lent on Linux only'
const local = '127.0.0.1'

test('a socket keeps its port while it is lent and after, and each owner reads in its time', { skip }, async () => {
  const system = await systemCalls()
  await using socket = await bindLendableSocket(0)
  const peer = createSocket('udp4').bind(0, local)
  await once(peer, 'listening')
  const to = { address: local, port: peer.address().port }
  const texts: string[] = []
  let arrived: () => void = () => {}
  socket.receive((bytes) => {
    texts.push(Buffer.from(bytes).toString())
    arrived()
  })
  const receiveOne = async (send: () => void): Promise<void> => {
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve
    })
    send()
    await arrival
  }
  const portSeen = async (): Promise<number> => {
    const message = once(peer, 'message')
    socket.send(Buffer.from('out'), to)
    const [, from] = await message
    return from.port
  }

  await receiveOne(() => peer.send('first', socket.port, local))
  assert.equal(await portSeen(), socket.port)

  const fd = await socket.lend()
  assert.equal(await portSeen(), socket.port)
  const whole = once(peer, 'message')
  socket.sendWhole?.(Buffer.alloc(1400), to)
  assert.equal((await whole)[0].length, 1400)
  // Only that one went with DF.
  const option = system.allocate(8)
  option.view.setInt32(4, 4, true)
  assert.equal(system.getsockopt(fd, c.SOL_IP, c.IP_MTU_DISCOVER, option.address, option.address + 4), 0)
  assert.equal(option.view.getInt32(0, true), c.IP_PMTUDISC_OMIT)
  const sent = new Promise((resolve) => peer.send('for the borrower', socket.port, local, resolve))
  await sent
  const memory = system.allocate(64)
  assert.equal(system.recv(fd, memory.address, 64, 0), 'for the borrower'.length)
  const from: Endpoint = { address: local, port: 9 }
  socket.deliver(Buffer.from('handed back'), from)

  system.close(fd)
  socket.giveBack()
  await receiveOne(() => peer.send('again', socket.port, local))
  assert.equal(await portSeen(), socket.port)
  socket.deliver(Buffer.from('too late'), from)

  const second = await socket.lend()
  assert.equal(await portSeen(), socket.port)
  system.close(second)
  assert.deepEqual(texts, ['first', 'handed back', 'again'])
  assert.deepEqual(socket.dropped(), {})
  peer.close()
})

test('what cannot be sent while the socket is lent is counted; a closed socket is quiet', { skip }, async () => {
  const system = await systemCalls()
  const socket = await bindLendableSocket(0)
  system.close(await socket.lend())
  socket.send(new Uint8Array(1), { address: local, port: 0 })
  socket.send(new Uint8Array(66_000), { address: local, port: 9 })
  socket.send(new Uint8Array(1), { address: '::1', port: 9 })
  assert.deepEqual(socket.dropped(), { endpoint: 1, EMSGSIZE: 1, EINVAL: 1 })
  await socket[Symbol.asyncDispose]()
  socket.send(new Uint8Array(1), { address: local, port: 9 })
  socket.giveBack()
  assert.deepEqual(socket.dropped(), { endpoint: 1, EMSGSIZE: 1, EINVAL: 1 })
})

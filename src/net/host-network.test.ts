import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { PunchGuardError } from '../api/errors.ts'
import type { DatagramSocket } from '../api/network.ts'
import { systemHost } from './host-network.ts'
import { bindUdpSocket } from './udp-socket.ts'

const loopback = '127.0.0.1'

/** The next datagram a socket receives. */
function next(socket: DatagramSocket): Promise<{ bytes: Uint8Array; port: number }> {
  return new Promise((resolve) =>
    socket.receive((bytes, from) => resolve({ bytes: new Uint8Array(bytes), port: from.port })),
  )
}

test('two sockets exchange datagrams, and the sender may reuse its bytes at once', async () => {
  const host = systemHost()
  await using one = await host.bindUdp({ port: 0 })
  await using other = await host.bindUdp({ port: 0 })
  assert.notEqual(one.port, other.port)
  const received = next(other)
  const bytes = Uint8Array.of(1, 2, 3)
  one.send(bytes, { address: loopback, port: other.port })
  bytes.fill(9)
  assert.deepEqual(await received, { bytes: Uint8Array.of(1, 2, 3), port: one.port })
})

test('a port in use is an error that says so', async () => {
  const host = systemHost()
  await using taken = await host.bindUdp({ port: 0 })
  await assert.rejects(
    host.bindUdp({ port: taken.port }),
    (error) =>
      error instanceof PunchGuardError &&
      error.code === 'ADDRESS_IN_USE' &&
      error.message === `UDP port ${taken.port} is in use`,
  )
})

test('what cannot be sent is dropped and counted by reason, never thrown', async () => {
  await using socket = await bindUdpSocket(0)
  socket.send(new Uint8Array(1), { address: loopback, port: 0 })
  socket.send(new Uint8Array(1), { address: loopback, port: 70_000 })
  socket.send(new Uint8Array(1), { address: 'not-an-address', port: 9 })
  socket.send(new Uint8Array(1), { address: '2001:db8::1', port: 9 })
  socket.send(new Uint8Array(70_000), { address: loopback, port: socket.port })
  const received = next(socket)
  socket.send(new Uint8Array(1), { address: loopback, port: socket.port })
  await received
  const { sent, dropped } = socket.stats()
  assert.deepEqual(dropped, { endpoint: 2, EINVAL: 2, EMSGSIZE: 1 })
  assert.equal(sent, 1)
})

test('after disposal nothing is sent, and disposing twice is fine', async () => {
  const socket = await bindUdpSocket(0)
  assert.ok(socket.descriptor !== undefined && socket.descriptor > 2)
  await socket[Symbol.asyncDispose]()
  await socket[Symbol.asyncDispose]()
  socket.send(new Uint8Array(1), { address: loopback, port: 9 })
  assert.equal(socket.descriptor, undefined)
  assert.equal(socket.stats().sent, 0)
})

test('local addresses are IPv4, without loopback, link-local and the interfaces we name', () => {
  const addresses = systemHost().localAddresses()
  for (const address of addresses) assert.doesNotMatch(address, /:|^127\.|^169\.254\./)
  assert.deepEqual(systemHost({ ignoreInterfaces: Object.keys(networkInterfaces()) }).localAddresses(), [])
})

test('an address resolves to itself, a local name to IPv4, and a name that cannot be to nothing', async () => {
  const host = systemHost()
  assert.equal(await host.resolve('192.0.2.1'), '192.0.2.1')
  assert.equal(await host.resolve('localhost'), loopback)
  assert.equal(await host.resolve('no such name'), undefined)
})

test('a watch that is disposed leaves nothing running', () => {
  const host = systemHost()
  const first = host.watch(() => assert.fail('nothing changed'))
  const second = host.watch(() => assert.fail('nothing changed'))
  first[Symbol.dispose]()
  second[Symbol.dispose]()
})

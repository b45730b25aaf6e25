import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import { afterEach, test } from 'node:test'
import type { Endpoint } from '../api/endpoint.ts'
import { openSharedPort, type SharedPort } from './shared-port.ts'
import { classifyDatagram } from './underlay.ts'

const skip: string | false =
  process.platform !== 'linux' || process.getuid?.() !== 0 ? 'raw sockets need root on Linux' : false
const local = '127.0.0.1'

/** A datagram that carries STUN's magic cookie and this text. */
function stun(text: string, first = 0): Buffer {
  const header = Buffer.alloc(20)
  header[0] = first
  header.writeUInt32BE(0x2112a442, 4)
  return Buffer.concat([header, Buffer.from(text)])
}

const sockets: Socket[] = []

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close()
})

async function bound(address = local): Promise<Socket> {
  const socket = createSocket('udp4').bind(0, address)
  sockets.push(socket)
  await once(socket, 'listening')
  return socket
}

/** The texts that arrive until the one that ends it. */
function collect(shared: SharedPort, last: string): Promise<{ text: string; from: Endpoint }[]> {
  const seen: { text: string; from: Endpoint }[] = []
  return new Promise((resolve) => {
    shared.receive((bytes, from) => {
      const kind = classifyDatagram(bytes)
      assert.notEqual(kind, undefined)
      seen.push({ text: Buffer.from(bytes.subarray(kind === 'stun' ? 20 : 0)).toString(), from })
      if (seen.at(-1)?.text === last) resolve(seen)
    })
  })
}

test('beside a socket that has the port bound, the puncher hears STUN and bencode and nothing else', {
  skip,
}, async () => {
  const owner = await bound()
  const peer = await bound()
  const { port } = owner.address()
  const datagrams = [
    stun('first'),
    ...[1, 2, 3, 4].map((type) => Buffer.from([type, 0, 0, 0, ...new Uint8Array(100)])),
    Buffer.from('d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae'),
    Buffer.alloc(0),
    Buffer.from([0]),
    Buffer.alloc(7),
    stun('channel data', 0x40),
    Buffer.from('plain text of some length'),
    stun('last', 1),
  ]
  let left = datagrams.length
  const ownerHasAll = new Promise<void>((resolve) => owner.on('message', () => --left === 0 && resolve()))
  await using shared = await openSharedPort(port)
  assert.equal(shared.port, port)
  const collected = collect(shared, 'last')
  const stray = await bound()
  peer.send(stun('to another port'), stray.address().port, local)
  for (const datagram of datagrams) peer.send(datagram, port, local)
  const from = { address: local, port: peer.address().port }
  assert.deepEqual(await collected, [
    { text: 'first', from },
    { text: 'd1:ad2:id20:aaaaaaaaaaaaaaaaaaaae', from },
    { text: 'last', from },
  ])
  assert.deepEqual(shared.stats(), { received: 3, sent: 0, dropped: {} })
  // The owner of the port has lost nothing of it.
  await ownerHasAll
})

test('what is sent leaves from the port of the other and from the address that leads there', { skip }, async () => {
  const owner = await bound('0.0.0.0')
  await using shared = await openSharedPort(owner.address().port)
  const own = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address
  const addresses = [local, ...(own === undefined ? [] : [own]), local]
  let sent = 0
  for (const address of addresses) {
    const peer = await bound(address)
    const payload = Buffer.alloc(++sent, sent)
    const arrival = once(peer, 'message')
    shared.send(payload, { address, port: peer.address().port })
    const [bytes, from] = await arrival
    assert.deepEqual([bytes, from.address, from.port], [payload, address, owner.address().port])
  }
  assert.equal(shared.stats().sent, addresses.length)
})

test('the owner of the port may be another process, and may come and go', { skip }, async () => {
  const script = `const s = require('dgram').createSocket('udp4').bind(0, '127.0.0.1', () => console.log(s.address().port))
    s.on('message', () => s.close())`
  const child = execFile(process.execPath, ['-e', script])
  const gone = once(child, 'exit')
  assert.ok(child.stdout !== null)
  const [line] = await once(child.stdout, 'data')
  await using shared = await openSharedPort(Number(line))
  const peer = await bound()
  for (const text of ['while it is there', 'when it is gone']) {
    const collected = collect(shared, text)
    peer.send(stun(text), shared.port, local)
    assert.equal((await collected).length, 1)
    await gone
  }
})

test('what cannot be sent is counted, and a closed one is quiet', { skip }, async () => {
  const shared = await openSharedPort(9)
  shared.send(new Uint8Array(1), { address: local, port: 0 })
  shared.send(new Uint8Array(1), { address: '::1', port: 9 })
  shared.send(new Uint8Array(66_000), { address: local, port: 9 })
  shared.send(new Uint8Array(1), { address: '255.255.255.255', port: 9 })
  assert.deepEqual(shared.stats(), { received: 0, sent: 0, dropped: { endpoint: 2, EMSGSIZE: 1, EACCES: 1 } })
  await shared[Symbol.asyncDispose]()
  shared.send(new Uint8Array(1), { address: local, port: 9 })
  await shared[Symbol.asyncDispose]()
  assert.equal(shared.stats().sent, 0)
})

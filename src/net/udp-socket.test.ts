import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bindUdpSocket, type UdpSocket } from './udp-socket.ts'

/** Sends `count` datagrams that begin with their number, and lie in the receiver's buffer when this returns. */
function sendNumbered(socket: UdpSocket, { count, port }: { readonly count: number; readonly port: number }): void {
  const bytes = new Uint8Array(100)
  for (let number = 0; number < count; number++) {
    new DataView(bytes.buffer).setUint32(0, number)
    socket.send(bytes, { address: '127.0.0.1', port })
  }
}

test('a burst from two senders arrives whole, in order, each datagram with its sender', { timeout: 5000 }, async () => {
  await using receiver = await bindUdpSocket(0)
  await using first = await bindUdpSocket(0)
  await using second = await bindUdpSocket(0)
  const count = 300
  const numbers = new Map<number, number[]>([first, second].map(({ port }) => [port, []]))
  const all = new Promise<void>((resolve) =>
    receiver.receive((bytes, from) => {
      assert.deepEqual([from.address, bytes.length], ['127.0.0.1', 100])
      numbers.get(from.port)?.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0))
      if (receiver.stats().received === 2 * count) resolve()
    }),
  )
  for (const sender of [first, second]) sendNumbered(sender, { count, port: receiver.port })
  await all
  const expected = Array.from({ length: count }, (_, number) => number)
  assert.deepEqual([...numbers.values()], [expected, expected])
})

test('a full socket leaves the event loop its turn', { timeout: 5000 }, async () => {
  await using receiver = await bindUdpSocket(0)
  await using sender = await bindUdpSocket(0)
  const count = 400
  let turns = 0
  let running = true
  const tick = (): void => {
    turns++
    if (running) setImmediate(tick)
  }
  const all = new Promise<void>((resolve) => receiver.receive(() => receiver.stats().received === count && resolve()))
  sendNumbered(sender, { count, port: receiver.port })
  setImmediate(tick)
  await all
  running = false
  assert.ok(turns >= 2, `${turns} turns for ${count} datagrams`)
})

test('a receiver that closes the socket gets nothing more', { timeout: 5000 }, async () => {
  const receiver = await bindUdpSocket(0)
  await using sender = await bindUdpSocket(0)
  let got = 0
  const closed = new Promise<void>((resolve) =>
    receiver.receive(() => {
      got++
      resolve(receiver[Symbol.asyncDispose]())
    }),
  )
  sendNumbered(sender, { count: 50, port: receiver.port })
  await closed
  assert.equal(got, 1)
})

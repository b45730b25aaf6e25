import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NodeSocket } from '../../src/signal/tox/node-socket-shell.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { SimulatedInternet } from '../network/simulated-internet.ts'
import { VirtualClock } from '../network/virtual-clock.ts'

test('a machine whose deadline has passed and stays is asked once a millisecond, not for ever at one moment', async () => {
  const clock = new VirtualClock()
  const internet = new SimulatedInternet({ clock, seed: 1 })
  const host = internet.publicHost('203.0.113.1')
  await using socket = await NodeSocket.bind({ host, clock, logger: silentLogger, bootstrap: [] })
  let ticks = 0
  socket.start({
    deadline: () => 0,
    connected: () => true,
    bootstrap: () => {},
    receive: () => {},
    tick: () => {
      ticks += 1
    },
  })
  await clock.advance(100)
  assert.ok(ticks >= 90 && ticks <= 102, `${ticks} ticks`)
})

test('without a port the first free one from 33445 on is taken, and names are looked up until somebody answers', async () => {
  const clock = new VirtualClock()
  const internet = new SimulatedInternet({ clock, seed: 1 })
  const host = internet.publicHost('203.0.113.1')
  const key = new Uint8Array(32).fill(9)
  const bootstrap = [{ host: 'node.example', udp: 33_445, tcp: [], key }]
  const options = { host, clock, logger: silentLogger, bootstrap }
  await using first = await NodeSocket.bind(options)
  await using second = await NodeSocket.bind(options)
  assert.deepEqual([first.port, second.port], [33_445, 33_446])
  await assert.rejects(NodeSocket.bind({ ...options, port: 33_445 }), { code: 'ADDRESS_IN_USE' })
  const found: string[] = []
  first.start({
    deadline: () => undefined,
    connected: () => false,
    bootstrap: (nodes) => found.push(nodes.map(({ endpoint }) => endpoint.address).join()),
    receive: () => {},
    tick: () => {},
  })
  await clock.advance(1_000)
  internet.name('node.example', '203.0.113.7')
  await clock.advance(10_000)
  assert.deepEqual(found, ['', '203.0.113.7'])
})

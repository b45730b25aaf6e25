import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Endpoint } from '../api/endpoint.ts'
import type { DatagramSocket } from '../api/network.ts'
import { HandoverSocket } from './handover-socket.ts'

const there: Endpoint = { address: '192.0.2.1', port: 9 }

/** A socket that says what it does. */
class FakeSocket implements DatagramSocket {
  readonly port: number = 4000
  readonly #name: string
  readonly #log: string[]
  deliver: (bytes: Uint8Array, from: Endpoint) => void = () => {}

  constructor(name: string, log: string[]) {
    this.#name = name
    this.#log = log
    log.push(`${name} opened`)
  }

  send(): void {
    this.#log.push(`${this.#name} sends`)
  }

  sendWhole(): void {
    this.#log.push(`${this.#name} sends whole`)
  }

  receive(receiver: (bytes: Uint8Array, from: Endpoint) => void): void {
    this.deliver = receiver
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#log.push(`${this.#name} closed`)
  }
}

class Bench {
  readonly log: string[] = []
  readonly own: FakeSocket = new FakeSocket('own', this.log)
  shared: FakeSocket | undefined
  again: FakeSocket | undefined
  refuse: Error | undefined
  readonly received: number[] = []
  readonly socket: HandoverSocket

  constructor() {
    this.socket = new HandoverSocket(this.own, {
      bind: async (port) => {
        assert.equal(port, 4000)
        if (this.refuse !== undefined) throw this.refuse
        this.again = new FakeSocket('own again', this.log)
        return this.again
      },
      share: async (port) => {
        assert.equal(port, 4000)
        if (this.refuse !== undefined) throw this.refuse
        this.shared = new FakeSocket('shared', this.log)
        return this.shared
      },
    })
    this.socket.receive((bytes) => this.received.push(bytes[0] ?? -1))
    this.log.length = 0
  }

  /** Through every socket that there ever was. */
  deliver(): void {
    ;[this.own, this.shared, this.again].forEach((socket, at) => {
      socket?.deliver(Uint8Array.of(at), there)
    })
  }
}

test('the shared port is open before ours is closed, and each datagram comes once', async () => {
  const bench = new Bench()
  bench.deliver()
  await bench.socket.handOver()
  bench.deliver()
  bench.socket.send(new Uint8Array(1), there)
  bench.socket.sendWhole?.(new Uint8Array(1), there)
  assert.deepEqual(bench.log.splice(3), ['shared sends whole'])
  assert.deepEqual(bench.log, ['shared opened', 'own closed', 'shared sends'])
  await bench.socket.handOver()
  await bench.socket.takeBack()
  await bench.socket.takeBack()
  bench.deliver()
  bench.socket.send(new Uint8Array(1), there)
  assert.deepEqual(bench.log.slice(3), ['own again opened', 'shared closed', 'own again sends'])
  assert.deepEqual(bench.received, [0, 1, 2])
  assert.equal(bench.socket.port, 4000)
})

test('what is refused changes nothing', async () => {
  const bench = new Bench()
  bench.refuse = new Error('no')
  await assert.rejects(bench.socket.handOver(), /no/)
  bench.socket.send(new Uint8Array(1), there)
  bench.refuse = undefined
  await bench.socket.handOver()
  bench.refuse = new Error('taken')
  await assert.rejects(bench.socket.takeBack(), /taken/)
  bench.socket.send(new Uint8Array(1), there)
  assert.deepEqual(bench.log, ['own sends', 'shared opened', 'own closed', 'shared sends'])
})

test('after it was closed nothing is sent, and what opens meanwhile is closed again', async () => {
  const bench = new Bench()
  const handingOver = bench.socket.handOver()
  await bench.socket[Symbol.asyncDispose]()
  await handingOver
  bench.socket.send(new Uint8Array(1), there)
  await bench.socket[Symbol.asyncDispose]()
  assert.deepEqual(bench.log.sort(), ['own closed', 'shared closed', 'shared opened'])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { c, errno } from '../../net/ffi.ts'
import { DatagramRing } from './datagram-ring.ts'
import { FakeSystem } from './testing/fake-system.ts'
import { TunDuty } from './tun-duty.ts'
import { Turnstile } from './turnstile.ts'
import { pollEntry } from './worker-context.ts'
import { WorkerLoop } from './worker-loop.ts'
import { control, type WorkerCommand } from './worker-messages.ts'

const wakes = { receive: 11, transmit: 12 }
const tun = 7
const socket = 8

/** A loop whose system remembers what it was asked. */
class Played extends FakeSystem {
  readonly polled: { readonly descriptors: readonly number[]; readonly timeout: number }[] = []
  readonly woken: number[] = []
  readonly closed: number[] = []
  /** Processor time of the thread, ms. */
  used = 0
  readonly control: Int32Array = new Int32Array(new SharedArrayBuffer(16))
  readonly #commands: WorkerCommand[] = []

  override poll(entries: number, count: number, timeout: number): number {
    const { view } = this.memory
    const at = Array.from({ length: count }, (_, entry) => entries + entry * pollEntry.size)
    this.polled.push({ descriptors: at.map((entry) => view.getInt32(entry, true)), timeout })
    // Always there is something at the socket and at the TUN.
    for (const entry of at.slice(1)) view.setInt16(entry + pollEntry.happened, c.POLLIN, true)
    return count
  }

  override clock_gettime(_clock: number, address: number): number {
    this.memory.view.setUint32(address, Math.floor(this.used / 1000), true)
    this.memory.view.setUint32(address + 8, (this.used % 1000) * 1e6, true)
    return 0
  }

  override write(fd: number, _address: number, length: number): number {
    this.woken.push(fd)
    return length
  }

  override close(fd: number): number {
    this.closed.push(fd)
    return 0
  }

  post(command: WorkerCommand): void {
    this.#commands.push(command)
    Atomics.add(this.control, control.posted, 1)
  }

  loop(role: 'receive' | 'transmit' = 'receive'): WorkerLoop {
    const memories = { turnstile: Turnstile.memory(), duty: TunDuty.memory(), ring: DatagramRing.memory() }
    const setup = { role, interfaceName: 'tun0', wakes, control: this.control, ...memories }
    const context = { ...this.context(), control: this.control }
    return new WorkerLoop(setup, context, () => this.#commands.shift())
  }
}

function started(role: 'receive' | 'transmit' = 'receive'): { readonly system: Played; readonly loop: WorkerLoop } {
  const system = new Played()
  const loop = system.loop(role)
  system.post({ kind: 'start', socket, tun, mayMergeUdp: true })
  assert.equal(loop.run(1), true)
  return { system, loop }
}

test('before it is started a loop waits for commands only', () => {
  const system = new Played()
  assert.equal(system.loop().run(1), true)
  assert.deepEqual(system.polled, [{ descriptors: [wakes.receive, -1, -1], timeout: -1 }])
})

test('the receive worker waits for its socket and the TUN, the transmit worker for neither', () => {
  const receive = started('receive')
  assert.deepEqual(receive.system.polled.at(-1), { descriptors: [wakes.receive, socket, tun], timeout: -1 })
  const transmit = started('transmit')
  assert.deepEqual(transmit.system.polled.at(-1), { descriptors: [wakes.transmit, -1, -1], timeout: -1 })
})

test('a loop that is told to stop ends, closes what it was lent, and says so', () => {
  const { system, loop } = started()
  Atomics.store(system.control, control.stop, 1)
  Atomics.add(system.control, control.posted, 1)
  assert.equal(loop.run(5), false)
  loop.end()
  assert.deepEqual(system.closed, [socket, tun])
  assert.equal(Atomics.load(system.control, control.stopped), 1)
})

test('an interface that is down is asked again after a pause, one that is gone never', () => {
  const { system, loop } = started()
  system.toRead.push(errno.EIO)
  loop.run(1)
  assert.deepEqual(system.polled.at(-1), { descriptors: [wakes.receive, socket, -1], timeout: 50 })
  loop.run(1)
  assert.deepEqual(system.polled.at(-1), { descriptors: [wakes.receive, socket, tun], timeout: -1 })
  // EBADF.
  system.toRead.push(9)
  loop.run(1)
  assert.deepEqual(system.events.at(-1), { kind: 'lost', reason: 'the interface is gone' })
  assert.deepEqual(system.polled.at(-1), { descriptors: [wakes.receive, socket, -1], timeout: -1 })
})

test('a thread that fills its core gives the TUN to the other worker, and wakes it', () => {
  const { system, loop } = started()
  const pass = (time: number, used: number): void => {
    system.now += time
    system.used += used
    loop.run(1)
  }
  pass(60, 30)
  pass(60, 60)
  assert.deepEqual(system.polled.at(-1)?.descriptors, [wakes.receive, socket, tun])
  // Not looked at more often than every 50 ms.
  pass(20, 20)
  pass(40, 40)
  assert.deepEqual(system.woken, [wakes.transmit])
  loop.run(1)
  assert.deepEqual(system.polled.at(-1), { descriptors: [wakes.receive, socket, -1], timeout: 50 })
})

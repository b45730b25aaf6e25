import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../util/clock.ts'
import { errno } from '../ffi.ts'
import type { PollLoop } from '../poll-loop.ts'
import { PolledTun, type TunFile } from './polled-tun.ts'

/** Gives what `incoming` holds, then `empty`; takes packets while `refusal` is 0. */
class FakeFile implements TunFile {
  readonly fd = 7
  readonly incoming: Uint8Array[] = []
  readonly written: Uint8Array[] = []
  empty = errno.EAGAIN
  refusal = 0
  closed = 0

  read(): Uint8Array | number {
    return this.incoming.shift() ?? this.empty
  }

  write(packet: Uint8Array): number {
    if (this.refusal === 0) this.written.push(packet.slice())
    return this.refusal
  }

  close(): void {
    this.closed++
  }
}

class FakePoll implements PollLoop {
  readonly ready: Set<() => void> = new Set()

  add(fd: number, onReady: () => void): Disposable {
    assert.equal(fd, 7)
    this.ready.add(onReady)
    return { [Symbol.dispose]: () => void this.ready.delete(onReady) }
  }

  turn(): void {
    for (const onReady of [...this.ready]) onReady()
  }
}

class FakeClock implements Clock {
  readonly timers: Set<() => void> = new Set()
  now = (): number => 0
  wallTime = (): number => 0

  after(_delay: number, wake: () => void): Disposable {
    this.timers.add(wake)
    return { [Symbol.dispose]: () => void this.timers.delete(wake) }
  }

  fire(): void {
    const due = [...this.timers]
    this.timers.clear()
    for (const wake of due) wake()
  }
}

function open(): { tun: PolledTun; file: FakeFile; poll: FakePoll; clock: FakeClock; got: number[] } {
  const [file, poll, clock] = [new FakeFile(), new FakePoll(), new FakeClock()]
  const tun = new PolledTun({ file, poll, clock, name: 'pg0', mtu: 1420 })
  const got: number[] = []
  tun.receive((packet) => void got.push(packet[0] ?? -1))
  return { tun, file, poll, clock, got }
}

test('nothing is read before there is a receiver', () => {
  const poll = new FakePoll()
  const parts = { file: new FakeFile(), poll, clock: new FakeClock() }
  const tun = new PolledTun({ ...parts, name: 'pg0', mtu: 1420 })
  assert.equal(poll.ready.size, 0)
  tun.receive(() => {})
  tun.receive(() => {})
  assert.equal(poll.ready.size, 1)
})

test('a batch is bounded: the rest waits for the next turn', () => {
  const { tun, file, poll, got } = open()
  for (let packet = 0; packet < 200; packet++) file.incoming.push(Uint8Array.of(packet))
  poll.turn()
  assert.equal(got.length, 128)
  poll.turn()
  assert.deepEqual(
    got,
    Array.from({ length: 200 }, (_, packet) => packet),
  )
  assert.equal(tun.stats().received, 200)
})

test('an interface that is down is asked again after a pause, not at once', () => {
  const { file, poll, clock, got } = open()
  file.empty = errno.EIO
  poll.turn()
  assert.equal(poll.ready.size, 0)
  assert.equal(clock.timers.size, 1)
  file.empty = errno.EAGAIN
  file.incoming.push(Uint8Array.of(5))
  clock.fire()
  poll.turn()
  assert.deepEqual(got, [5])
})

test('an interface that somebody removed is reported once and no longer read', async () => {
  const { tun, file, poll, clock } = open()
  file.empty = 77
  poll.turn()
  assert.match(await tun.lost, /^the interface pg0 is gone/)
  assert.equal(poll.ready.size + clock.timers.size, 0)
  await tun[Symbol.asyncDispose]()
  assert.equal(file.closed, 1)
})

test('packets that the system does not take are dropped and counted by reason', () => {
  const { tun, file } = open()
  for (const refusal of [0, errno.EAGAIN, errno.ENOBUFS, errno.EIO, errno.EINVAL]) {
    file.refusal = refusal
    tun.write(Uint8Array.of(0x45))
  }
  assert.deepEqual(tun.stats(), { received: 0, written: 1, dropped: { full: 2, down: 1, refused: 1 } })
})

test('after disposal, even by its own receiver, nothing is read, written or closed again', async () => {
  const { tun, file, poll } = open()
  for (const first of [1, 2, 3]) file.incoming.push(Uint8Array.of(first))
  let got = 0
  let disposed: Promise<void> | undefined
  tun.receive(() => {
    got++
    disposed = tun[Symbol.asyncDispose]()
  })
  poll.turn()
  await disposed
  assert.equal(got, 1)
  assert.equal(poll.ready.size, 0)
  tun.write(Uint8Array.of(0x45))
  assert.equal(file.written.length, 0)
  await tun[Symbol.asyncDispose]()
  assert.equal(file.closed, 1)
})

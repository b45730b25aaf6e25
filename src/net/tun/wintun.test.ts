import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, PunchGuardError } from '../../api/errors.ts'
import { type Clock, systemClock } from '../../util/clock.ts'
import { type WindowsCalls, type WintunCalls, windows } from '../windows-calls.ts'
import { PolledTun } from './polled-tun.ts'
import { findWintun, openWintunSession, untilSeen, type WintunSession } from './wintun.ts'

/** Windows, the driver and one address space; packets lie at the addresses that the rings give out. */
class FakeWindows implements WindowsCalls, WintunCalls {
  readonly log: string[] = []
  /** Packets that the driver has for us. */
  readonly ring: Uint8Array[] = []
  readonly sent: Uint8Array[] = []
  /** The wait on the pool, when there is one. */
  waiting: ((result: number) => void) | undefined
  /** Windows errors by function. */
  fail: Readonly<Record<string, number>> = {}
  alias = 'pg0'
  emptyError: number = windows.ERROR_NO_MORE_ITEMS
  readonly #memory: Map<number, Uint8Array> = new Map()
  #nextAddress = 1 << 20
  #error = 0
  #unreleased = 0

  CreateEvent = (): number => 500
  GetLastError = (): number => this.#error
  WintunGetReadWaitEvent = (): number => 501

  WintunCreateAdapter(name: string, type: string, guid: number): number {
    this.log.push(`create ${name} ${type} ${Buffer.from(this.#at(guid)).toString('hex').length / 2}`)
    return this.#fails('WintunCreateAdapter') ? 0 : 100
  }

  WintunStartSession(adapter: number, capacity: number): number {
    assert.equal(adapter, 100)
    this.log.push(`start ${capacity}`)
    return this.#fails('WintunStartSession') ? 0 : 200
  }

  WintunGetAdapterLUID(adapter: number, luid: number): void {
    assert.equal(adapter, 100)
    this.#at(luid)[0] = 7
  }

  ConvertInterfaceLuidToAlias(luid: number, name: number, characters: number): number {
    assert.equal(this.#at(luid)[0], 7)
    assert.ok(characters > this.alias.length)
    this.#at(name).set(Buffer.from(`${this.alias}\0`, 'utf16le'))
    return 0
  }

  WintunEndSession(session: number): void {
    assert.equal(session, 200)
    assert.equal(this.waiting, undefined, 'the pool still waits for the event of the session')
    this.log.push('end')
  }

  WintunCloseAdapter(): void {
    this.log.push('close')
  }

  CloseHandle(handle: number): number {
    this.log.push(`close ${handle}`)
    return 1
  }

  SetEvent(handle: number): number {
    assert.equal(handle, 500)
    this.wake(0)
    return 1
  }

  /** Ends the wait, as the pool does: not within the call that caused it. */
  wake(result: number): void {
    const done = this.waiting
    this.waiting = undefined
    if (done !== undefined) setImmediate(() => done(result))
  }

  waitOnPool(handles: number, count: number, done: (result: number) => void): void {
    const view = new DataView(this.#at(handles).buffer)
    assert.deepEqual([view.getBigUint64(0, true), view.getBigUint64(8, true), count], [500n, 501n, 2])
    assert.equal(this.waiting, undefined)
    this.waiting = done
  }

  WintunReceivePacket(session: number, size: number): number {
    assert.equal(session, 200)
    const packet = this.ring.shift()
    if (packet === undefined) {
      this.#error = this.emptyError
      return 0
    }
    this.#unreleased++
    const { address, bytes } = this.allocate(packet.length)
    bytes.set(packet)
    const [start, at] = this.#find(size)
    new DataView(start.buffer).setUint32(at, packet.length, true)
    return address
  }

  WintunReleaseReceivePacket(_session: number, packet: number): void {
    assert.ok(this.#memory.delete(packet))
    this.#unreleased--
  }

  WintunAllocateSendPacket(_session: number, size: number): number {
    return this.#fails('WintunAllocateSendPacket') ? 0 : this.allocate(size).address
  }

  WintunSendPacket(_session: number, packet: number): void {
    this.sent.push(this.#at(packet))
  }

  RtlMoveMemory(to: number, from: number, length: number): void {
    this.#at(to).set(this.#at(from).subarray(0, length))
  }

  allocate(length: number): ReturnType<WindowsCalls['allocate']> {
    const bytes = new Uint8Array(length)
    const address = this.#nextAddress
    this.#nextAddress += 1 << 20
    this.#memory.set(address, bytes)
    return { bytes, view: new DataView(bytes.buffer), address }
  }

  get unreleased(): number {
    return this.#unreleased
  }

  #fails(name: string): boolean {
    this.#error = this.fail[name] ?? 0
    return this.#error !== 0
  }

  #at(address: number): Uint8Array {
    const bytes = this.#memory.get(address)
    assert.ok(bytes !== undefined, `nothing lies at ${address}`)
    return bytes
  }

  #find(address: number): readonly [Uint8Array, number] {
    for (const [start, bytes] of this.#memory)
      if (address >= start && address < start + bytes.length) return [bytes, address - start]
    return assert.fail(`nothing lies at ${address}`)
  }
}

function open(fake: FakeWindows): WintunSession {
  return openWintunSession('pg0', { system: fake, wintun: fake })
}

function polled(fake: FakeWindows): { tun: PolledTun; got: number[] } {
  const session = open(fake)
  const tun = new PolledTun({ file: session, poll: session, clock: systemClock, name: 'pg0', mtu: 1420 })
  const got: number[] = []
  tun.receive((packet) => void got.push(packet[0] ?? -1))
  return { tun, got }
}

/** Some turns of the event loop. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('wintun.dll is looked for beside the program, then in PATH, never where the caller happens to be', () => {
  const asked: string[] = []
  const environment = { Path: 'relative;.;C:\\Tools;\\\\server\\share;;D:\\Bin\\' }
  const find = (present: string): string =>
    findWintun({
      environment,
      folders: ['C:\\Program Files\\nodejs', 'scripts'],
      exists: (path) => asked.push(path) > 0 && path === present,
    })
  assert.equal(find('D:\\Bin\\wintun.dll'), 'D:\\Bin\\wintun.dll')
  assert.deepEqual(asked, ['C:\\Program Files\\nodejs\\wintun.dll', 'C:\\Tools\\wintun.dll', 'D:\\Bin\\wintun.dll'])
  assert.throws(
    () => find('C:\\elsewhere\\wintun.dll'),
    (error) =>
      error instanceof PunchGuardError && error.code === 'GUARD_UNAVAILABLE' && error.hint.includes('www.wintun.net'),
  )
})

test('an adapter that cannot be made, or has another name, is an error and leaves nothing behind', () => {
  const cases: readonly (readonly [Partial<FakeWindows>, ErrorCode, RegExp, readonly string[]])[] = [
    [{ fail: { WintunCreateAdapter: 5 } }, 'PERMISSION_DENIED', /Windows error 5/, []],
    [{ fail: { WintunCreateAdapter: 2 } }, 'GUARD_UNAVAILABLE', /Windows error 2/, []],
    [{ fail: { WintunStartSession: 8 } }, 'GUARD_UNAVAILABLE', /Windows error 8/, ['start 4194304', 'close']],
    [{ alias: 'pg0 2' }, 'GUARD_UNAVAILABLE', /pg0 exists already/, ['close']],
  ]
  for (const [state, code, message, log] of cases) {
    const fake = Object.assign(new FakeWindows(), state)
    assert.throws(
      () => open(fake),
      (error) => error instanceof PunchGuardError && error.code === code && message.test(error.message),
    )
    assert.deepEqual(fake.log, ['create pg0 PunchGuard 16', ...log])
  }
})

test('packets are read until the ring is empty, in bounded batches, then waited for', async () => {
  const fake = new FakeWindows()
  for (let packet = 0; packet < 200; packet++) fake.ring.push(Uint8Array.of(packet))
  const { tun, got } = polled(fake)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(got.length, 128)
  assert.equal(fake.waiting, undefined)
  await settle()
  assert.deepEqual(
    got,
    Array.from({ length: 200 }, (_, packet) => packet),
  )
  assert.equal(fake.unreleased, 0)
  assert.ok(fake.waiting !== undefined)

  fake.ring.push(Uint8Array.of(77))
  fake.wake(1)
  await settle()
  assert.equal(got.at(-1), 77)
  await tun[Symbol.asyncDispose]()
})

test('a packet is copied into the ring, and a full one counted as such', async () => {
  const fake = new FakeWindows()
  const { tun } = polled(fake)
  const packet = Uint8Array.of(0x45, 1, 2)
  tun.write(packet)
  packet.fill(0)
  assert.deepEqual(fake.sent, [Uint8Array.of(0x45, 1, 2)])
  fake.fail = { WintunAllocateSendPacket: windows.ERROR_BUFFER_OVERFLOW }
  tun.write(packet)
  fake.fail = { WintunAllocateSendPacket: windows.ERROR_HANDLE_EOF }
  tun.write(packet)
  tun.write(new Uint8Array(65_536))
  tun.write(new Uint8Array(0))
  assert.deepEqual(tun.stats(), { received: 0, written: 1, dropped: { full: 1, down: 1, refused: 2 } })
  await tun[Symbol.asyncDispose]()
})

test('an adapter that ends without us, or cannot be waited for, is reported as lost', async () => {
  const gone = new FakeWindows()
  const first = polled(gone)
  await settle()
  gone.emptyError = windows.ERROR_HANDLE_EOF
  gone.wake(1)
  assert.match(await first.tun.lost, /the interface pg0 is gone/)
  const broken = new FakeWindows()
  const second = polled(broken)
  await settle()
  broken.wake(windows.WAIT_FAILED)
  assert.match(await second.tun.lost, /the interface pg0 is gone/)
  for (const { tun } of [first, second]) await tun[Symbol.asyncDispose]()
  assert.deepEqual([gone.log.slice(-3), broken.log.slice(-3)], [closing, closing])
})

const closing: readonly string[] = ['end', 'close', 'close 500']

test('closing ends the wait first, then the session, then the adapter, once', async () => {
  const listeners = process.listenerCount('exit')
  const fake = new FakeWindows()
  const { tun } = polled(fake)
  await settle()
  assert.ok(fake.waiting !== undefined)
  await tun[Symbol.asyncDispose]()
  await tun[Symbol.asyncDispose]()
  assert.deepEqual(fake.log.slice(2), closing)
  assert.equal(process.listenerCount('exit'), listeners)
})

test('a receiver that closes the interface is not called again', async () => {
  const fake = new FakeWindows()
  fake.ring.push(Uint8Array.of(1), Uint8Array.of(2))
  const session = open(fake)
  const tun = new PolledTun({ file: session, poll: session, clock: systemClock, name: 'pg0', mtu: 1420 })
  let got = 0
  tun.receive(() => {
    got++
    void tun[Symbol.asyncDispose]()
  })
  await settle()
  assert.equal(got, 1)
  assert.deepEqual(fake.log.slice(2), closing)
})

test('an adapter is waited for until TCP/IP sees it, and not for ever', async () => {
  let now = 0
  const clock: Clock = {
    now: () => now,
    wallTime: () => now,
    after(delay, wake) {
      now += delay
      setImmediate(wake)
      return { [Symbol.dispose]: () => {} }
    },
  }
  const seenAfter = (ms: number) => ({
    clock,
    run: async () => (now >= ms ? ' 16           5        1420  connected     pg0\r\n' : ''),
  })
  await untilSeen('pg0', seenAfter(0))
  assert.equal(now, 0)
  await untilSeen('pg0', seenAfter(350))
  assert.equal(now, 400)
  await assert.rejects(
    untilSeen('pg0', seenAfter(60_000)),
    (error) => error instanceof PunchGuardError && error.code === 'GUARD_UNAVAILABLE',
  )
  assert.ok(now <= 10_600)
})

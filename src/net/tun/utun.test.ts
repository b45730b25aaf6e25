import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, PunchGuardError } from '../../api/errors.ts'
import { errno } from '../ffi.ts'
import { macos } from '../macos-calls.ts'
import { openUtunDevice, type UtunCalls, UtunDescriptor } from './utun.ts'

interface Script {
  /** errno by call, or by the request code of an ioctl. */
  readonly fail?: Readonly<Record<string, number>>
}

/** A kernel that makes utun9, and keeps count of what is open. */
class FakeCalls implements UtunCalls {
  readonly opened: Set<number> = new Set()
  readonly nonBlocking: Set<number> = new Set()
  readonly log: string[] = []
  readonly written: Uint8Array[] = []
  /** What `read` gives: bytes, or an errno. */
  incoming: (Uint8Array | number)[] = []
  writeError = 0
  readonly #script: Script
  readonly #memory: Map<number, DataView> = new Map()
  #errno = 0
  #nextAddress = 4096
  #nextFd = 10

  constructor(script: Script = {}) {
    this.#script = script
  }

  socket(family: number, type: number, protocol: number): number {
    this.log.push(`socket ${family} ${type} ${protocol}`)
    if (this.#fails(`socket ${family}`)) return -1
    this.opened.add(this.#nextFd)
    return this.#nextFd++
  }

  close(fd: number): number {
    assert.ok(this.opened.delete(fd), `${fd} is not open`)
    return 0
  }

  fcntl(fd: number, command: number, value: number): number {
    assert.ok(this.opened.has(fd))
    if (this.#fails(`fcntl ${command}`)) return -1
    if (command === macos.F_SETFL && value === macos.O_NONBLOCK) this.nonBlocking.add(fd)
    return 0
  }

  ioctl(fd: number, request: number, address: number): number {
    assert.ok(this.opened.has(fd))
    if (this.#fails(`ioctl ${request}`)) return -1
    const view = this.#view(address)
    if (request === macos.CTLIOCGINFO) {
      this.log.push(`control ${text(view, 4)}`)
      view.setUint32(0, 5, true)
    } else {
      assert.equal(request, macos.SIOCSIFMTU)
      this.log.push(`mtu ${text(view, 0)} ${view.getInt32(16, true)}`)
    }
    return 0
  }

  connect(fd: number, address: number, length: number): number {
    assert.ok(this.opened.has(fd))
    const view = this.#view(address)
    this.log.push(`connect ${Buffer.from(view.buffer, 0, length).toString('hex')}`)
    return this.#fails('connect') ? -1 : 0
  }

  getsockopt(_fd: number, level: number, option: number, value: number, length: number): number {
    assert.deepEqual([level, option], [2, 2])
    if (this.#fails('getsockopt')) return -1
    const view = this.#view(value)
    assert.equal(view.getUint32(length - value, true), 16)
    new Uint8Array(view.buffer).set(Buffer.from('utun9\0'))
    return 0
  }

  read(_fd: number, address: number, length: number): number {
    const next = this.incoming.shift() ?? errno.EAGAIN
    if (typeof next === 'number') {
      this.#errno = next
      return -1
    }
    assert.ok(length >= next.length)
    new Uint8Array(this.#view(address).buffer).set(next)
    return next.length
  }

  write(_fd: number, address: number, length: number): number {
    if (this.writeError !== 0) {
      this.#errno = this.writeError
      return -1
    }
    this.written.push(new Uint8Array(this.#view(address).buffer).slice(0, length))
    return length
  }

  errno(): number {
    return this.#errno
  }

  allocate(length: number): ReturnType<UtunCalls['allocate']> {
    const bytes = new Uint8Array(length)
    const address = this.#nextAddress
    this.#nextAddress += 1_000_000
    const view = new DataView(bytes.buffer)
    this.#memory.set(address, view)
    return { bytes, view, address }
  }

  #fails(call: string): boolean {
    this.#errno = this.#script.fail?.[call] ?? 0
    return this.#errno !== 0
  }

  #view(address: number): DataView {
    const view = this.#memory.get(address)
    assert.ok(view !== undefined)
    return view
  }
}

function text(view: DataView, at: number): string {
  return Buffer.from(view.buffer, at).toString().replace(/\0.*/s, '')
}

function failure(fail: Script['fail'], name = 'utun3'): { code: ErrorCode; message: string; open: number } {
  const calls = new FakeCalls({ ...(fail && { fail }) })
  try {
    openUtunDevice(calls, { name, mtu: 1420 })
  } catch (error) {
    assert.ok(error instanceof PunchGuardError)
    assert.ok(error.hint.length > 0)
    return { code: error.code, message: error.message, open: calls.opened.size }
  }
  return assert.fail('the interface was opened')
}

test('the interface is a non-blocking control socket with the name the system says and the MTU asked for', () => {
  const calls = new FakeCalls()
  const { fd, name } = openUtunDevice(calls, { name: 'pg0', mtu: 1380 })
  assert.equal(name, 'utun9')
  assert.deepEqual([[...calls.opened], [...calls.nonBlocking]], [[fd], [fd]])
  assert.deepEqual(calls.log, [
    'socket 32 2 2',
    'control com.apple.net.utun_control',
    // sc_len 32, sc_family 32, ss_sysaddr 2, sc_id 5, sc_unit 0: any
    `connect 20200200${'05000000'}${'00000000'}${'00'.repeat(20)}`,
    'socket 2 2 0',
    'mtu utun9 1380',
  ])
})

test('a name with a number is asked for as the unit after it', () => {
  const unit = (name: string): string => {
    const calls = new FakeCalls()
    openUtunDevice(calls, { name })
    return calls.log.find((line) => line.startsWith('connect'))?.slice(24, 32) ?? ''
  }
  assert.deepEqual(['utun0', 'utun3', 'utun', 'pg0', 'utun3x'].map(unit), [
    '01000000',
    '04000000',
    '00000000',
    '00000000',
    '00000000',
  ])
})

test('each refusal of the system is an error that says what to do, and leaves nothing open', () => {
  const refusals: readonly (readonly [Script['fail'], ErrorCode, RegExp])[] = [
    [{ 'socket 32': errno.EPERM }, 'PERMISSION_DENIED', /no kernel control sockets/],
    [{ [`ioctl ${macos.CTLIOCGINFO}`]: errno.ENOENT }, 'GUARD_UNAVAILABLE', /no utun driver/],
    [{ connect: errno.EPERM }, 'PERMISSION_DENIED', /may not be made/],
    [{ connect: errno.EBUSY }, 'GUARD_UNAVAILABLE', /utun3 exists already/],
    [{ [`fcntl ${macos.F_SETFL}`]: errno.EINVAL }, 'GUARD_UNAVAILABLE', /cannot be read/],
    [{ getsockopt: errno.EINVAL }, 'GUARD_UNAVAILABLE', /has no name/],
    [{ [`ioctl ${macos.SIOCSIFMTU}`]: errno.EINVAL }, 'GUARD_UNAVAILABLE', /the MTU 1420 was refused/],
  ]
  for (const [fail, code, message] of refusals) {
    const failed = failure(fail)
    assert.deepEqual([failed.code, failed.open], [code, 0])
    assert.match(failed.message, message)
  }
})

test('the address family goes before a packet that is written, and is taken off one that is read', () => {
  const calls = new FakeCalls()
  const file = new UtunDescriptor(calls, 10)
  assert.equal(file.write(Uint8Array.of(0x45, 1, 2)), 0)
  assert.equal(file.write(Uint8Array.of(0x60, 3)), 0)
  assert.deepEqual(
    calls.written.map((bytes) => [...bytes]),
    [
      [0, 0, 0, 2, 0x45, 1, 2],
      [0, 0, 0, 30, 0x60, 3],
    ],
  )
  calls.incoming = [Uint8Array.of(0, 0, 0, 2, 0x45, 9), Uint8Array.of(0, 0)]
  assert.deepEqual(file.read(), Uint8Array.of(0x45, 9))
  assert.deepEqual(file.read(), new Uint8Array(0))
  assert.equal(file.read(), errno.EAGAIN)
})

test('what is no IP packet is refused, a full system is told from one that is gone', () => {
  const calls = new FakeCalls()
  const file = new UtunDescriptor(calls, 10)
  for (const bytes of [[], [0x00], [0x55, 1], [0xff]]) assert.equal(file.write(Uint8Array.from(bytes)), errno.EINVAL)
  const long = new Uint8Array(65_536)
  long[0] = 0x45
  assert.equal(file.write(long), errno.EINVAL)
  assert.deepEqual(calls.written, [])
  calls.writeError = errno.ENOBUFS
  assert.equal(file.write(Uint8Array.of(0x45)), errno.ENOBUFS)
  calls.incoming = [new Uint8Array(0)]
  assert.equal(file.read(), errno.ENXIO)
})

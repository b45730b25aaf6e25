import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, PunchGuardError } from '../../api/errors.ts'
import { errno } from '../ffi.ts'
import { makePersistentTunNow, openTunDevice, type TunCalls } from './linux.ts'

interface Script {
  /** errno of open, 0 when it succeeds. */
  readonly open?: number
  /** errno of the ioctl with this request code. */
  readonly ioctl?: Readonly<Record<number, number>>
}

const tunSetInterface = 0x400454ca
const setPersistent = 0x400454cb
const setIndex = 0x400454da
const setMtu = 0x8922

/** A kernel that follows a script and keeps count of what is open. */
class FakeCalls implements TunCalls {
  readonly opened: Set<number> = new Set()
  readonly requests: { readonly code: number; readonly name: string; readonly value: number }[] = []
  readonly #script: Script
  readonly #memory: Map<number, DataView> = new Map()
  #errno = 0
  #nextFd = 10

  constructor(script: Script = {}) {
    this.#script = script
  }

  open(path: string): number {
    assert.equal(path, '/dev/net/tun')
    return this.#result(this.#script.open ?? 0)
  }

  socket(): number {
    return this.#result(0)
  }

  close(fd: number): number {
    assert.ok(this.opened.delete(fd), `${fd} is not open`)
    return 0
  }

  ioctl(fd: number, code: number, address: number): number {
    assert.ok(this.opened.has(fd))
    // The one whose argument is the value itself.
    const view = code === setPersistent ? new DataView(new ArrayBuffer(40)) : this.#memory.get(address)
    assert.ok(view !== undefined)
    this.#errno = this.#script.ioctl?.[code] ?? 0
    if (this.#errno !== 0) return -1
    if (code === tunSetInterface) new Uint8Array(view.buffer).set(Buffer.from('pg7\0'))
    const name = Buffer.from(view.buffer, 0, 16).toString().replace(/\0.*/, '')
    this.requests.push({
      code,
      name,
      value: this.#valueOf(code, view, address),
    })
    return 0
  }

  #valueOf(code: number, view: DataView, address: number): number {
    if (code === setPersistent) return address
    if (code === setIndex) return view.getUint32(0, true)
    return code === tunSetInterface ? view.getUint16(16, true) : view.getInt32(16, true)
  }

  errno(): number {
    return this.#errno
  }

  allocate(length: number): ReturnType<TunCalls['allocate']> {
    const bytes = new Uint8Array(length)
    const address = 1000 + this.#memory.size
    const view = new DataView(bytes.buffer)
    this.#memory.set(address, view)
    return { bytes, view, address }
  }

  #result(failure: number): number {
    this.#errno = failure
    if (failure !== 0) return -1
    this.opened.add(this.#nextFd)
    return this.#nextFd++
  }
}

function failure(script: Script, name = 'pg%d'): { readonly code: ErrorCode; readonly message: string; open: number } {
  const calls = new FakeCalls(script)
  try {
    openTunDevice(calls, { name, mtu: 1420 })
  } catch (error) {
    assert.ok(error instanceof PunchGuardError)
    assert.ok(error.hint.length > 0)
    return { code: error.code, message: error.message, open: calls.opened.size }
  }
  return assert.fail('the interface was opened')
}

test('the interface has the name the kernel chose, and the MTU asked for', () => {
  const calls = new FakeCalls()
  const { name, fd } = openTunDevice(calls, { name: 'pg%d', mtu: 1380 })
  assert.equal(name, 'pg7')
  assert.deepEqual([...calls.opened], [fd])
  assert.deepEqual(calls.requests, [
    // IFF_TUN, IFF_NO_PI and IFF_TUN_EXCL
    { code: tunSetInterface, name: 'pg7', value: 0x9001 },
    { code: setMtu, name: 'pg7', value: 1380 },
  ])
})

test('an interface for another program gets its index first, stays, and is not held open', () => {
  const calls = new FakeCalls()
  makePersistentTunNow(calls, { name: 'pg7', mtu: 1380, index: 17_000_000 })
  assert.deepEqual(
    calls.requests.map(({ code, value }) => [code, value]),
    [
      [setIndex, 17_000_000],
      [tunSetInterface, 0x9001],
      [setMtu, 1380],
      [setPersistent, 1],
    ],
  )
  assert.equal(calls.opened.size, 0)
  for (const code of [setIndex, setPersistent]) {
    const refusing = new FakeCalls({ ioctl: { [code]: errno.EPERM } })
    assert.throws(() => makePersistentTunNow(refusing, { name: 'pg7', index: 17_000_000 }), {
      code: 'PERMISSION_DENIED',
    })
    assert.equal(refusing.opened.size, 0)
  }
})

test('each refusal of the kernel is an error that says what to do, and leaves nothing open', () => {
  const refusals: readonly (readonly [Script, ErrorCode, RegExp])[] = [
    [{ open: errno.ENOENT }, 'GUARD_UNAVAILABLE', /no usable \/dev\/net\/tun/],
    [{ open: errno.ENODEV }, 'GUARD_UNAVAILABLE', /no usable \/dev\/net\/tun/],
    [{ open: errno.EACCES }, 'PERMISSION_DENIED', /may not be opened/],
    [{ ioctl: { [tunSetInterface]: errno.EPERM } }, 'PERMISSION_DENIED', /an interface may not be made/],
    [{ ioctl: { [tunSetInterface]: errno.EBUSY } }, 'GUARD_UNAVAILABLE', /pg%d exists already/],
    [{ ioctl: { [tunSetInterface]: errno.EINVAL } }, 'GUARD_UNAVAILABLE', /was not made/],
    [{ ioctl: { [setMtu]: errno.EINVAL } }, 'GUARD_UNAVAILABLE', /the MTU 1420 was refused/],
  ]
  for (const [script, code, message] of refusals) {
    const failed = failure(script)
    assert.deepEqual([failed.code, failed.open], [code, 0])
    assert.match(failed.message, message)
  }
})

test('a name that no interface can have is refused before anything is opened', () => {
  for (const name of ['', '.', '..', 'a/b', 'a b', 'a:b', 'sixteen-letters-', 'pg\n'])
    assert.equal(failure({ open: errno.EIO }, name).code, 'CONFIG_INVALID', name)
})

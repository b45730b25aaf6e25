import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { c, errno, type SystemCalls, systemCalls } from './ffi.ts'
import { EpollLoop } from './poll-loop.ts'

const skip: string | false = process.platform === 'linux' ? false : 'epoll is part of Linux only'

/** A counter that is readable while it is not 0. */
function counter(system: SystemCalls): { fd: number; add: () => void; take: () => number } {
  const fd = system.eventfd(0, c.O_NONBLOCK | c.O_CLOEXEC)
  const memory = system.allocate(16)
  return {
    fd,
    add: () => {
      memory.view.setBigUint64(0, 1n, true)
      assert.equal(system.write(fd, memory.address, 8), 8)
    },
    take: () => (system.read(fd, memory.address + 8, 8) === 8 ? Number(memory.view.getBigUint64(8, true)) : 0),
  }
}

test('only the descriptors that are ready are called, as long as they are', { skip }, async () => {
  const system = await systemCalls()
  const loop = new EpollLoop(system)
  const [first, second] = [counter(system), counter(system)]
  const order: string[] = []
  const unused = loop.add(second.fd, () => assert.fail('the second has nothing'))
  await new Promise<void>((resolve) => {
    let left = 3
    const registration = loop.add(first.fd, () => {
      order.push('first')
      if (--left > 0) return
      assert.equal(first.take(), 1)
      registration[Symbol.dispose]()
      resolve()
    })
    first.add()
  })
  assert.deepEqual(order, ['first', 'first', 'first'])
  unused[Symbol.dispose]()
  for (const { fd } of [first, second]) assert.equal(system.close(fd), 0)
})

test('a descriptor added while the loop waits is seen, and one disposed by another is not called', {
  skip,
}, async () => {
  const system = await systemCalls()
  const loop = new EpollLoop(system)
  const [idle, first, second] = [counter(system), counter(system), counter(system)]
  const registrations = [loop.add(idle.fd, () => assert.fail('idle'))]
  await new Promise((resolve) => setImmediate(resolve))
  first.add()
  second.add()
  const called = await new Promise<number>((resolve) => {
    let called = 0
    const only = (): void => {
      called++
      for (const registration of registrations) registration[Symbol.dispose]()
      setImmediate(() => resolve(called))
    }
    registrations.push(loop.add(first.fd, only), loop.add(second.fd, only))
  })
  assert.equal(called, 1)
})

test('the loop stops with its last descriptor and starts again with a new one', { skip }, async () => {
  const system = await systemCalls()
  const loop = new EpollLoop(system)
  for (let round = 0; round < 3; round++) {
    const { fd, add, take } = counter(system)
    await new Promise<void>((resolve) => {
      const registration = loop.add(fd, () => {
        assert.equal(take(), 1)
        registration[Symbol.dispose]()
        resolve()
      })
      add()
    })
    system.close(fd)
  }
})

test('a process that is waiting ends at once: by exit, by an error, and by disposing the last descriptor', {
  skip,
}, async () => {
  const script = (end: string): string => `
    const { c, systemCalls } = await import(${JSON.stringify(new URL('./ffi.js', import.meta.url).href)})
    const { sharedPollLoop } = await import(${JSON.stringify(new URL('./poll-loop.js', import.meta.url).href)})
    const system = await systemCalls()
    const registration = (await sharedPollLoop()).add(system.eventfd(0, 0), () => {})
    setTimeout(() => { ${end} }, 20)`
  const run = (end: string): Promise<unknown> =>
    promisify(execFile)(process.execPath, ['--input-type=module', '-e', script(end)], { timeout: 5000 })
  await run('process.exit(0)')
  await run('registration[Symbol.dispose]()')
  await assert.rejects(run('throw new Error("planned")'), /planned/)
})

test('errno tells why a call failed', { skip }, async () => {
  const system = await systemCalls()
  assert.equal(system.open('/does/not/exist', c.O_RDONLY), -1)
  assert.equal(system.errno(), errno.ENOENT)
})

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { loadKoffi } from './ffi.ts'
import { declareMacosCalls, type MacosCalls } from './macos-calls.ts'
import { PipePollLoop, type PollCalls } from './pipe-poll-loop.ts'

const skip: string | false = process.platform === 'win32' && 'poll(2) and pipes are part of Unix only'

/** poll, pipe, read and write of this very system: they are the same on macOS and Linux, but for O_NONBLOCK. */
async function pollCalls(): Promise<MacosCalls> {
  const system = declareMacosCalls(await loadKoffi())
  const nonBlocking = process.platform === 'linux' ? 0o4000 : 4
  return { ...system, fcntl: (fd, command, value) => system.fcntl(fd, command, command === 4 ? nonBlocking : value) }
}

/** What is readable after `add` and until it is taken. */
function source(system: MacosCalls): { fd: number; add: () => void; take: () => number; close: () => void } {
  const memory = system.allocate(16)
  assert.equal(system.pipe(memory.address), 0)
  const [fd, writer] = [memory.view.getInt32(0, true), memory.view.getInt32(4, true)]
  return {
    fd,
    add: () => assert.equal(system.write(writer, memory.address, 1), 1),
    take: () => system.read(fd, memory.address + 8, 1),
    close: () => {
      for (const end of [fd, writer]) assert.equal(system.close(end), 0)
    },
  }
}

test('only the descriptors that are ready are called, as long as they are', { skip }, async () => {
  const system = await pollCalls()
  const loop = new PipePollLoop(system)
  const [first, second] = [source(system), source(system)]
  const unused = loop.add(second.fd, () => assert.fail('the second has nothing'))
  let called = 0
  await new Promise<void>((resolve) => {
    const registration = loop.add(first.fd, () => {
      if (++called < 3) return
      assert.equal(first.take(), 1)
      registration[Symbol.dispose]()
      resolve()
    })
    first.add()
  })
  assert.equal(called, 3)
  unused[Symbol.dispose]()
  for (const { close } of [first, second]) close()
})

test('a descriptor added while the loop waits is seen, and one disposed by another is not called', {
  skip,
}, async () => {
  const system = await pollCalls()
  const loop = new PipePollLoop(system)
  const [idle, first, second] = [source(system), source(system), source(system)]
  const registrations = [loop.add(idle.fd, () => assert.fail('idle'))]
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
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
  for (const { close } of [idle, first, second]) close()
})

test('the loop stops with its last descriptor and starts again with a new one', { skip }, async () => {
  const system = await pollCalls()
  const loop = new PipePollLoop(system)
  for (let round = 0; round < 3; round++) {
    const { fd, add, take, close } = source(system)
    await new Promise<void>((resolve) => {
      const registration = loop.add(fd, () => {
        assert.equal(take(), 1)
        registration[Symbol.dispose]()
        resolve()
      })
      add()
    })
    close()
  }
})

test('a process that is waiting ends at once: by exit, and by disposing the last descriptor', { skip }, async () => {
  const url = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href)
  const script = (end: string): string => `
    const { loadKoffi } = await import(${url('./ffi.js')})
    const { declareMacosCalls } = await import(${url('./macos-calls.js')})
    const { PipePollLoop } = await import(${url('./pipe-poll-loop.js')})
    const system = declareMacosCalls(await loadKoffi())
    const memory = system.allocate(8)
    system.pipe(memory.address)
    const registration = new PipePollLoop(system).add(memory.view.getInt32(0, true), () => {})
    setTimeout(() => { ${end} }, 20)`
  const run = (end: string): Promise<unknown> =>
    promisify(execFile)(process.execPath, ['--input-type=module', '-e', script(end)], { timeout: 5000 })
  await run('process.exit(0)')
  await run('registration[Symbol.dispose]()')
})

test('a wait that is interrupted or refused calls nobody and is taken up again', async () => {
  const waits: ((ready: number) => void)[] = []
  const memory = { bytes: new Uint8Array(1024), view: new DataView(new ArrayBuffer(1024)), address: 1 }
  const system: PollCalls = {
    allocate: () => memory,
    errno: () => 4,
    fcntl: () => 0,
    pipe: () => 0,
    poll: () => -1,
    pollOnPool: (_fds, _count, _timeout, done) => void waits.push(done),
    read: () => -1,
    write: () => 1,
  }
  const exits = process.listeners('exit')
  new PipePollLoop(system).add(7, () => assert.fail('nothing is ready'))
  for (let round = 1; round <= 3; round++) {
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(waits.length, round)
    waits.at(-1)?.(-1)
  }
  for (const listener of process.listeners('exit')) if (!exits.includes(listener)) process.off('exit', listener)
})

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { endProcess, identifyProcess, isRunning, type ProcessIdentity } from './process-identity.ts'
import { decodeLogLine } from './undo.ts'
import { UndoLog, undoLeftovers } from './undo-log.ts'

const skip: string | false = process.platform === 'linux' ? false : '/proc is on Linux only'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pg-process-'))
})
afterEach(() => rm(folder, { recursive: true }))

/** A process that waits for its end, deaf to a wish if told so. */
async function waiting(options: { readonly deaf?: boolean } = {}): Promise<[ChildProcess, ProcessIdentity]> {
  const code = `${options.deaf ? "process.on('SIGTERM', () => {});" : ''} setInterval(() => {}, 1000); console.log('ready')`
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'ignore'] })
  await once(child.stdout, 'data')
  const identity = identifyProcess(child.pid ?? 0, basename(process.execPath))
  assert.ok(identity)
  return [child, identity]
}

test('a process is ended, and known to be gone afterwards', { skip }, async () => {
  const [child, identity] = await waiting()
  const ended = once(child, 'exit')
  assert.equal(isRunning(identity), true)
  assert.equal(await endProcess(identity), 'undone')
  assert.deepEqual(await ended, [null, 'SIGTERM'])
  assert.equal(isRunning(identity), false)
  assert.equal(await endProcess(identity), 'gone')
})

test('one that does not listen is killed', { skip }, async () => {
  const [child, identity] = await waiting({ deaf: true })
  const ended = once(child, 'exit')
  assert.equal(await endProcess(identity), 'undone')
  assert.deepEqual(await ended, [null, 'SIGKILL'])
})

test('another process that has the number, or runs another program, is left alone', { skip }, async () => {
  const [child, identity] = await waiting()
  const others: readonly ProcessIdentity[] = [
    { ...identity, startedAt: identity.startedAt - 1 },
    { ...identity, name: 'wireguard-go' },
    { ...identity, place: 'another boot' },
  ]
  for (const other of others) assert.equal(await endProcess(other), 'gone')
  assert.equal(isRunning(identity), true)
  assert.equal(await endProcess(identity), 'undone')
  assert.equal(child.exitCode, null)
})

test('a process of a start that crashed is ended by the next', { skip }, async () => {
  const path = join(folder, 'undo')
  const [child, of] = await waiting()
  const ended = once(child, 'exit')
  const log = await UndoLog.open(path)
  await log.record({ kind: 'end-process', of })
  await log.record({ kind: 'remove-socket', of: { name: '/var/run/wireguard/pg-nothing.sock' } })
  assert.deepEqual(await undoLeftovers(path), { undone: 1, gone: 1, failed: [] })
  await ended
  await assert.rejects(access(path))
})

test('a line of the log that names another file, or no process, is no line', () => {
  const of = { name: 'wireguard-go', pid: 7, startedAt: 1, place: 'here' }
  const line = (undo: unknown): string => JSON.stringify({ id: 1, undo })
  assert.ok(decodeLogLine(line({ kind: 'end-process', of })))
  assert.ok(decodeLogLine(line({ kind: 'remove-socket', of: { name: '/var/run/wireguard/pg0.sock' } })))
  for (const undo of [
    { kind: 'end-process', of: { ...of, pid: 1 } },
    { kind: 'end-process', of: { ...of, pid: -1 } },
    { kind: 'end-process', of: { ...of, startedAt: '1' } },
    { kind: 'end-process', of: { ...of, name: '../x' } },
    { kind: 'remove-socket', of: { name: '/etc/passwd' } },
    { kind: 'remove-socket', of: { name: '/var/run/wireguard/../../etc/x.sock' } },
    { kind: 'remove-socket', of: { name: '/var/run/wireguard/a/b.sock' } },
  ]) {
    assert.equal(decodeLogLine(line(undo)), undefined, line(undo))
  }
})

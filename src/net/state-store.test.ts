import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type ErrorCode, PunchGuardError } from '../api/errors.ts'
import { lockFile } from './file-lock.ts'
import { openStateFolder } from './state-folder.ts'
import { FileStateStore } from './state-store.ts'

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pg-state-'))
  t.after(() => rm(folder, { recursive: true }))
  return folder
}

function isError(code: ErrorCode, message: RegExp, hint: RegExp = /./) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof PunchGuardError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, message)
    assert.match(error.hint, hint)
    return true
  }
}

test('a value is read back as it was written, and is undefined before and after', async (t) => {
  const folder = await temporaryFolder(t)
  const store = new FileStateStore(folder)
  assert.equal(await store.read('peers'), undefined)
  await store.write('peers', { a: [1, 'ü'] })
  await store.write('peers', { a: [2] })
  assert.deepEqual(await store.read('peers'), { a: [2] })
  assert.deepEqual(await readdir(folder), ['peers.json'])
  assert.equal((await stat(join(folder, 'peers.json'))).mode & 0o777, 0o600)
  await store.remove('peers')
  await store.remove('peers')
  assert.equal(await store.read('peers'), undefined)
})

test('of many writes at once the last one stays', async (t) => {
  const folder = await temporaryFolder(t)
  const store = new FileStateStore(folder)
  await Promise.all(Array.from({ length: 20 }, (_, count) => store.write('peers', count)))
  assert.equal(await store.read('peers'), 19)
  assert.deepEqual(await readdir(folder), ['peers.json'])
})

test('a half-written or strange file is damaged, and stays as it is', async (t) => {
  const folder = await temporaryFolder(t)
  const store = new FileStateStore(folder)
  const path = join(folder, 'peers.json')
  await writeFile(path, '{"version":1,"pee')
  await assert.rejects(
    store.read('peers'),
    isError('STATE_DAMAGED', /peers\.json is damaged: it is not complete/, /backup/),
  )
  assert.equal(await readFile(path, 'utf8'), '{"version":1,"pee')
  await writeFile(path, '')
  await assert.rejects(store.read('peers'), isError('STATE_DAMAGED', /it is empty/))
  await writeFile(path, 'x'.repeat(5_000_000))
  await assert.rejects(store.read('peers'), isError('STATE_DAMAGED', /far too large/))
  await rm(path)
  await mkdir(path)
  await assert.rejects(store.read('peers'), isError('STATE_DAMAGED', /a folder in its place/))
})

test('a write that fails leaves the old value, no temporary file, and does not stop later ones', async (t) => {
  const folder = await temporaryFolder(t)
  const store = new FileStateStore(folder)
  await store.write('identity', 1)
  await mkdir(join(folder, 'peers.json', 'full'), { recursive: true })
  await assert.rejects(store.write('peers', 1), isError('STATE_UNWRITABLE', /peers\.json could not be written: /))
  await store.write('identity', 2)
  assert.equal(await store.read('identity'), 2)
  assert.deepEqual((await readdir(folder)).sort(), ['identity.json', 'peers.json'])
})

test('a folder that others can look into is refused, with the command that closes it', async (t) => {
  const folder = await temporaryFolder(t)
  await chmod(folder, 0o750)
  await assert.rejects(openStateFolder(folder), isError('PERMISSION_DENIED', /mode 750/, /^chmod 700 /))
  await chmod(folder, 0o700)
  await openStateFolder(folder)
})

test('a missing folder is made for its owner alone, and what a crash left in it is removed', async (t) => {
  const folder = join(await temporaryFolder(t), 'a', 'b')
  await openStateFolder(folder)
  assert.equal((await stat(folder)).mode & 0o777, 0o700)
  await writeFile(join(folder, '.0123.tmp'), '{"half')
  await writeFile(join(folder, 'peers.json'), '{}')
  await openStateFolder(folder)
  assert.deepEqual(await readdir(folder), ['peers.json'])
})

test('a folder that cannot be made says why', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'file'), '')
  await assert.rejects(openStateFolder(join(folder, 'file')), isError('STATE_UNWRITABLE', /./))
  await assert.rejects(openStateFolder(join(folder, 'file', 'x')), isError('STATE_UNWRITABLE', /not a folder/))
  await symlink('/proc/1/root', join(folder, 'link'))
  await assert.rejects(openStateFolder(join(folder, 'link')), PunchGuardError)
})

test('the lock of a folder has one holder at a time', async (t) => {
  const path = join(await temporaryFolder(t), 'daemon.lock')
  const first = await lockFile(path)
  assert.ok(first !== undefined)
  assert.equal(await lockFile(path), undefined)
  first[Symbol.dispose]()
  const second = await lockFile(path)
  assert.ok(second !== undefined)
  second[Symbol.dispose]()
})

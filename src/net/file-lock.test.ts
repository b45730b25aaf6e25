import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { lockFile, openExclusively } from './file-lock.ts'

test('a lock has one holder, and goes with it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'punchguard-net-'))
  const path = join(folder, 'lock')
  try {
    const first = await lockFile(path)
    assert.ok(first !== undefined)
    assert.equal(await lockFile(path), undefined)
    first[Symbol.dispose]()
    const second = await lockFile(path)
    assert.ok(second !== undefined)
    second[Symbol.dispose]()
    if (process.platform !== 'win32') assert.equal((await stat(path)).mode & 0o777, 0o600)
    assert.equal(await readFile(path, 'utf8'), '')
    await assert.rejects(lockFile(join(folder, 'missing', 'lock')), { code: 'ENOENT' })
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('systems that lock as they open are asked to, and say in their own way that another has it', () => {
  const failing = (code: string) => (): number => {
    throw Object.assign(new Error(code), { code })
  }
  for (const [platform, flags, heldBy, other] of [
    ['darwin', 0x24, 'EAGAIN', 'EBUSY'],
    ['win32', 0x1000_0000, 'EBUSY', 'EACCES'],
  ] as const) {
    let asked = 0
    const open = (_path: unknown, given?: unknown): number => {
      asked = Number(given)
      throw Object.assign(new Error(heldBy), { code: heldBy })
    }
    assert.equal(openExclusively('lock', { platform, open }), undefined)
    assert.equal(asked & flags, flags)
    assert.throws(() => openExclusively('lock', { platform, open: failing(other) }), { code: other })
  }
  assert.throws(() => openExclusively('lock', { platform: 'linux' }), /linux does not lock as it opens/)
})

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { PunchGuardError } from '../api/errors.ts'
import { SecretKey } from '../api/keys.ts'
import type { Clock } from '../util/clock.ts'
import { openLog } from './log-file.ts'

const clock: Clock = { now: () => 0, wallTime: () => 0, after: () => ({ [Symbol.dispose]: () => {} }) }

async function temporaryPath(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pg-log-'))
  t.after(() => rm(folder, { recursive: true }))
  return join(folder, 'daemon.log')
}

test('an event is one line, quoted where needed, without secrets', async (t) => {
  const path = await temporaryPath(t)
  const copies: string[] = []
  const log = openLog({ path, clock, verbose: false, also: (line) => copies.push(line) })
  const key = new SecretKey(new Uint8Array(32).fill(0xab))
  log.info('home is connected', {
    peer: 'home',
    rtt: 23.5,
    nothing: undefined,
    text: 'a "b"\nc',
    key,
    bytes: new Uint8Array(32).fill(1),
  })
  log.debug('left out')
  log.warn('x', { error: new Error('it broke'), nested: { key } })
  const lines = (await readFile(path, 'utf8')).split('\n')
  assert.deepEqual(lines, [
    'time=1970-01-01T00:00:00.000Z level=info msg="home is connected" peer=home rtt=23.5 text="a \\"b\\"\\nc" key="[secret]" bytes=01010101',
    'time=1970-01-01T00:00:00.000Z level=warn msg=x error="it broke" nested="{\\"key\\":\\"[secret]\\"}"',
    '',
  ])
  assert.deepEqual(copies, lines.slice(0, 2))
  assert.equal((await stat(path)).mode & 0o777, 0o600)
})

test('the log never takes more than two files of 1 MiB', async (t) => {
  const path = await temporaryPath(t)
  const log = openLog({ path, clock, verbose: true })
  for (let count = 0; count < 700; count++) log.debug('x'.repeat(10_000), { count })
  const [current, old] = [await stat(path), await stat(`${path}.1`)]
  assert.ok(current.size <= 1024 * 1024 && old.size <= 1024 * 1024)
  assert.ok(old.size > 900_000)
})

test('a log that cannot be written is told at the start', async (t) => {
  const path = await temporaryPath(t)
  await mkdir(path)
  assert.throws(
    () => openLog({ path, clock, verbose: false }),
    (error) => error instanceof PunchGuardError && error.code === 'STATE_UNWRITABLE',
  )
})

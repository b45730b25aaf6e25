/** The lab as a newcomer runs it: one whole run, and that nothing of it is left, however it ends. Root only. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { printed, processesGone, processesOf, resultOf, start, traces } from './run.ts'

const lab = [process.execPath, fileURLToPath(new URL('../../lab/main.js', import.meta.url))]

test('a whole run pairs, connects, copies, heals, says so in one JSON line, and leaves nothing', async () => {
  const before = traces()
  const run = start([...lab, '--json', '--copy', '4', '--delay', '10'])
  const { status } = await run.ended
  assert.equal(status, 0, run.output.stderr)
  const result = resultOf(run)
  assert.equal(result.ok, true)
  assert.equal(result.copied_bytes, 4 * 2 ** 20)
  assert.equal(result.sha256_equal, true)
  assert.match(result.path ?? '', /^direct, /)
  // Two lines of 10 ms each way.
  const { ping_ms = 0 } = result
  assert.ok(ping_ms >= 40 && ping_ms < 200, `${ping_ms}`)
  for (const name of ['paired_ms', 'tunnel_up_ms', 'heal_ms', 'copy_mbit_s'] as const) {
    assert.ok((result[name] ?? 0) > 0, name)
  }
  assert.ok(result.seconds < 60, `${result.seconds}`)
  await processesGone(run)
  assert.deepEqual(traces(), before)
})

test('an interrupt in the middle ends it with status 130 and leaves nothing', async () => {
  const before = traces()
  const run = start([...lab, '--json'])
  await printed(run, 'a daemon runs on each device')
  run.child.kill('SIGINT')
  const { status } = await run.ended
  assert.equal(status, 130)
  assert.equal(resultOf(run).ok, false)
  await processesGone(run)
  assert.deepEqual(traces(), before)
})

test('killed from one moment to the next it leaves nothing', async () => {
  const before = traces()
  const run = start([...lab, '--json'])
  await printed(run, 'a daemon runs on each device')
  assert.ok(processesOf(run).length >= 6)
  run.child.kill('SIGKILL')
  const { signal } = await run.ended
  assert.equal(signal, 'SIGKILL')
  await processesGone(run)
  assert.deepEqual(traces(), before)
})

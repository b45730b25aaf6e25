/** The lab as a newcomer runs it: one whole run, and that nothing of it is left, however it ends. Root only. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../lab/main.js', import.meta.url))
const patience = 90_000

interface Run {
  readonly child: ChildProcess
  /** In the environment of every process of the run. */
  readonly mark: string
  readonly output: { stdout: string; stderr: string }
  readonly ended: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>
}

let runs = 0

function start(args: readonly string[]): Run {
  const mark = `PUNCHGUARD_TEST_RUN=${process.pid}-${++runs}`
  const [name = '', value = ''] = mark.split('=')
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...process.env, [name]: value },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output.stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text) => {
    output.stderr += text
  })
  const timer = setTimeout(() => child.kill('SIGTERM'), patience)
  const ended = new Promise<Awaited<Run['ended']>>((resolve) => {
    child.on('exit', (status, signal) => {
      clearTimeout(timer)
      resolve({ status, signal })
    })
  })
  return { child, mark, output, ended }
}

/** Resolves when the run has printed `words`; fails when it ends before. */
async function printed(run: Run, words: string): Promise<void> {
  const seen = new Promise<void>((resolve) => {
    const look = (): void => {
      if (run.output.stderr.includes(words)) resolve()
    }
    run.child.stderr?.on('data', look)
    look()
  })
  const early = run.ended.then(() => assert.fail(`ended before it printed '${words}':\n${run.output.stderr}`))
  await Promise.race([seen, early])
}

/** The processes of a run that are still there. */
function processesOf({ mark }: Run): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((entry) => {
      try {
        return readFileSync(`/proc/${entry}/environ`, 'utf8').split('\0').includes(mark)
      } catch {
        return false
      }
    })
}

async function processesGone(run: Run): Promise<void> {
  for (let look = 0; look < 150 && processesOf(run).length > 0; look++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.deepEqual(processesOf(run), [])
}

/** What a lab would leave behind if it left anything, by its names: other tests may make things of theirs meanwhile. */
function traces(): unknown {
  const ip = (...args: string[]): string => spawnSync('ip', args, { encoding: 'utf8' }).stdout
  const names = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder).sort() : [])
  const links = [...ip('-o', 'link').matchAll(/^\d+: ([^:@]+)/gm)].map(([, name = '']) => name)
  return {
    links: links.filter((name) => /^(pg-(a|b|servers|router-[ab]|try)|lan0|pg0)$/.test(name)),
    routes: ip('route', 'show', 'table', 'all').match(/(192\.168\.[12]\.|203\.0\.113\.|198\.51\.100\.).*/g) ?? [],
    namespaces: names('/run/netns').filter((name) => /^(a|b|servers|router-[ab]|pg-try)$/.test(name)),
    run: names('/run').filter((name) => name === 'lab'),
    state: names('/var/lib').filter((name) => name === 'punchguard'),
    clone: names(fileURLToPath(new URL('../../..', import.meta.url))),
  }
}

test('a whole run pairs, connects, copies, heals, says so in one JSON line, and leaves nothing', async () => {
  const before = traces()
  const run = start(['--json', '--copy', '4', '--delay', '10'])
  const { status } = await run.ended
  const last = run.output.stdout.trim().split('\n').at(-1) ?? ''
  assert.equal(status, 0, run.output.stderr)
  const result = JSON.parse(last)
  assert.equal(result.ok, true)
  assert.equal(result.copied_bytes, 4 * 2 ** 20)
  assert.equal(result.sha256_equal, true)
  assert.match(result.path, /^direct, /)
  // Two lines of 10 ms each way.
  assert.ok(result.ping_ms >= 40 && result.ping_ms < 200, `${result.ping_ms}`)
  for (const name of ['paired_ms', 'tunnel_up_ms', 'heal_ms', 'copy_mbit_s']) assert.ok(result[name] > 0, name)
  assert.ok(result.seconds < 60, `${result.seconds}`)
  await processesGone(run)
  assert.deepEqual(traces(), before)
})

test('an interrupt in the middle ends it with status 130 and leaves nothing', async () => {
  const before = traces()
  const run = start(['--json'])
  await printed(run, 'a daemon runs on each device')
  run.child.kill('SIGINT')
  const { status } = await run.ended
  assert.equal(status, 130)
  assert.equal(JSON.parse(run.output.stdout.trim().split('\n').at(-1) ?? '').ok, false)
  await processesGone(run)
  assert.deepEqual(traces(), before)
})

test('killed from one moment to the next it leaves nothing', async () => {
  const before = traces()
  const run = start(['--json'])
  await printed(run, 'a daemon runs on each device')
  assert.ok(processesOf(run).length >= 6)
  run.child.kill('SIGKILL')
  const { signal } = await run.ended
  assert.equal(signal, 'SIGKILL')
  await processesGone(run)
  assert.deepEqual(traces(), before)
})

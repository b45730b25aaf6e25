/** Starting the lab as a newcomer does, and looking for what it leaves behind. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { LabResult } from '../../lab/report.ts'

/** Milliseconds that any run may last. */
const patience = 90_000

export interface Run {
  readonly child: ChildProcess
  /** In the environment of every process of the run. */
  readonly mark: string
  readonly output: { stdout: string; stderr: string }
  readonly ended: Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null }>
}

let runs = 0

export function start(argv: readonly string[], options: { readonly cwd?: string } = {}): Run {
  const [program = '', ...args] = argv
  const mark = `PUNCHGUARD_TEST_RUN=${process.pid}-${++runs}`
  const [name = '', value = ''] = mark.split('=')
  const child = spawn(program, args, {
    ...options,
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
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      resolve({ status, signal })
    })
  })
  return { child, mark, output, ended }
}

/** Resolves when the run has printed `words`; fails when it ends before. */
export async function printed(run: Run, words: string): Promise<void> {
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
export function processesOf({ mark }: Run): string[] {
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

export async function processesGone(run: Run): Promise<void> {
  for (let look = 0; look < 150 && processesOf(run).length > 0; look++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.deepEqual(processesOf(run), [])
}

/** The last line on standard output, which is the result with --json. */
export function resultOf({ output }: Run): LabResult {
  return JSON.parse(output.stdout.trim().split('\n').at(-1) ?? '')
}

/** What a lab would leave behind if it left anything, by its names: other tests may make things of theirs meanwhile. */
export function traces(): unknown {
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

/** `npm start` in the clone of an ordinary user: each way to be allowed to, and that nothing of root's is left. Root only. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { appendFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Clone, type StageOptions } from './clone.ts'
import { printed, processesGone, type Run, resultOf, start, traces } from './run.ts'

const clone = new Clone()
after(() => clone[Symbol.dispose]())

const node = [process.execPath, 'scripts/start.mjs', '--json', '--copy', '1', '--delay', '5']
const throughNpm = ['npm', 'start', '--', '--json']

/** Why something cannot be tried here, or false. */
function unless(argv: readonly string[], options: StageOptions & { readonly reason: string }): string | false {
  const [program = '', ...args] = clone.command(argv, options)
  return spawnSync(program, args).status !== 0 && options.reason
}

const noUser = unless([process.execPath, '--version'], {
  as: 'user',
  reason: 'an ordinary user cannot run this Node.js, or this machine lets root make no stage for one',
})
const noSudo = unless(['sudo', '-n', 'true'], {
  as: 'user',
  sudo: 'free',
  reason: 'sudo is not installed: apt-get install sudo',
})
const noUserNamespaces = unless(['unshare', '-Urn', 'sh', '-c', ':'], {
  as: 'user',
  reason: 'an ordinary user may make no user namespaces here',
})

async function leftNothing(run: Run, before: unknown): Promise<void> {
  await processesGone(run)
  assert.deepEqual(traces(), before)
  assert.deepEqual(clone.strangers(), [])
}

/** Stops a run in its middle. */
async function stopped(options: StageOptions, argv: readonly string[]): Promise<Run> {
  const before = traces()
  const run = start(clone.command(argv, options))
  await printed(run, 'a daemon runs on each device')
  run.child.kill('SIGTERM')
  assert.equal((await run.ended).status, 130, run.output.stderr)
  assert.equal(resultOf(run).ok, false)
  await leftNothing(run, before)
  return run
}

test('an ordinary user needs nobody where user namespaces are allowed', {
  skip: noUser || noUserNamespaces,
}, async () => {
  const run = await stopped({ as: 'user', tun: true, sudo: 'for a password' }, node)
  assert.doesNotMatch(run.output.stderr, /sudo/)
})

test('an ordinary user who is not allowed to goes through sudo, said aloud, to the end', { skip: noSudo }, async () => {
  const before = traces()
  const run = start(clone.command(node, { as: 'user', sudo: 'free' }))
  assert.equal((await run.ended).status, 0, run.output.stderr)
  assert.equal(resultOf(run).ok, true)
  assert.match(run.output.stderr, /\/dev\/net\/tun may not be opened/)
  assert.match(run.output.stderr, /runs as root through sudo/)
  await leftNothing(run, before)
})

test('npm start through sudo ends when npm is asked to, and leaves nothing', { skip: noSudo }, async () => {
  await stopped({ as: 'user', sudo: 'free' }, throughNpm)
})

test('root installs and builds as the owner of the clone, and runs the lab as root', { skip: noUser }, async () => {
  const compiled = join(clone.folder, 'dist', 'lab', 'waiting.js.map')
  rmSync(compiled)
  appendFileSync(join(clone.folder, 'lab', 'waiting.ts'), '// Changed.\n')
  const run = await stopped({ as: 'root' }, throughNpm)
  assert.match(run.output.stderr, /Compiling \(tsc\)/)
  assert.notEqual(statSync(compiled).uid, 0)
})

test('without the means the lab says what is missing and what to do', { skip: noUser }, async () => {
  const cases: readonly (readonly [StageOptions, RegExp])[] = [
    [{ as: 'user' }, /error: the lab needs root here, and sudo is not installed/],
    ...(noSudo
      ? []
      : [[{ as: 'user', sudo: 'for a password' }, /sudo wants a password, and there is no terminal/] as const]),
  ]
  for (const [options, error] of cases) {
    const run = start(clone.command(node, options))
    assert.equal((await run.ended).status, 1)
    assert.match(run.output.stderr, error)
    assert.match(run.output.stderr, /^punchguard: hint: run npm start as root, or let this user /m)
    assert.equal(run.output.stdout, '')
  }
})

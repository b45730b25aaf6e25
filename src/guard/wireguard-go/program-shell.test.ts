/** Starts that fail; what succeeds needs root and the real program: test/e2e/guards.test.ts. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { access, chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { PunchGuardError } from '../../api/errors.ts'
import { UndoLog } from '../../net/undo-log.ts'
import { systemClock } from '../../util/clock.ts'
import { WireguardGoProgram } from './program-shell.ts'

const skip: string | false = process.platform === 'linux' ? false : 'the program is led on Linux only'
const { PATH: path = '' } = process.env

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pg-wireguard-go-'))
})
afterEach(async () => {
  process.env['PATH'] = path
  await rm(folder, { recursive: true })
})

/** What the start says, and what the program's complaints were. */
async function failure(): Promise<{ readonly error: PunchGuardError; readonly warnings: readonly unknown[] }> {
  const warnings: unknown[] = []
  const warn = (_: string, fields?: Readonly<Record<string, unknown>>): void => void warnings.push(fields?.['line'])
  const logger = { debug: () => {}, info: () => {}, warn, error: warn }
  await using log = await UndoLog.open(join(folder, 'undo'))
  const error: unknown = await WireguardGoProgram.start({
    interfaceName: 'pg-none',
    log,
    clock: systemClock,
    logger,
  }).then(
    () => assert.fail('it started'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PunchGuardError, String(error))
  return { error, warnings }
}

async function install(script: string): Promise<void> {
  const file = join(folder, 'wireguard-go')
  await writeFile(file, `#!/bin/sh\n[ "$1" = --version ] && echo 'wireguard-go v1.2.3' && exit\n${script}\n`)
  await chmod(file, 0o755)
  process.env['PATH'] = `${folder}:${path}`
}

const findable = ['/usr/local/sbin', '/usr/sbin', '/sbin'].some((place) => existsSync(`${place}/wireguard-go`))

test('a program that is not installed is an error with what to install and what to set instead', {
  skip: findable ? 'it is found whatever PATH says' : skip,
}, async () => {
  process.env['PATH'] = folder
  const { error } = await failure()
  assert.equal(error.code, 'GUARD_UNAVAILABLE')
  assert.equal(error.message, 'the program wireguard-go is not installed')
  assert.equal(error.hint, 'apt install wireguard-go, or set guard = "embedded" in config.toml')
})

test('a program that may not make the interface is an error with its words, and nothing is left', {
  skip,
}, async () => {
  const said = 'Failed to create TUN device: operation not permitted'
  await install(`echo 'ERROR: (pg-none) 2026/11/23 02:00:00 ${said}'; exit 1`)
  const { error, warnings } = await failure()
  assert.equal(error.code, 'PERMISSION_DENIED')
  assert.equal(error.message, `wireguard-go may not make the interface: ${said}`)
  assert.deepEqual(warnings, [said])
  await assert.rejects(access(join(folder, 'undo')))
})

test('a program that ends without a word is an error with its status', { skip }, async () => {
  await install('exit 7')
  const { error } = await failure()
  assert.equal(error.code, 'GUARD_UNAVAILABLE')
  assert.match(error.message, /^wireguard-go did not start: it ended at once \(status 7\)$/)
})

/** Every test/cli/*.txt is one test of the command line, with real processes and a device that needs no network. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { runScript } from './script.ts'

const here = dirname(fileURLToPath(import.meta.url))
const scripts = join(here, '..', '..', '..', 'test', 'cli')
const program = join(here, 'punchguard.js')
const { PATH: path = '' } = process.env
const names = readdirSync(scripts).filter((name) => name.endsWith('.txt'))

test('there are scripts to run', () => {
  assert.ok(names.length >= 7)
})

test('the command line', { concurrency: 3 }, async (t) => {
  const all = names.map((name) => {
    const text = readFileSync(join(scripts, name), 'utf8')
    return t.test(`${name}: ${/^# (.+)$/m.exec(text)?.[1]}`, async (t) => {
      const folder = await mkdtemp(join(tmpdir(), 'pg-cli-'))
      t.after(async () => {
        await killDaemons(folder)
        await rm(folder, { recursive: true, force: true })
      })
      const bin = join(folder, 'bin')
      await mkdir(bin)
      await writeFile(join(bin, 'punchguard'), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`)
      await chmod(join(bin, 'punchguard'), 0o755)
      const environment = {
        PATH: `${bin}${delimiter}${path}`,
        HOME: folder,
        TMPDIR: folder,
        PUNCHGUARD_DIR: join(folder, 'state'),
      }
      await runScript(text, { folder, environment })
    })
  })
  await Promise.all(all)
})

/** Ends the daemons of a script, by the process ids in their logs. */
async function killDaemons(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true })) {
    if (!entry.endsWith('daemon.log')) continue
    const log = await readFile(join(folder, entry), 'utf8')
    const running = /msg=starting .* pid=(\d+)(?![\s\S]*msg=(?:stopped|starting))/.exec(log)?.[1]
    if (running === undefined) continue
    const commandLine = await readFile(`/proc/${running}/cmdline`, 'utf8').catch(() => '')
    if (commandLine.includes(program)) process.kill(Number(running), 'SIGKILL')
  }
}

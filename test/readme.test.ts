/** The library example of the README is compiled and run, so that it stays true. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const run = promisify(execFile)

test('the library example of the README compiles and prints an invite and addresses', async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  assert.ok(example.split('\n').length <= 16, 'at most 15 lines')
  const folder = await mkdtemp(join(tmpdir(), 'pg-readme-'))
  try {
    const state = join(folder, 'state')
    await mkdir(state, { mode: 0o700 })
    // A closed network without anybody, so that nothing leaves this machine.
    await writeFile(join(state, 'config.toml'), 'name = "example"\nbootstrap = []\nstun = []\ninterface = "pgreadme"\n')
    await mkdir(join(folder, 'node_modules'))
    await symlink(root, join(folder, 'node_modules', 'punchguard'))
    await symlink(join(root, 'node_modules', '@types'), join(folder, 'node_modules', '@types'))
    // Opening the tunnel needs root; everything before and after it does not.
    const up = process.getuid?.() === 0 ? 'await device.up()' : 'await device.up().catch(() => {})'
    const text = example.replace("'/var/lib/my-program'", JSON.stringify(state)).replace('await device.up()', up)
    await writeFile(join(folder, 'example.ts'), text)
    const options = ['--strict', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2023,esnext.disposable']
    const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
    await run(process.execPath, [compiler, ...options, '--skipLibCheck', '--types', 'node', 'example.ts'], {
      cwd: folder,
    })
    const { stdout } = await run(process.execPath, ['example.js'], { cwd: folder, timeout: 20_000 })
    assert.match(stdout, /punchguard pair pgi1/)
    assert.match(stdout, /'?10\.\d+\.\d+\.\d+/)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

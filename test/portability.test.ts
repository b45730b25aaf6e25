/** docs/portability.md names every file whose behaviour depends on the operating system. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

test('docs/portability.md names every file of src that asks for the operating system', () => {
  const page = readFileSync(join(root, 'docs/portability.md'), 'utf8')
  const asking = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .filter((file) => readFileSync(join(root, 'src', file), 'utf8').includes('process.platform'))
    .map((file) => `src/${file}`)
  assert.ok(asking.includes('src/net/tun/system-tun.ts'))
  assert.deepEqual(
    asking.filter((file) => !page.includes(`\`${file}\``)),
    [],
  )
})

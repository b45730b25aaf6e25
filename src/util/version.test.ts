import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { version } from './version.ts'

test('the program says the version that package.json does', () => {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  const parsed: { readonly version?: unknown } = JSON.parse(text)
  assert.equal(parsed.version, version)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { SecretKey } from './keys.ts'

test('a secret key cannot be printed, logged or serialised', () => {
  const key = new SecretKey(new Uint8Array(32).fill(0xab))
  for (const shown of [
    String(key),
    `${key}`,
    JSON.stringify({ key }),
    inspect(key),
    inspect({ nested: { key } }, { showHidden: true }),
  ]) {
    assert.match(shown, /\[secret\]/)
    assert.doesNotMatch(shown, /ab|171/i)
  }
})

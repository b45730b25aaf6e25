/** Our constants against the IANA registry "STUN Parameters" (test/vectors/stun/*.csv). */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fillerType, isComprehensionRequired, stunAttributes, stunErrors, stunMethods } from './constants.ts'

function registry(file: string): Map<string, number> {
  const path = new URL(`../../../../test/vectors/stun/${file}.csv`, import.meta.url)
  const rows = readFileSync(path, 'utf8').trim().split('\n').slice(1)
  return new Map(rows.map((row) => row.split(',')).map(([value, name]) => [name ?? '', Number(value)]))
}

for (const [file, constants, rows] of [
  ['attributes', stunAttributes, 51],
  ['methods', stunMethods, 12],
  ['errors', stunErrors, 18],
] as const) {
  test(`every STUN constant has its registered name and number: ${file}`, () => {
    const registered = registry(file)
    assert.equal(registered.size, rows)
    for (const [name, value] of Object.entries(constants)) assert.equal(registered.get(name), value, name)
  })
}

test('the type that fills requests up is assigned to nobody, and may be ignored by who does not know it', () => {
  assert.ok(![...registry('attributes').values()].includes(fillerType))
  assert.equal(isComprehensionRequired(fillerType), false)
})

test('the comprehension-required range of attribute types is 0x0000 to 0x7fff', () => {
  assert.deepEqual(
    [0x0000, 0x0020, 0x7fff, 0x8000, 0x8028, 0xffff].map((type) => isComprehensionRequired(type)),
    [true, true, true, false, false, false],
  )
})

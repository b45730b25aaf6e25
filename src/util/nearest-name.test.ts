import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearestName } from './nearest-name.ts'

const names = ['pair', 'up', 'down', 'status', 'forget', 'export', 'import', 'daemon', 'stop', 'logs', 'version']

test('a slip of the finger finds the word that was meant', () => {
  const slips = { statsu: 'status', sttaus: 'status', pari: 'pair', exprot: 'export', Forget: 'forget', lgs: 'logs' }
  for (const [slip, meant] of Object.entries(slips)) assert.equal(nearestName(slip, names), meant, slip)
})

test('a word that is like none of the names gets no suggestion', () => {
  for (const word of ['connect', 'x', '', 'frobnicate', 'a'.repeat(10_000)]) {
    assert.equal(nearestName(word, names), undefined, word.slice(0, 20))
  }
})

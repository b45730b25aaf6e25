import assert from 'node:assert/strict'
import { test } from 'node:test'
import { kernelNatRules } from './kernel-router.ts'
import { siteKindNames, siteKinds } from './model/kinds.ts'

test('the kernel is asked only for what its masquerade really does', () => {
  const possible = siteKindNames.filter((name) => kernelNatRules(siteKinds[name]) !== undefined)
  assert.deepEqual(possible, ['eim-apdf', 'apdm-apdf-random'])
})

test('random ports for every destination are asked for by name', () => {
  assert.doesNotMatch(kernelNatRules(siteKinds['eim-apdf']) ?? '', /random/)
  assert.match(kernelNatRules(siteKinds['apdm-apdf-random']) ?? '', /masquerade fully-random/)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GuardKind, guardProtocols } from '../api/roles.ts'
import { isCommonGuard } from './guards.ts'

test('any two WireGuards understand each other, OpenVPN only itself, and nobody one that is not known', () => {
  const wireguards: readonly GuardKind[] = ['embedded', 'kernel', 'wireguard-go']
  for (const own of Object.keys(guardProtocols) as GuardKind[]) {
    for (const theirs of Object.keys(guardProtocols)) {
      const both = wireguards.includes(own) && wireguards.some((name) => name === theirs)
      assert.equal(isCommonGuard(own, theirs), both || own === theirs, `${own} and ${theirs}`)
    }
    for (const unknown of [undefined, '', 'constructor', 'Embedded', 'embedded ']) {
      assert.equal(isCommonGuard(own, unknown), false, `${own} and ${unknown}`)
    }
  }
})

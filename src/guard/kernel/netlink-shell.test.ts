import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { PunchGuardError } from '../../api/errors.ts'
import { WireguardNetlink } from './netlink-shell.ts'

const skip = process.platform !== 'linux' && 'netlink is part of Linux only'

/** Without the module loaded, and without the right to load it, it is as if there were none. */
const isLoaded = existsSync('/sys/module/wireguard')

test('where the kernel has WireGuard its family is found; where it has none, it is said how to get it', {
  skip,
}, async () => {
  const opening = WireguardNetlink.open()
  const netlink = await opening.catch((error: unknown) => {
    assert.equal(isLoaded, false)
    assert.ok(error instanceof PunchGuardError)
    assert.deepEqual([error.code, error.message], ['GUARD_UNAVAILABLE', 'this kernel has no WireGuard'])
    assert.match(error.hint, /modprobe wireguard.*embedded/)
    return undefined
  })
  if (netlink === undefined) return
  // Numbers below are the kernel's own.
  assert.ok(netlink.family >= 16)
  assert.ok(netlink.memory.every((byte) => byte === 0))
  netlink[Symbol.dispose]()
})

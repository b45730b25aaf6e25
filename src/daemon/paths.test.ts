import assert from 'node:assert/strict'
import { test } from 'node:test'
import { controlSocketPath, stateFolderPath } from './paths.ts'

test('the state folder is the chosen one, root’s or the user’s', () => {
  assert.equal(stateFolderPath({ environment: { PUNCHGUARD_DIR: '/x/y/' }, userId: 0 }), '/x/y')
  assert.equal(stateFolderPath({ environment: { PUNCHGUARD_DIR: '' }, userId: 0 }), '/var/lib/punchguard')
  assert.equal(stateFolderPath({ environment: { XDG_STATE_HOME: '/s' }, userId: 7 }), '/s/punchguard')
  assert.equal(stateFolderPath({ environment: { HOME: '/home/a' }, userId: 7 }), '/home/a/.local/state/punchguard')
})

test('a socket path too long for the system becomes a short one, the same every time', () => {
  const short = controlSocketPath('/var/lib/punchguard', { environment: {}, userId: 0 })
  assert.equal(short, '/var/lib/punchguard/control.sock')
  const long = `/${'x'.repeat(120)}`
  for (const options of [
    { environment: {}, userId: 0 },
    { environment: { XDG_RUNTIME_DIR: '/run/user/7' }, userId: 7 },
    { environment: { XDG_RUNTIME_DIR: long }, userId: 7 },
  ]) {
    const path = controlSocketPath(long, options)
    assert.ok(path.length <= 100, path)
    assert.equal(controlSocketPath(long, options), path)
    assert.notEqual(controlSocketPath(`${long}y`, options), path)
  }
})

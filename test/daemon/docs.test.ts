/** The reference pages against the code: what a page lists is what there is. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { configKeys, parseConfig } from '../../src/api/config.ts'
import { commandRows } from '../../src/cli/command-line.ts'
import { controlRoutes } from '../../src/daemon/control-api.ts'
import { errorCodes } from '../../src/daemon/problem.ts'
import { systemClock } from '../../src/util/clock.ts'
import { FakeDevice } from './fake-device.ts'

function page(name: string): string {
  return readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8')
}

test('docs/errors.md has a row for every code, in order, with its HTTP status', () => {
  const rows = [...page('errors.md').matchAll(/^\| `([A-Z_]+)` \| (\d+) \| ([^|]+) \| ([^|]+) \|$/gm)]
  const listed = rows.map(([, code, status]) => [code, Number(status)])
  assert.deepEqual(
    listed,
    Object.entries(errorCodes).map(([code, [status]]) => [code, status]),
  )
  assert.deepEqual(listed, [...listed].sort())
})

test('docs/punchguard.1.md has every command with every option, and every key', () => {
  const text = page('punchguard.1.md')
  for (const row of commandRows) {
    const line = new RegExp(`^\`${row.name}\`.*$`, 'm').exec(text)?.[0]
    assert.ok(line !== undefined, row.name)
    for (const [flags] of row.options) {
      for (const [option] of flags.matchAll(/--?[a-z][a-z-]*/g))
        assert.ok(line.includes(`\`${option}\``), `${row.name} ${option}`)
    }
  }
  const keys = [...text.matchAll(/^\| `([a-z_]+)` \| ([^|]+) \|/gm)].map(([, key]) => key)
  assert.deepEqual(keys, configKeys)
  const { bootstrap, stun, mtu } = parseConfig('', { hostName: 'x' })
  for (const shown of [`| ${bootstrap.length} public nodes |`, `| ${stun.length} public servers |`, `| ${mtu} |`]) {
    assert.ok(text.includes(shown), shown)
  }
})

test('docs/control-api.md has every request', async () => {
  const listed = [...page('control-api.md').matchAll(/^\| `([A-Z]+) (\S+)` \|/gm)].map(([, method, path]) => ({
    method,
    path: path ?? '',
  }))
  const config = parseConfig('', { hostName: 'x' })
  const store = { read: async () => undefined, write: async () => {}, remove: async () => {} }
  const device = await FakeDevice.create({ config, store, version: '0', clock: systemClock, faults: {} })
  const routes = controlRoutes(device, { stop: () => {} })
  assert.equal(listed.length, routes.length + 1)
  for (const { method, path } of listed.filter((request) => request.path !== '/v1/events')) {
    assert.equal(
      routes.filter((route) => route.method === method && route.path.test(path)).length,
      1,
      `${method} ${path}`,
    )
  }
})

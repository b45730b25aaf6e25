import assert from 'node:assert/strict'
import { test } from 'node:test'
import { routeMtu } from './route-mtu.ts'

test('a route takes what the path takes, less the overhead, and so that padding does not break it', () => {
  const cases = [
    [undefined, 1392, undefined],
    [1452, 1392, undefined],
    [1480, 1392, undefined],
    [1420, 1392, 1360],
    [1400, 1392, 1328],
    [1340, 1392, 1280],
    [1280, 1392, 1216],
    [1340, 1280, undefined],
    [1452, 1420, 1392],
    [1480, 1420, undefined],
  ] as const
  for (const [pathMtu, interfaceMtu, expected] of cases) {
    assert.equal(routeMtu({ pathMtu, interfaceMtu }), expected, `${pathMtu} in ${interfaceMtu}`)
  }
})

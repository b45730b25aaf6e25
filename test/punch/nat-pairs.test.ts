/** Which pairs of NATs (RFC 4787) a plain punch connects, and how fast. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLab, eim, punch } from './lab.ts'
import type { NatBehaviour } from './virtual-network.ts'

const sites: Readonly<Record<string, NatBehaviour | undefined>> = {
  public: undefined,
  'EIM-EIF': eim('endpoint-independent'),
  'EIM-ADF': eim('address-dependent'),
  'EIM-APDF': eim('address-and-port-dependent'),
  'APDM-APDF': { mapping: 'address-and-port-dependent', filtering: 'address-and-port-dependent' },
}

/** What no plain punch can do: where one side's port is new for the other, and the other lets only known ports in. */
const impossible = new Set(['EIM-APDF x APDM-APDF', 'APDM-APDF x APDM-APDF'])

const roundTrip = 40

for (const [nameA, a] of Object.entries(sites)) {
  for (const [nameB, b] of Object.entries(sites)) {
    const possible = ![`${nameA} x ${nameB}`, `${nameB} x ${nameA}`].some((pair) => impossible.has(pair))
    test(`${nameA} x ${nameB} ${possible ? 'connects within 3 round trips of the last candidate' : 'does not connect'}`, async () => {
      const lab = createLab({ a, b, signalDelay: 50 })
      const paths = await punch(lab, { limit: possible ? 3000 : 15_000 })
      if (!possible) {
        assert.equal(paths.a.settled || paths.b.settled, false)
        return
      }
      const [pathA, pathB] = [paths.a.value, paths.b.value]
      assert.ok(pathA && pathB)
      // Server-reflexive candidates are known after a round trip and told 50 ms later.
      const told = roundTrip + 50
      for (const { at } of [paths.a, paths.b]) assert.ok((at ?? 0) - told <= 3 * roundTrip, `${at} ms`)
      assert.equal(pathA.status().roundTrip, roundTrip)
      assert.deepEqual(pathA.status().remote, pathB.status().mapped)
      assert.deepEqual(pathB.status().remote, pathA.status().mapped)
      assert.equal(pathA.status().kind, pathB.status().kind)
    })
  }
}

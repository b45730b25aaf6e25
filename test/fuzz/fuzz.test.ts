/** A short run of every fuzz target; the long one is `npm run fuzz`. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runTarget, targets } from './targets.ts'

const count = 3_000

/** What has to come up, or the inputs have become too dull to show anything. */
const awaited: Readonly<Record<string, readonly string[]>> = {
  'control machine': [
    'bad-mac1',
    'malformed',
    'replayed-initiation',
    'unauthenticated',
    'unexpected-cookie',
    'unknown-index',
  ],
  'control machine under load': ['bad-mac1', 'cookie-required', 'unexpected-cookie'],
  'plain data plane': [
    'counter-too-large',
    'expired-key',
    'malformed',
    'passed',
    'replayed',
    'unauthenticated',
    'unknown-index',
  ],
  'receive worker': [
    'counter-too-large',
    'expired-key',
    'malformed',
    'passed',
    'replayed',
    'unauthenticated',
    'unknown-index',
  ],
  'transmit worker, packets from the TUN': ['malformed-packet', 'no-peer', 'sealed', 'segmented', 'too-large'],
  'both planes, packets of a hostile peer': [
    'flows merged',
    'flows not merged',
    'malformed-packet',
    'source-not-allowed',
  ],
  'demultiplexer of the shared socket': ['bencode', 'stun', 'unknown', 'wireguard'],
}

for (const target of targets)
  test(`${target.name}: mutated inputs change nothing that they must not`, () => {
    const { inputs, reasons } = runTarget(target, { seed: '1', count })
    assert.ok(inputs >= count)
    for (const reason of awaited[target.name] ?? assert.fail('what is awaited?'))
      assert.ok((reasons[reason] ?? 0) > 0, `no ${reason} among ${JSON.stringify(reasons)}`)
  })

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DeviceEvent } from '../src/api/device.ts'
import { siteKinds } from './model/kinds.ts'
import { Report } from './report.ts'
import { draw } from './topology.ts'

test('every event of a device becomes one line with the time, the device and the reason', () => {
  const lines: string[] = []
  const report = new Report((text) => lines.push(text))
  const path = {
    kind: 'peer-reflexive',
    remote: { address: '203.0.113.20', port: 4000 },
    mapped: { address: '203.0.113.10', port: 5000 },
    roundTrip: 80.24,
    mtu: 1400,
  } as const
  const events: readonly DeviceEvent[] = [
    { at: 0, kind: 'network', network: 'tox', status: { kind: 'online', detail: '3 nodes' } },
    { at: 0, kind: 'network', network: 'tox', status: { kind: 'connecting', reason: 'no node answers' } },
    { at: 0, kind: 'pairing', step: 'proved', text: 'both know the secret of the invite' },
    { at: 0, kind: 'peer', peer: 'b', state: 'connected', reason: 'packets pass', path },
  ]
  for (const event of events) report.event('a', event)
  const said = lines.map((line) => /^\+ +\d+\.\d{3} s {2}a {2}(.*)\n$/.exec(line)?.[1])
  assert.deepEqual(said, [
    'tox online: 3 nodes',
    'tox connecting: no node answers',
    'pairing, proved: both know the secret of the invite',
    'b connected: packets pass (direct, peer-reflexive, to 203.0.113.20:4000, seen as 203.0.113.10:5000, 80.2 ms, packets up to 1400 bytes)',
  ])
})

test('the map shows where each device is and what its NAT does', () => {
  const kinds = [siteKinds['eim-eif'], siteKinds.public] as const
  const map = draw({ kinds, line: '20 ms', router: 'ours' })
  for (const words of ['device a  192.168.1.10', 'device b  203.0.113.20', 'no NAT', '20 ms', 'routers: ours']) {
    assert.ok(map.includes(words), words)
  }
})

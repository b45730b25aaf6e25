import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PunchCandidate } from '../../api/roles.ts'
import { hostCandidate, pairKind, serverReflexiveCandidate, usableCandidate } from './candidate.ts'

const host = hostCandidate({ address: '192.168.1.2', port: 5000 }, 0)
const server = { address: '198.51.100.1', port: 3478 }
const reflexive = serverReflexiveCandidate({ address: '203.0.113.5', port: 6000 }, server, 0)

function candidate(address: string, port = 5000): PunchCandidate {
  return { ...host, endpoint: { address, port } }
}

test('candidates have one foundation if and only if kind, base and server are the same', () => {
  const again = serverReflexiveCandidate({ address: '203.0.113.5', port: 6001 }, server, 1)
  const elsewhere = serverReflexiveCandidate(again.endpoint, { address: '198.51.100.2', port: 3478 }, 1)
  assert.equal(again.foundation, reflexive.foundation)
  assert.notEqual(elsewhere.foundation, reflexive.foundation)
  assert.notEqual(host.foundation, reflexive.foundation)
  assert.ok([host, reflexive].every(({ foundation }) => /^[0-9a-f]{1,8}$/.test(foundation)))
})

test('a candidate that would make us send to nobody, to many or to ourselves is not usable', () => {
  for (const address of [
    '0.0.0.0',
    '0.1.2.3',
    '224.0.0.1',
    '255.255.255.255',
    '127.0.0.1',
    '',
    'example.org',
    '1.2.3',
  ]) {
    assert.equal(usableCandidate(candidate(address), [host]), undefined, address)
  }
  for (const port of [0, -1, 65_536, 1.5, Number.NaN]) {
    assert.equal(usableCandidate(candidate('192.0.2.1', port), [host]), undefined, `${port}`)
  }
  assert.equal(usableCandidate({ ...host, priority: 2 ** 31 }, [host]), undefined)
  assert.equal(usableCandidate({ ...host, foundation: 'f'.repeat(33) }, [host]), undefined)
  assert.deepEqual(usableCandidate(host, [host]), host)
})

test('a loopback candidate is usable only where we have one ourselves', () => {
  const loopback = candidate('127.0.0.1')
  assert.deepEqual(usableCandidate(loopback, [loopback]), loopback)
})

test('an IPv6 candidate is usable only where we have one, and takes the one text form', () => {
  const ipv6 = candidate('2001:DB8:0:0::1')
  assert.equal(usableCandidate(ipv6, [host]), undefined)
  assert.equal(usableCandidate(ipv6, [candidate('2001:db8::2')])?.endpoint.address, '2001:db8::1')
})

test('a path is called after the farther of its two ends', () => {
  const ours = [host, reflexive]
  assert.equal(pairKind('host', host.endpoint, ours), 'host')
  assert.equal(pairKind('host', reflexive.endpoint, ours), 'server-reflexive')
  assert.equal(pairKind('server-reflexive', host.endpoint, ours), 'server-reflexive')
  assert.equal(pairKind('host', { address: '203.0.113.5', port: 6007 }, ours), 'peer-reflexive')
  assert.equal(pairKind('relayed', host.endpoint, ours), 'relayed')
})

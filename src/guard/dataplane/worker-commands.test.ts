import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SecretKey } from '../../api/keys.ts'
import { commandFor, decodeEndpoint, encodeEndpoint } from './worker-commands.ts'

test('each worker is told its own half of a keypair, and where to go on', () => {
  const keypair = {
    localIndex: 7,
    remoteIndex: 9,
    sendKey: new SecretKey(new Uint8Array(32).fill(1)),
    receiveKey: new SecretKey(new Uint8Array(32).fill(2)),
    created: 5,
    rekeyAfterMessages: 100,
    rejectAfterMessages: 200,
    progress: { send: 11, receive: 22 },
  }
  const limits = { created: 5, rekeyAfterMessages: 100, rejectAfterMessages: 200 }
  for (const [role, byte, nextCounter] of [
    ['transmit', 1, 11],
    ['receive', 2, 22],
  ] as const) {
    const told = commandFor(role, { kind: 'install-keypair', peer: 3, keypair }, undefined)
    assert.ok(told?.kind === 'install-keypair')
    const { key, ...rest } = told
    assert.deepEqual([...key], Array<number>(32).fill(byte))
    assert.deepEqual(rest, { kind: 'install-keypair', peer: 3, localIndex: 7, remoteIndex: 9, nextCounter, ...limits })
  }
  const { progress: _, ...fresh } = keypair
  const told = commandFor('receive', { kind: 'install-keypair', peer: 3, keypair: fresh }, undefined)
  assert.equal(told?.kind === 'install-keypair' && told.nextCounter, 0)
})

test('a peer is added with its row, and not without one', () => {
  const row = new Float64Array(4)
  const command = { kind: 'add-peer', peer: 1, allowedIps: [] } as const
  assert.deepEqual(commandFor('receive', command, row), { ...command, row })
  assert.equal(commandFor('receive', command, undefined), undefined)
})

test('an IPv4 endpoint survives the way to a worker and back; nothing else is one', () => {
  for (const address of ['0.0.0.0', '1.2.3.4', '255.254.253.252', '192.0.2.1'])
    assert.deepEqual(decodeEndpoint(encodeEndpoint({ address, port: 65_535 }) ?? assert.fail()), {
      address,
      port: 65_535,
    })
  for (const address of ['', '1.2.3', '1.2.3.4.5', '1.2.3.256', '1.2.3.-1', 'a.b.c.d', '::1'])
    assert.equal(encodeEndpoint({ address, port: 1 }), undefined, address)
  assert.equal(encodeEndpoint(undefined), undefined)
})

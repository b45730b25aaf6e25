import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SecretKey } from '../../api/keys.ts'
import { commandFor, decodeEndpoint, encodeEndpoint, sharedBy } from './worker-commands.ts'

test('the receive worker is told both keys, the other one what it seals with, and both share where to go on', () => {
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
  const install = { kind: 'install-keypair', peer: 3, keypair } as const
  const shared = sharedBy(install, undefined)
  assert.deepEqual([...shared.counter], [11])
  for (const role of ['transmit', 'receive'] as const) {
    const told = commandFor(role, install, shared)
    assert.ok(told?.kind === 'install-keypair')
    const { sendKey, receiveKey, counter, ...rest } = told
    assert.deepEqual([...sendKey], Array<number>(32).fill(1))
    assert.deepEqual([...(receiveKey ?? [])], role === 'receive' ? Array<number>(32).fill(2) : [])
    assert.equal(counter.buffer, shared.counter.buffer)
    const receivedBelow = 22
    assert.deepEqual(rest, {
      kind: 'install-keypair',
      peer: 3,
      localIndex: 7,
      remoteIndex: 9,
      receivedBelow,
      ...limits,
    })
  }
  const { progress: _, ...fresh } = keypair
  assert.deepEqual([...sharedBy({ ...install, keypair: fresh }, undefined).counter], [0])
})

test('a peer is added with its row, and not without one', () => {
  const row = new Float64Array(4)
  const command = { kind: 'add-peer', peer: 1, allowedIps: [] } as const
  assert.deepEqual(commandFor('receive', command, sharedBy(command, row)), { ...command, row })
  assert.equal(commandFor('receive', command, sharedBy(command, undefined)), undefined)
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

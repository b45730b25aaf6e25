import assert from 'node:assert/strict'
import { test } from 'node:test'
import { slotsAt as receiverSlots } from './receive.ts'
import { FakeSystem } from './testing/fake-system.ts'
import { slotsAt as transmitterSlots } from './transmit.ts'
import { warmUp } from './warm-up.ts'
import type { WorkerCalls } from './worker-context.ts'

const never = (): number => assert.fail('a real system call')
const noCalls: WorkerCalls = {
  read: never,
  write: never,
  writev: never,
  sendmmsg: never,
  recvmmsg: never,
  setsockopt: never,
  poll: never,
  ioctl: never,
  close: never,
  clock_gettime: never,
  errno: never,
}

for (const role of ['transmit', 'receive'] as const)
  test(`a warm-up of the ${role} worker does its whole work, and leaves nothing behind`, () => {
    const system = new FakeSystem()
    const context = { ...system.context(), system: noCalls }
    const { turns, messagesSent, packetsWritten, dropped } = warmUp(role, context, { turns: 320, time: 60_000 })

    assert.equal(turns, 320)
    assert.equal(dropped, 0)
    assert.ok(messagesSent > 200)
    assert.equal(packetsWritten > 320, role === 'receive')
    assert.deepEqual(system.events, [])
    assert.ok(system.drops.every((count) => count === 0))
    assert.ok(context.control.every((value) => value === 0))
    for (const slots of [transmitterSlots, receiverSlots])
      assert.deepEqual(system.memory.bytes.slice(slots, slots + 0x10000), new Uint8Array(0x10000))
  })

test('a warm-up on a machine that has no time ends early', () => {
  const system = new FakeSystem()
  let looks = 0
  const now = (): number => looks++
  assert.ok(warmUp('transmit', { ...system.context(), now }, { turns: 1e9, time: 100 }).turns < 500)
})

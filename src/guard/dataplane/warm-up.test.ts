import assert from 'node:assert/strict'
import { test } from 'node:test'
import { slotsAt as receiverSlots } from './receive.ts'
import { FakeSystem } from './testing/fake-system.ts'
import { slotsAt as transmitterSlots } from './transmit.ts'
import { warmUp } from './warm-up.ts'

for (const role of ['transmit', 'receive'] as const)
  test(`a warm-up of the ${role} worker does its whole work, and leaves nothing behind`, () => {
    const system = new FakeSystem()
    const passed = { sendmmsg: 0, writev: 0 }
    const calls = {
      read: () => -1,
      recvmmsg: () => -1,
      sendmmsg: () => passed.sendmmsg++,
      writev: () => passed.writev++,
      setsockopt: () => 0,
      poll: () => 0,
      ioctl: () => 0,
      errno: () => 9,
    }
    const context = { ...system.context(), system: calls }
    warmUp(role, context, { turns: 320, time: 60_000 })

    assert.ok(passed[role === 'transmit' ? 'sendmmsg' : 'writev'] > 30)
    assert.equal(passed[role === 'transmit' ? 'writev' : 'sendmmsg'], 0)
    assert.deepEqual(system.events, [])
    assert.ok(system.drops.every((count) => count === 0))
    assert.ok(context.control.every((value) => value === 0))
    const slots = role === 'transmit' ? transmitterSlots : receiverSlots
    assert.deepEqual(system.memory.bytes.slice(slots, slots + 0x10000), new Uint8Array(0x10000))
  })

test('a warm-up on a machine that has no time ends early', () => {
  const system = new FakeSystem()
  let reads = 0
  const calls = {
    read: () => -1,
    recvmmsg: () => -1,
    sendmmsg: (_fd: number, _messages: number, count: number) => count,
    writev: () => 1,
    setsockopt: () => 0,
    poll: () => 0,
    ioctl: () => 0,
    errno: () => 9,
  }
  const now = (): number => {
    reads++
    return reads
  }
  warmUp('transmit', { ...system.context(), system: calls, now }, { turns: 1e9, time: 100 })
  assert.ok(reads < 500)
})

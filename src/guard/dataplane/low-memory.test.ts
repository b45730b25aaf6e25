import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemCalls } from '../../net/ffi.ts'
import { type MapCalls, placeLow } from './low-memory.ts'
import { createPacketMemory } from './packet-memory.ts'

const skip = process.platform !== 'linux' && 'the mappings are Linux ones'

test('the memory is the same by either address, and gone from the lower one when it is released', {
  skip,
}, async () => {
  const system = await systemCalls()
  let release = (): void => {}
  const memory = createPacketMemory((bytes) => {
    const placed = placeLow(system, bytes)
    release = placed.release
    return placed.base
  })
  assert.ok(memory.base > 0 && memory.base < 2 ** 31)
  const event = system.eventfd(7, 0)
  assert.equal(system.read(event, memory.base + 0x20000, 8), 8)
  assert.equal(memory.bytes[0x20000], 7)
  memory.bytes[0x20000] = 5
  assert.equal(system.write(event, memory.base + 0x20000, 8), 8)
  assert.equal(system.read(event, memory.base + 0x30000, 8), 8)
  assert.equal(memory.bytes[0x30000], 5)
  release()
  assert.equal(system.write(event, memory.base + 0x20000, 8), -1)
  assert.equal(memory.bytes[0x20000], 5)
  system.close(event)
})

const high = 0x7f00_0000_0000

/** Refuses whatever `refused` names; says what is left mapped and open. */
function playedCalls(refused: {
  readonly memfd?: boolean
  readonly ftruncate?: boolean
  readonly fixed?: boolean
  readonly taken?: number
  readonly isOld?: boolean
}): {
  readonly calls: MapCalls
  readonly left: () => { readonly mapped: readonly number[]; readonly open: number }
} {
  const mapped = new Set<number>()
  let open = 0
  const calls: MapCalls = {
    addressOf: () => high,
    memfd_create: () => (refused.memfd ? -1 : 10 + open++),
    ftruncate: () => (refused.ftruncate ? -1 : 0),
    close: () => {
      open--
      return 0
    },
    munmap: (address) => {
      mapped.delete(address)
      return 0
    },
    mmap: (address) => {
      if (address === high && refused.fixed) return -1
      const isTaken = address < (refused.taken ?? 0)
      if (isTaken && !refused.isOld) return -1
      const found = isTaken ? 0x7e00_0000_0000 : address
      mapped.add(found)
      return found
    },
  }
  return { calls, left: () => ({ mapped: [...mapped], open }) }
}

test('what cannot be mapped below stays where it is, and nothing is left behind', () => {
  const bytes = new Uint8Array(0x100_0000)
  for (const refused of [
    { memfd: true },
    { ftruncate: true },
    { fixed: true },
    { taken: 2 ** 31 },
    { taken: 2 ** 31, isOld: true },
  ]) {
    const { calls, left } = playedCalls(refused)
    assert.equal(placeLow(calls, bytes).base, high, JSON.stringify(refused))
    assert.deepEqual(left(), { mapped: [], open: 0 }, JSON.stringify(refused))
  }
})

test('what is in use is passed over', () => {
  const bytes = new Uint8Array(0x100_0000)
  for (const isOld of [false, true]) {
    const { calls, left } = playedCalls({ taken: 0x5280_0000, isOld })
    const { base, release } = placeLow(calls, bytes)
    assert.equal(base, 0x5300_0000)
    assert.deepEqual(left(), { mapped: [base, high], open: 0 })
    release()
    assert.deepEqual(left(), { mapped: [high], open: 0 })
  }
})

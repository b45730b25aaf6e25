/** On this system's own threads. */

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import { test } from 'node:test'
import { ownFunctions, systemCalls } from '../../net/ffi.ts'
import { lengthenSlice, ownThread, ThreadWatch } from './thread-shell.ts'

const skip = process.platform === 'linux' ? false : 'Linux only'
const getAttributes = { x64: 315, arm64: 275 }[process.arch as string]

test('the number of a thread is one of this process', { skip }, () => {
  assert.ok(readdirSync('/proc/self/task').includes(String(ownThread())))
})

test('a longer slice changes nothing else', { skip }, async (context) => {
  const system = await systemCalls()
  const functions = await ownFunctions()
  if (getAttributes === undefined) {
    context.skip(`the call's number is not known on ${process.arch}`)
    return
  }
  const { view, address } = system.allocate(56)
  const look = (): { readonly policy: number; readonly nice: number; readonly slice: bigint } => {
    assert.equal(
      functions('syscall', 'long', ['long', 'int', 'intptr', 'uint', 'uint'])(getAttributes, 0, address, 56, 0),
      0,
    )
    return { policy: view.getUint32(4, true), nice: view.getInt32(16, true), slice: view.getBigUint64(24, true) }
  }
  setPriority(1)
  const before = look()
  lengthenSlice(system, functions)
  const after = look()
  assert.deepEqual([after.policy, after.nice], [before.policy, 1])
  if (before.slice === 0n) context.skip('a thread has no slice of its own: Linux 6.12 and newer')
  else assert.equal(after.slice, 3_000_000n)
})

test('a thread that is not there, or has ended, is left alone', { skip }, () => {
  for (const thread of [0, 2 ** 22 + 1]) {
    const watch = new ThreadWatch(thread)
    for (let now = 0; now < 1000; now += 100) watch.weigh(now, true)
    watch.rest()
    watch[Symbol.dispose]()
    watch[Symbol.dispose]()
  }
  assert.equal(getPriority(ownThread()), getPriority())
})

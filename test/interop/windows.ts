/**
 * PunchGuard in Node.js for Windows, under Wine, and a device on Linux: paired, connected, pinged. Wine has no Wintun and
 * no netsh, so this shows everything but those two (docs/portability.md). Needs root.
 */

import assert from 'node:assert/strict'
import { access } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { runCommand } from '../../src/net/run-command.ts'
import { WineWorld } from './peers/wine-world.ts'
import type { InteropScenario } from './scenario.ts'

const wine = '/usr/lib/wine/wine64'
const pings = 200

export const scenarios: readonly InteropScenario[] = [
  {
    peer: 'Windows under Wine',
    name: 'pairs with Linux, answers through the tunnel, and takes everything back',
    timeLimit: 180_000,
    missing,
    version: async () => (await runCommand(wine, ['--version'])).trim(),
    async run({ signal }) {
      await using world = await WineWorld.open(signal)
      return await tell(world)
    },
  },
]

async function missing(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'root on Linux: run it with sudo'
  const isThere = await Promise.all([access(wine), runCommand('which', ['x86_64-w64-mingw32-gcc'])]).then(
    () => true,
    () => false,
  )
  const install = 'apt-get update && apt-get install -y --no-install-recommends wine64 gcc-mingw-w64-x86-64'
  return isThere ? undefined : install
}

async function tell(world: WineWorld): Promise<string> {
  const first = await world.windows('export')
  assert.equal(first.status, 0, first.text)
  const second = await world.windows('daemon')
  assert.match(second.text, /a daemon is running already/)
  const card = (await world.linux('export')).text.trim()
  for (const { status, text } of [await world.linux('import', first.text.trim()), await world.windows('import', card)])
    assert.equal(status, 0, text)
  for (const { status, text } of [await world.linux('up'), await world.windows('up')]) assert.equal(status, 0, text)
  const address = await connected(world)
  assert.equal(await world.ping(address, pings), pings)
  const status = JSON.parse((await world.windows('status', '--json')).text)
  assert.deepEqual([status.guard.dataPlane, status.peers[0].state], ['plain', 'connected'])
  assert.ok(status.peers[0].receivedBytes > pings * 1200)
  const stopped = await world.windows('stop')
  assert.equal(stopped.status, 0, stopped.text)
  await assertTakenBack(world)
  return `${pings} of ${pings} pings of 1200 bytes answered by ${address}`
}

/** The address of the Windows device inside the tunnel, once Linux has a path to it. */
async function connected(world: WineWorld): Promise<string> {
  for (let tries = 0; tries < 100; tries++) {
    const status = JSON.parse((await world.linux('status', '--json')).text)
    const [peer] = status.peers
    if (peer?.state === 'connected') return String(peer.addresses[0])
    await delay(200)
  }
  return assert.fail('the devices did not connect')
}

/** Every address and route that was added was deleted, newest first. */
async function assertTakenBack(world: WineWorld): Promise<void> {
  const calls = await world.netsh()
  const objects = (verb: string): string[] =>
    calls
      .filter((call) => call.includes(`[${verb}]`))
      .map((call) => /\[(?:address|prefix)=([^\]/]+)/.exec(call)?.[1] ?? call)
  const added = objects('add')
  assert.ok(added.length >= 4, calls.join('\n'))
  assert.deepEqual([...objects('delete')].sort(), added.sort())
}

/**
 * The embedded guard against wireguard-go, in two network namespaces: handshakes begun by either side, traffic, rekeying,
 * roaming, pre-shared keys and cookies. Needs root.
 */

import assert from 'node:assert/strict'
import { access } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { runCommand } from '../../src/net/run-command.ts'
import { inner, ours, TunnelWorld, type TunnelWorldOptions, theirs } from './peers/tunnel-world.ts'
import type { InteropScenario } from './scenario.ts'

const transferBytes = 20_000_000

type Story = (world: TunnelWorld) => Promise<string>

function scenario(name: string, options: TunnelWorldOptions, story: Story): InteropScenario {
  return {
    peer: 'wireguard-go',
    name,
    missing,
    version,
    run: async ({ signal }) => {
      await using world = await TunnelWorld.open(options, signal)
      return await story(world)
    },
  }
}

export async function missing(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'root on Linux: run it with sudo'
  for (const program of ['wireguard-go', 'wg', 'ip', 'ping']) {
    const isThere = await runCommand('which', [program]).then(
      () => true,
      () => false,
    )
    if (!isThere) return 'apt-get update && apt-get install -y wireguard-go wireguard-tools iproute2 iputils-ping'
  }
  return access('/dev/net/tun').then(
    () => undefined,
    () => 'the TUN driver: modprobe tun',
  )
}

export async function version(): Promise<string> {
  const text = await runCommand('wireguard-go', ['--version'])
  return /wireguard-go v?(\S+)/.exec(text)?.[1] ?? '?'
}

/** We use the path and begin; ms until the handshake is complete. */
async function connect(world: TunnelWorld, within = 5_000): Promise<number> {
  const start = performance.now()
  const seen = world.replies.length
  world.order({ kind: 'use', remote: theirs, initiate: true })
  await world.reply('established', { seen, within })
  return performance.now() - start
}

/** Both directions, both families, nothing lost. */
async function pingBothWays(world: TunnelWorld): Promise<void> {
  assert.equal(await world.ping('a', inner.theirs, { count: 10 }), 10, 'ours to theirs, IPv4')
  assert.equal(await world.ping('b', inner.ours, { count: 10 }), 10, 'theirs to ours, IPv4')
  assert.equal(await world.ping('a', inner.theirsIpv6, { count: 10 }), 10, 'ours to theirs, IPv6')
  assert.equal(await world.ping('b', inner.oursIpv6, { count: 10 }), 10, 'theirs to ours, IPv6')
}

async function transferBothWays(world: TunnelWorld): Promise<string> {
  await connect(world)
  const up = await world.transfer('a', { bytes: transferBytes, port: 7001 })
  const down = await world.transfer('b', { bytes: transferBytes, port: 7002 })
  assert.ok(up.isEqual && down.isEqual, 'SHA-256 differs')
  const { dropped } = await world.stats()
  return `2 x 20 MB, SHA-256 equal; ${up.rate.toFixed(0)} and ${down.rate.toFixed(0)} Mbit/s; dropped ${JSON.stringify(dropped)}`
}

const keyOne = Buffer.alloc(32, 1).toString('base64')
const keyTwo = Buffer.alloc(32, 2).toString('base64')

export const scenarios: readonly InteropScenario[] = [
  scenario('we begin the handshake, ping both ways over IPv4 and IPv6', {}, async (world) => {
    const time = await connect(world)
    await pingBothWays(world)
    return `established after ${time.toFixed(1)} ms, 40 of 40 pings`
  }),

  scenario('wireguard-go begins the handshake, ping both ways', { theyKnowUs: true }, async (world) => {
    world.order({ kind: 'use', remote: theirs, initiate: false })
    assert.equal(await world.ping('b', inner.ours, { count: 1 }), 1)
    await world.reply('established', { within: 1_000 })
    await pingBothWays(world)
    const { sent, received } = await world.stats()
    assert.deepEqual([sent[1], received[1]], [0, 1])
    return 'one initiation, theirs; 41 of 41 pings'
  }),

  scenario('both begin at once: the initiations cross', { theyKnowUs: true }, async (world) => {
    world.order({ kind: 'cross', remote: theirs })
    assert.equal(await world.ping('b', inner.ours, { count: 3 }), 3)
    await world.reply('established', { within: 1_000 })
    await pingBothWays(world)
    const { sent, received } = await world.stats()
    assert.deepEqual([sent[1], received[1]], [1, 1])
    return 'one initiation each, nobody waited; 43 of 43 pings'
  }),

  scenario('20 MB of TCP each way at MTU 1420', {}, transferBothWays),

  scenario('20 MB of TCP each way at MTU 1281', { mtu: 1281 }, transferBothWays),

  scenario('keys are renewed under traffic without a loss', { rekeyAfterMessages: 20 }, async (world) => {
    await connect(world)
    const answered = await world.ping('a', inner.theirs, { count: 600, interval: 0.02 })
    assert.equal(answered, 600)
    const { sent } = await world.stats()
    assert.ok((sent[1] ?? 0) >= 3, `only ${sent[1]} initiations`)
    return `${sent[1]} handshakes in 12 s, 600 of 600 pings`
  }),

  scenario('our port changes: wireguard-go follows', {}, async (world) => {
    await connect(world)
    await pingBothWays(world)
    world.order({ kind: 'rebind', port: 5011 })
    assert.equal(await world.ping('a', inner.theirs, { count: 5 }), 5)
    assert.equal(await world.ping('b', inner.ours, { count: 5 }), 5)
    assert.match(await world.wg(['show', world.interfaceName, 'endpoints']), /10\.200\.0\.1:5011/)
    const { sent } = await world.stats()
    assert.equal(sent[1], 1, 'no new handshake')
    return 'same session, 10 of 10 pings'
  }),

  scenario("wireguard-go's port changes: we follow", {}, async (world) => {
    await connect(world)
    await pingBothWays(world)
    await world.wg(['set', world.interfaceName, 'listen-port', '5022'])
    assert.equal(await world.ping('b', inner.ours, { count: 5 }), 5)
    assert.equal(await world.ping('a', inner.theirs, { count: 5 }), 5)
    const { sent, endpoint } = await world.stats()
    assert.deepEqual(endpoint, { ...theirs, port: 5022 })
    assert.equal(sent[1], 1, 'no new handshake')
    return 'same session, 10 of 10 pings'
  }),

  scenario('equal pre-shared keys', { presharedKey: keyOne }, async (world) => {
    const time = await connect(world)
    await pingBothWays(world)
    return `established after ${time.toFixed(1)} ms, 40 of 40 pings`
  }),

  scenario(
    'different pre-shared keys are no tunnel, and become one when ours is set right',
    { presharedKey: keyOne, theirPresharedKey: keyTwo },
    async (world) => {
      await assert.rejects(connect(world, 3_000), /no 'established'/)
      assert.equal(await world.ping('a', inner.theirs, { count: 3 }), 0)
      const { dropped } = await world.stats()
      world.order({ kind: 'preshared-key', key: keyTwo })
      await connect(world)
      await pingBothWays(world)
      return `refused ${JSON.stringify(dropped)}, then 40 of 40 pings`
    },
  ),

  scenario(
    'we are under load: wireguard-go answers our cookie',
    { theyKnowUs: true, underLoadMessages: 0 },
    async (world) => {
      world.order({ kind: 'use', remote: theirs, initiate: false })
      const pinging = world.ping('b', inner.ours, { count: 12, interval: 1 })
      await world.reply('established', { within: 15_000 })
      assert.ok((await pinging) >= 5)
      const { sent, dropped } = await world.stats()
      assert.ok((sent[3] ?? 0) >= 1 && (dropped['cookie-required'] ?? 0) >= 1)
      return `${sent[3]} cookie replies sent, handshake complete with mac2`
    },
  ),

  scenario('wireguard-go is under load: we answer its cookie', {}, async (world) => {
    const seen = world.replies.length
    for (let tries = 1; tries <= 100; tries++) {
      world.order({ kind: 'flood', count: 4_000, remote: theirs })
      // Its load lasts for a second, the full receive buffer that would swallow our initiation for a moment only.
      await delay(30)
      world.order({ kind: 'use', remote: theirs, initiate: true })
      await delay(30)
      const { initiationsWithCookie, received } = await world.stats()
      if (initiationsWithCookie === 0) continue
      await world.reply('established', { seen, within: 15_000 })
      return `${received[3]} cookie replies received, ${initiationsWithCookie} initiations with mac2`
    }
    throw new Error('wireguard-go never asked for a cookie')
  }),

  scenario('wireguard-go restarts its interface: we find it again', {}, async (world) => {
    await connect(world)
    const name = world.interfaceName
    const key = (await world.wg(['show', name, 'peers'])).trim()
    await world.wg(['set', name, 'peer', key, 'remove'])
    const allowedIps = `${inner.ours}/32,${inner.oursIpv6}/128`
    await world.wg(['set', name, 'peer', key, 'allowed-ips', allowedIps, 'endpoint', `${ours.address}:${ours.port}`])
    const answered = await world.ping('a', inner.theirs, { count: 25, interval: 1 })
    assert.ok(answered >= 7, `${answered} pings`)
    const { sent } = await world.stats()
    assert.equal(sent[1], 2)
    return `new handshake after 15 s of silence, ${answered} of 25 pings`
  }),
]

/** What the network does to two devices that are paired, per condition, and what must hold in spite of it. */

import assert from 'node:assert/strict'
import type { SiteKindName } from '../../lab/model/kinds.ts'
import type { LinkSettings } from '../../lab/model/link.ts'
import { exchangeCards, type SimulatedDevice, untilConnected, World } from './world.ts'

export interface Condition {
  readonly name: string
  readonly link: Partial<LinkSettings>
  readonly run: (a: SimulatedDevice, b: SimulatedDevice) => Promise<void>
}

/** Up on both sides, and packets both ways. `limit`: ms of virtual time until connected. */
async function connect(a: SimulatedDevice, b: SimulatedDevice, limit: number): Promise<void> {
  await a.running.up()
  await b.running.up()
  await untilConnected(a, b, limit)
  await reachesEventually(a, b)
  await reachesEventually(b, a)
}

/** Packets may be lost on the way, so a few are sent. */
async function reachesEventually(from: SimulatedDevice, to: SimulatedDevice): Promise<void> {
  for (let tries = 0; tries < 20; tries++) if (await from.reaches(to, 500)) return
  assert.fail(`${from.name} does not reach ${to.name}`)
}

export const conditions: readonly Condition[] = [
  {
    name: '20 % loss each way',
    link: { delay: 20, loss: 0.2 },
    run: (a, b) => connect(a, b, 60_000),
  },
  {
    name: 'reordering and jitter',
    link: { delay: 20, jitter: 15, reorder: 0.3 },
    run: (a, b) => connect(a, b, 20_000),
  },
  {
    name: 'every third packet twice',
    link: { delay: 20, duplicate: 0.33 },
    run: (a, b) => connect(a, b, 20_000),
  },
  {
    name: 'all of it at once',
    link: { delay: 30, jitter: 20, loss: 0.1, reorder: 0.2, duplicate: 0.2 },
    run: (a, b) => connect(a, b, 60_000),
  },
  {
    name: 'one device killed and started again',
    link: { delay: 20 },
    run: async (a, b) => {
      await connect(a, b, 20_000)
      b.kill()
      await a.world.clock.advance(3000)
      await b.start()
      await untilConnected(a, b, 10_000)
      await reachesEventually(a, b)
      await reachesEventually(b, a)
    },
  },
  {
    name: 'both devices killed and started again',
    link: { delay: 20 },
    run: async (a, b) => {
      await connect(a, b, 20_000)
      a.kill()
      b.kill()
      await a.world.clock.advance(1000)
      await a.start()
      await b.start()
      await untilConnected(a, b, 10_000)
      await reachesEventually(a, b)
    },
  },
  {
    name: 'one NAT with a new public address',
    link: { delay: 20 },
    run: async (a, b) => {
      await connect(a, b, 20_000)
      // A public host has no NAT: there, what changes is nothing.
      if (a.site.site !== undefined) a.site.rebind('100.9.0.1')
      await a.world.clock.advance(8000)
      await untilConnected(a, b, 10_000)
      await reachesEventually(a, b)
      await reachesEventually(b, a)
    },
  },
]

export async function runCondition(
  condition: Condition,
  options: { readonly nats: readonly [SiteKindName, SiteKindName]; readonly seed: number },
): Promise<void> {
  const [natA, natB] = options.nats
  await using world = await World.create(`${condition.name} ${natA} ${natB} ${options.seed}`)
  const a = await world.device({ name: 'a', nat: natA, link: condition.link })
  const b = await world.device({ name: 'b', nat: natB, link: condition.link })
  await a.start()
  await b.start()
  await exchangeCards(a, b)
  await condition.run(a, b)
}

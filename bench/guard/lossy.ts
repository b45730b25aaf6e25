/**
 * One TCP stream over the lab's lossy line: ours, the newest wireguard-go, and the bare line, in each round. All three of a
 * round meet the same losses and delays, packet by packet, and are compared within it.
 */

import { fileURLToPath } from 'node:url'
import { median } from '../../lab/steps.ts'
import type { Figure } from '../figures.ts'
import { GuardEnd, type Side, sides } from '../two-namespaces.ts'
import { atLeast, attempt, type Bench, figure, nameOfNewest, note } from './bench.ts'
import { openTunnel } from './carriers.ts'
import { measure } from './iperf.ts'
import type { LossyLinkOptions } from './lossy-link.ts'

const between: Readonly<Record<Side, string>> = { a: '192.168.78.1', b: '192.168.78.2' }

/** What each end sends: 2 ms ± 2 ms, 0.25 % loss, 0.5 % held back and overtaken. */
const link: LossyLinkOptions['link'] = { delay: 0, jitter: 4, loss: 0.0025, reorder: 0.005 }
/** Chance decides more here than elsewhere: so many times as long as the other runs. */
const patience = 3

export async function measureLossy(bench: Bench): Promise<readonly Figure[]> {
  const seen = { ours: new Map<number, number>(), newest: new Map<number, number>(), raw: new Map<number, number>() }
  for (let round = 1; round <= bench.rounds; round++)
    for (const carrier of ['ours', 'newest', 'raw'] as const)
      await attempt(bench, `lossy line, round ${round}, ${carrier}`, async () => {
        await openLine(bench, round)
        const { pids, address } = await openTunnel(bench.spaces, carrier, { ...bench, between })
        const { gbps } = await measure(bench.spaces, pids, {
          address,
          seconds: patience * bench.seconds,
          args: [],
        })
        seen[carrier].set(round, gbps)
        note(`${carrier} lossy ${(gbps * 1000).toFixed(1)} Mbit/s`)
        // The line too: its interfaces go with it.
        await bench.spaces.endPrograms()
      })
  return [
    atLeast(0.8, figure('lossy_ratio_bare', 'x', ratios(seen.ours, seen.raw))),
    atLeast(1, figure('lossy_ratio', 'x', ratios(seen.ours, seen.newest))),
    {
      ...figure('lossy_gbps', 'Gbit/s', [...seen.ours.values()]),
      peer: nameOfNewest(bench),
      peer_value: median([...seen.newest.values()]),
    },
    figure('lossy_raw_gbps', 'Gbit/s', [...seen.raw.values()]),
  ]
}

/** Of the rounds in which both were measured. */
function ratios(own: ReadonlyMap<number, number>, other: ReadonlyMap<number, number>): readonly number[] {
  return [...own].flatMap(([round, value]) => {
    const beside = other.get(round)
    return beside === undefined ? [] : [value / beside]
  })
}

async function openLine({ spaces }: Bench, seed: number): Promise<void> {
  const program = fileURLToPath(new URL('./lossy-link.js', import.meta.url))
  const ends = sides.map((side) => ({ namespace: spaces.nameOf(side), address: between[side] }))
  const options: LossyLinkOptions = { ends, link, seed }
  await new GuardEnd(spaces.startOutside(process.execPath, [program, JSON.stringify(options)])).answer()
}
